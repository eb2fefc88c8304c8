"""nothing -> paintings: JPEG files below <root>/gallery, made by code, for when no data is at hand.

python jobs/gallery.py root=runs/demo gallery.num_paintings=300
"""

from collections.abc import Sequence
from typing import Any

import ray

from artsim import pipeline
from artsim.command import parse_command
from artsim.config import GalleryConfig
from artsim.gallery import paint, path_of
from artsim.log import logger
from artsim.store import Store


class PaintFile:
    """Paint some paintings of the gallery into files."""

    def __init__(self, folder: str, config: GalleryConfig) -> None:
        self._store, self._config = Store(folder), config

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        path, image = paint(int(row["id"]), self._config)
        self._store.write(path, image)
        return {"path": path}


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    config, folder = command.config.gallery, f"{command.config.root}/gallery"
    there = Store(folder).find()
    missing = [index for index in range(config.num_paintings) if path_of(index, config) not in there]
    if missing:
        pipeline.connect()
        cores = max(1, int(ray.cluster_resources()["CPU"]))
        blocks = min(len(missing), 8 * cores)
        rows = ray.data.from_items([{"id": index} for index in missing], override_num_blocks=blocks)
        pool = ray.data.ActorPoolStrategy(size=min(cores, len(missing)))
        rows.map(
            PaintFile,  # type: ignore[arg-type]  # Ray takes classes too, its annotation does not say so
            fn_constructor_args=(folder, config),
            compute=pool,
            num_cpus=1,
        ).materialize()
    logger.info(f"gallery: {config.num_paintings} paintings in {folder}, {len(missing)} new")


if __name__ == "__main__":
    pipeline.main(main)

"""artworks -> resized: each painting centred on black squares, its proportions kept.

python jobs/resize.py root=runs/wikiart
"""

from collections.abc import Sequence

from artsim import pipeline
from artsim.command import parse_command
from artsim.config import Config
from artsim.schemas import schema_of
from artsim.stages.letterbox import Letterbox


def step_of(config: Config) -> pipeline.Step:
    """What fills `resized`."""
    return pipeline.Step(
        table="resized",
        stage=Letterbox,
        arguments=(config.letterbox, config.source.max_pixels),
        reads={"artworks": {"uri": "uri"}},
        settings={"letterbox": config.letterbox, "max_pixels": config.source.max_pixels},
        schema=schema_of("resized", config.letterbox.sizes),
        workers=config.letterbox.workers,
        fetch_bytes=config.source.max_bytes,
    )


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    pipeline.run(step_of(command.config), command)


if __name__ == "__main__":
    pipeline.main(main)

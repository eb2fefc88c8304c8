"""resized -> thumbnails: each painting without its bars, as small as lists and pages show it.

python jobs/thumbnail.py root=runs/wikiart
"""

from collections.abc import Sequence

from artsim import pipeline
from artsim.command import parse_command
from artsim.config import Config
from artsim.stages.thumbnail import Thumbnail


def step_of(config: Config) -> pipeline.Step:
    """What fills `thumbnails`, from the smallest square that is large enough."""
    sizes = config.letterbox.sizes
    size = min((size for size in sizes if size >= config.thumbnails.size), default=max(sizes))
    return pipeline.Step(
        table="thumbnails",
        stage=Thumbnail,
        arguments=(config.thumbnails,),
        reads={"resized": {f"image_{size}": "image", f"box_{size}": "box"}},
        settings={"thumbnails": config.thumbnails, "size": size},
        workers=config.thumbnails.workers,
    )


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    pipeline.run(step_of(command.config), command)


if __name__ == "__main__":
    pipeline.main(main)

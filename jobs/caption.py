"""resized -> captions, or generated -> generated_captions: one sentence that says what each picture shows.

python jobs/caption.py root=runs/wikiart caption.table=generated_captions
"""

from collections.abc import Sequence

from artsim import pipeline
from artsim.checkpoints import pinned
from artsim.command import parse_command
from artsim.config import Config
from artsim.stages import caption_stage


def step_of(config: Config) -> pipeline.Step:
    """What fills `captions`, or `generated_captions`."""
    size, caption = config.generate.size, pinned(config.caption)
    reads = {
        "captions": {"resized": {f"image_{size}": "image", f"box_{size}": "box"}},
        "generated_captions": {"generated": {"image": "image", "box": "box"}},
    }
    return pipeline.Step(
        table=config.caption.table,
        stage=caption_stage(caption),
        arguments=(caption,),
        reads=reads[config.caption.table],
        settings={"caption": caption, "size": size},
        workers=config.caption.workers,
    )


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    pipeline.run(step_of(command.config), command)


if __name__ == "__main__":
    pipeline.main(main)

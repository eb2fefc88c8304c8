"""resized, generated or edited -> cues, generated_cues or edited_cues: what files and frames tell of themselves.

python jobs/cue.py root=runs/wikiart cues.table=generated_cues
"""

from collections.abc import Sequence

from artsim import pipeline
from artsim.command import parse_command
from artsim.config import Config
from artsim.stages.cue import MeasureCues


def step_of(config: Config) -> pipeline.Step:
    """What fills the table that cues.table names; originals are measured on the square that versions are made from."""
    size = config.generate.size
    reads = {
        "cues": {"resized": {f"image_{size}": "image", f"box_{size}": "box"}},
        "generated_cues": {"generated": {"image": "image", "box": "box"}},
        "edited_cues": {"edited": {"image": "image", "box": "box"}},
    }
    return pipeline.Step(
        table=config.cues.table,
        stage=MeasureCues,
        arguments=(config.cues,),
        reads=reads[config.cues.table],
        settings={"size": size},
        workers=config.cues.workers,
    )


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    pipeline.run(step_of(command.config), command)


if __name__ == "__main__":
    pipeline.main(main)

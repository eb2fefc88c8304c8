"""prompts + resized -> generated: a version of each painting that follows its prompt.

python jobs/generate.py root=runs/wikiart
"""

from collections.abc import Sequence

from artsim import pipeline
from artsim.checkpoints import pinned
from artsim.command import parse_command
from artsim.config import Config
from artsim.stages import generate_stage


def step_of(config: Config) -> pipeline.Step:
    """What fills `generated`."""
    size, generate = config.generate.size, pinned(config.generate)
    return pipeline.Step(
        table="generated",
        stage=generate_stage(generate),
        arguments=(generate, config.seed),
        reads={
            "prompts": {"approach": "approach", "prompt": "prompt"},
            "resized": {f"image_{size}": "image", f"box_{size}": "box"},
        },
        settings={"generate": generate, "seed": config.seed},
        workers=config.generate.workers,
    )


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    pipeline.run(step_of(command.config), command)


if __name__ == "__main__":
    pipeline.main(main)

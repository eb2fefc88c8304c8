"""captions + artworks -> prompts: what to make of each painting, at each level.

python jobs/prompt.py root=runs/wikiart
"""

from collections.abc import Sequence
from functools import partial

from artsim import pipeline
from artsim.checkpoints import pinned
from artsim.command import parse_command
from artsim.config import Config
from artsim.stages import prompt_stage
from artsim.stages.prompt import expand


def step_of(config: Config) -> pipeline.Step:
    """What fills `prompts`."""
    prompt = pinned(config.prompt)
    return pipeline.Step(
        table="prompts",
        stage=prompt_stage(prompt),
        arguments=(prompt, config.seed),
        reads={
            "captions": {"caption": "caption"},
            "artworks": {name: name for name in ("genre", "artist", "title")},
        },
        settings={"prompt": prompt, "seed": config.seed},
        expand=partial(expand, config=config.prompt, seed=config.seed),
        workers=config.prompt.workers,
    )


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    pipeline.run(step_of(command.config), command)


if __name__ == "__main__":
    pipeline.main(main)

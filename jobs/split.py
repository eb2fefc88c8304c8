"""artworks -> splits/<name>: which paintings are trained on, and which nobody has seen.

python jobs/split.py root=runs/wikiart
"""

from collections.abc import Sequence

from artsim import pipeline
from artsim.command import parse_command
from artsim.config import Config
from artsim.tables import Table, open_root
from artsim.triplets import AssignSplit, assign_groups, check_splits


def step_of(config: Config) -> pipeline.Step:
    """What fills `splits/<name>`; `artworks` must be finished."""
    return pipeline.Step(
        table=f"splits/{config.split.configuration}",
        stage=AssignSplit,
        arguments=(config.split, _groups(config)),
        reads={"artworks": {"artist": "artist"}},
        settings={"split": config.split, "seed": config.seed},
        workers=config.split.workers,
        whole=True,
    )


def _groups(config: Config) -> dict[str, str]:
    artworks = Table(config.root, "artworks", open_root(config.root)).read_all(("id", "artist"))
    return assign_groups(artworks, config.split, config.seed)


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    check_splits(_groups(command.config), command.config.split)
    pipeline.run(step_of(command.config), command)


if __name__ == "__main__":
    pipeline.main(main)

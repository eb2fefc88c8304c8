"""artworks + duplicates -> splits/<name>: which paintings are trained on, and which nobody has seen.

python jobs/split.py root=runs/wikiart
"""

from collections.abc import Sequence

from artsim import pipeline
from artsim.command import parse_command
from artsim.config import Config
from artsim.tables import Table, open_root
from artsim.triplets import AssignSplit, Place, assign_groups, check_splits


def step_of(config: Config) -> pipeline.Step:
    """What fills `splits/<name>`; `artworks` and `duplicates` must be finished."""
    return pipeline.Step(
        table=f"splits/{config.split.name}",
        stage=AssignSplit,
        arguments=(config.split, _groups(config)),
        reads={"artworks": {"artist": "artist"}, "duplicates": {}},
        settings={"split": config.split, "seed": config.seed},
        workers=config.split.workers,
        whole=True,
    )


def _groups(config: Config) -> dict[str, Place]:
    num_buckets = open_root(config.root)
    artworks = Table(config.root, "artworks", num_buckets).read_all(("id", "artist"))
    duplicates = Table(config.root, "duplicates", num_buckets).read_all(("id", "component"))
    return assign_groups(
        artworks.join(duplicates, "id", join_type="inner"), config.split, config.seed + config.split.seed
    )


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    check_splits(_groups(command.config), command.config.split)
    pipeline.run(step_of(command.config), command)


if __name__ == "__main__":
    pipeline.main(main)

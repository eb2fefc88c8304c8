"""artworks -> splits/<name>: which paintings are trained on, and which nobody has seen.

python jobs/split.py root=runs/wikiart
"""

from collections.abc import Sequence

from artsim import pipeline
from artsim.command import parse_command
from artsim.tables import Table, open_root
from artsim.triplets import AssignSplit, assign_groups


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    config = command.config
    name = config.split.configuration
    artworks = Table(config.root, "artworks", open_root(config.root)).read_all(("id", "artist"))
    groups = assign_groups(artworks, config.split, config.seed)
    step = pipeline.Step(
        table=f"splits/{name}",
        stage=AssignSplit,
        arguments=(config.split, groups),
        reads={"artworks": {"artist": "artist"}},
        settings={"split": config.split, "seed": config.seed},
        workers=config.split.workers,
        whole=True,
    )
    pipeline.run(step, command)


if __name__ == "__main__":
    pipeline.main(main)

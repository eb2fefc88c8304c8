"""splits/<name> + generated + artworks + duplicates -> triplets/<name>: negatives by tier, drawn inside each split.

python jobs/triplets.py root=runs/wikiart
"""

from collections.abc import Sequence
from functools import partial

import pyarrow as pa

from artsim import pipeline
from artsim.command import parse_command
from artsim.config import Config
from artsim.schemas import VERSION_KEY
from artsim.tables import Table, open_root
from artsim.triplets import Candidates, DrawNegatives, expand_tiers


def step_of(config: Config) -> pipeline.Step:
    """What fills `triplets/<name>`; `generated` and `splits/<name>` must be finished."""
    split = f"splits/{config.split.name}"
    return pipeline.Step(
        table=f"triplets/{config.split.name}",
        stage=DrawNegatives,
        arguments=(config.triplets, config.seed, _candidates(config, split)),
        reads={
            "generated": {},
            split: {"split": "split"},
            "artworks": {"genre": "genre", "artist": "artist"},
            "duplicates": {"component": "component"},
        },
        settings={"triplets": config.triplets, "seed": config.seed},
        expand=partial(expand_tiers, config=config.triplets),
        workers=config.triplets.workers,
        whole=True,
    )


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    pipeline.run(step_of(command.config), command)


def _candidates(config: Config, split: str) -> Candidates:
    def read(table: str, *columns: str) -> pa.Table:
        return Table(config.root, table, num_buckets).read_all(columns)

    num_buckets = open_root(config.root)
    paintings = read("artworks", "id", "genre", "artist").join(
        read("duplicates", "id", "component"), "id", join_type="inner"
    )
    return Candidates(paintings, read(split, "id", "split"), read("generated", *VERSION_KEY))


if __name__ == "__main__":
    pipeline.main(main)

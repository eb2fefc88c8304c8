"""splits/<name> + generated + prompts + artworks -> triplets/<name>: negatives by tier, drawn inside each split.

python jobs/triplets.py root=runs/wikiart

The tier `nearest` looks at `embeddings` and `generated_embeddings` too.
"""

from collections.abc import Sequence
from functools import partial

import pyarrow as pa

from artsim import pipeline
from artsim.command import parse_command
from artsim.config import Config
from artsim.neighbours import Neighbours
from artsim.schemas import VERSION_KEY
from artsim.tables import Table, open_root
from artsim.triplets import Candidates, DrawNegatives, expand_tiers


def step_of(config: Config) -> pipeline.Step:
    """What fills `triplets/<name>`; `generated`, `splits/<name>` and the embeddings must be finished."""
    split, is_near = f"splits/{config.split.name}", "nearest" in config.triplets.tiers
    embeddings: dict[str, dict[str, str]] = {"embeddings": {}, "generated_embeddings": {}}
    num_buckets = open_root(config.root)
    neighbours = partial(Neighbours.load, config.root, num_buckets, config.split.name)
    return pipeline.Step(
        table=f"triplets/{config.split.name}",
        stage=DrawNegatives,
        arguments=(config.triplets, config.seed, _candidates(config, num_buckets), neighbours),
        reads={
            "generated": {},
            "prompts": {"approach": "approach"},
            split: {"split": "split", "component": "component"},
            "artworks": {"genre": "genre", "artist": "artist"},
        }
        | (embeddings if is_near else {}),
        # What training leaves out changes no row.
        settings={"triplets": config.triplets.model_copy(update={"held_out_approaches": ()}), "seed": config.seed},
        expand=partial(expand_tiers, config=config.triplets),
        workers=config.triplets.workers,
        whole=True,
    )


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    pipeline.run(step_of(command.config), command)


def _candidates(config: Config, num_buckets: int) -> Candidates:
    def read(table: str, *columns: str) -> pa.Table:
        return Table(config.root, table, num_buckets).read_all(columns)

    versions = read("generated", *VERSION_KEY).join(
        read("prompts", *VERSION_KEY, "approach"), list(VERSION_KEY), join_type="inner"
    )
    splits = read(f"splits/{config.split.name}", "id", "split", "component")
    return Candidates(read("artworks", "id", "genre", "artist"), splits, versions)


if __name__ == "__main__":
    pipeline.main(main)

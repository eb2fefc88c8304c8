"""artworks + duplicates -> splits/<name>: which paintings are trained on, and which nobody has seen.

python jobs/split.py root=runs/wikiart [split.group=genre split.seed=1]

With split.min_similarity, `embeddings` too: paintings whose frozen features are as alike are never parted.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artsim import pipeline
from artsim.command import parse_command
from artsim.config import Config
from artsim.duplicates import join_similar
from artsim.schemas import to_array
from artsim.splits import AssignSplit, Place, assign_groups, check_splits
from artsim.tables import Table, open_root


def step_of(config: Config) -> pipeline.Step:
    """What fills `splits/<name>`; `artworks` and `duplicates` must be finished."""
    similar = {"embeddings": dict[str, str]()} if config.split.min_similarity else {}
    return pipeline.Step(
        table=f"splits/{config.split.name}",
        stage=AssignSplit,
        arguments=(_places(config),),
        reads={"artworks": {}, "duplicates": {}} | similar,
        settings={"split": config.split, "seed": config.seed},
        workers=config.split.workers,
        whole=True,
    )


def _places(config: Config) -> dict[str, Place]:
    def read(table: str, *columns: str) -> pa.Table:
        return Table(config.root, table, num_buckets).read_all(columns)

    num_buckets = open_root(config.root)
    duplicates = read("duplicates", "id", "component")
    if config.split.min_similarity:
        embeddings = read("embeddings", "id", "pooled")
        at = pc.index_in(duplicates["id"], value_set=embeddings["id"].combine_chunks()).combine_chunks()
        duplicates = duplicates.filter(at.is_valid())
        components = np.array(duplicates["component"].to_pylist(), object)
        vectors = to_array(embeddings["pooled"])[at.drop_null().to_numpy()]
        joined = join_similar(components, vectors, config.split.min_similarity)
        duplicates = duplicates.set_column(1, "component", pa.array(joined, pa.string()))
    artworks = read("artworks", "id", "genre", "artist").join(duplicates, "id", join_type="inner")
    return assign_groups(artworks, config.split, config.seed)


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    step = step_of(command.config)
    check_splits(step.arguments[0], command.config.split)
    pipeline.run(step, command)


if __name__ == "__main__":
    pipeline.main(main)

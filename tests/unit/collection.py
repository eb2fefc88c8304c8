"""A made-up collection for tests of splits and negatives: big hands and small ones, and paintings that are twins."""

import random

import numpy as np
import pyarrow as pa

from artsim.config import SplitConfig
from artsim.splits import AssignSplit, assign_groups

Painting = tuple[str, str | None, str | None]
"""id, genre, artist"""


def collection(num_paintings: int, num_artists: int, seed: int = 0) -> list[Painting]:
    """A few big hands and many small ones, some unknown; artists work in several genres."""
    choose = random.Random(seed)
    paintings: list[Painting] = []
    for number in range(num_paintings):
        artist = (
            f"artist{int(num_artists * choose.random() ** 2)}" if choose.random() < 0.9 else choose.choice([None, ""])
        )
        paintings.append((f"g/{number:04d}", f"genre{choose.randrange(5)}", artist))
    return paintings


def twins_of(paintings: list[Painting], seed: int = 0) -> dict[str, str]:
    """The components of a collection in which every fifth painting is there two to four times, by any artists."""
    choose = random.Random(seed)
    ids = choose.sample(sorted(painting for painting, _, _ in paintings), len(paintings) // 5)
    component = {painting: painting for painting, _, _ in paintings}
    while ids:
        same = [ids.pop() for _ in range(min(len(ids), choose.randint(2, 4)))]
        component.update(dict.fromkeys(same, min(same)))
    return component


def artworks(paintings: list[Painting], twins: dict[str, str] | None = None) -> pa.Table:
    """What a split is made from: id, genre, artist, component."""
    schema = pa.schema([(name, pa.string()) for name in ("id", "genre", "artist", "component")])
    rows = [(*painting, (twins or {}).get(painting[0], painting[0])) for painting in paintings]
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)


def splits_of(
    paintings: list[Painting], config: SplitConfig, seed: int = 0, twins: dict[str, str] | None = None
) -> dict[str, tuple[str, str]]:
    """(group, split) of each painting, through the stage."""
    done = AssignSplit(assign_groups(artworks(paintings, twins), config, seed))(
        {"id": np.array([painting for painting, _, _ in paintings], object)}
    )
    assert done["component"].tolist() == [(twins or {}).get(painting, painting) for painting in done["id"]]
    return dict(zip(done["id"], zip(done["group"], done["split"], strict=True), strict=True))

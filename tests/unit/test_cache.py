"""Where the pictures of triplets lie among the features."""

import numpy as np
import pyarrow as pa

from artsim.cache import Key, locate


def triplets(*rows: tuple[str, str, str]) -> pa.Table:
    """Triplets of the radical level: (painting, the negative's painting, component)."""
    ids, negatives, components = (list(column) for column in zip(*rows, strict=True))
    return pa.table(
        {
            "id": ids,
            "level": ["radical"] * len(ids),
            "variant": [0] * len(ids),
            "negative_id": negatives,
            "negative_level": ["radical"] * len(ids),
            "negative_variant": [0] * len(ids),
            "component": components,
        }
    )


def test_pictures_are_found_and_one_component_is_one_group() -> None:
    paintings: list[Key] = [(name, None, None) for name in "abcd"]
    versions: list[Key] = [(name, "radical", 0) for name in "abce"]
    row_of = {key: row for row, key in enumerate(paintings + versions)}
    rows, pairs = locate(triplets(("d", "a", "d"), ("a", "b", "a"), ("b", "d", "b"), ("c", "b", "a")), row_of)
    assert rows["id"].to_pylist() == ["a", "b", "c"]
    assert pairs.anchor.tolist() == [0, 1, 2]
    assert pairs.positive.tolist() == [4, 5, 6]
    assert pairs.negative.tolist() == [5, -1, 5]
    assert pairs.group.dtype == np.int64
    assert (pairs.group[:, None] == pairs.group).tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]

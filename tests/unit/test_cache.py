"""Where the pictures of triplets lie among the features, and which of them training sees."""

import random

import numpy as np
import pyarrow as pa
import pytest

from artsim.cache import Key, locate, read_triplets, triplets_to_train
from artsim.config import Config, TripletsConfig
from artsim.tables import Table, TableError
from tests.unit import small_root


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


def test_any_triplets_are_found_as_by_looking_up_their_keys() -> None:
    choose = random.Random(0)
    levels, names = ("moderate", "radical", None), [f"p{number}" for number in range(40)]
    keys: list[Key] = [(name, level, variant) for name in names for level in levels[:2] for variant in (0, 3)]
    keys += [(name, None, None) for name in names]
    row_of = {key: row for row, key in enumerate(choose.sample(keys, 150))}
    columns: list[list[object]] = [
        *([choose.choice([*names, "unknown"]) for _ in range(2000)] for _ in range(2)),
        *([choose.choice(levels) for _ in range(2000)] for _ in range(2)),
        *([choose.randrange(5) for _ in range(2000)] for _ in range(2)),
    ]
    columns[1] = [name if choose.random() < 0.9 else None for name in columns[1]]
    columns[5] = [None if level is None else number for level, number in zip(columns[3], columns[5], strict=True)]
    columns[2] = ["radical" if level is None else level for level in columns[2]]
    table = pa.table(
        {
            name: pa.array(column, pa.int32() if "variant" in name else pa.string())
            for name, column in zip(
                ("id", "negative_id", "level", "negative_level", "variant", "negative_variant"), columns, strict=True
            )
        }
    ).append_column("component", pa.array(columns[0], pa.string()))
    chunked = pa.concat_tables([table.slice(0, 700), table.slice(700)])
    parts = zip(*columns, strict=True)
    expected = [
        (row_of.get((a, None, None), -1), row_of.get((a, la, va), -1), row_of.get((b, lb, vb), -1))  # type: ignore[arg-type]
        for a, b, la, lb, va, vb in parts
    ]
    expected = [row for row in expected if row[0] >= 0 and row[1] >= 0]
    found = locate(chunked, row_of)
    assert list(zip(*(found.pairs.anchor, found.pairs.positive, found.pairs.negative), strict=True)) == expected
    assert -1 in {row[2] for row in expected}
    assert len({row[2] for row in expected}) > 40
    assert len(found.rows) == len(expected)
    assert len(locate(table.slice(0, 0), row_of).rows) == len(locate(table, {}).rows) == 0


def test_held_out_approaches_are_not_trained_on() -> None:
    columns = {
        "split": ["train", "train", "val", "train", "train", "test"],
        "tier": ["any", "any", "any", "nearest", "any", "any"],
        "draw": pa.array([0, 0, 0, 0, 1, 0], pa.int32()),
        "approach": ["palette", "weather", None, "palette", "palette", "weather"],
        "id": list("abcdef"),
    }
    rows, config = pa.table(columns), Config()
    assert triplets_to_train(rows, config, "train")["id"].to_pylist() == ["a"]
    assert triplets_to_train(rows, config, "val")["id"].to_pylist() == ["c"]
    everything = config.model_copy(update={"triplets": TripletsConfig(held_out_approaches=())})
    assert triplets_to_train(rows, everything, "train")["id"].to_pylist() == ["a", "b"]
    with pytest.raises(TableError, match="no triplet of tier any in none"):
        triplets_to_train(rows, config, "none")


def test_triplets_of_a_root_come_as_they_were_written(tmp_path: object) -> None:
    root = f"{tmp_path}/root"
    small_root.make(root)
    config = Config(root=root)
    found = read_triplets(config, small_root.NUM_BUCKETS)
    plain = Table(root, "triplets/a70", small_root.NUM_BUCKETS).read_all(found.column_names)
    assert found.to_pylist() == plain.to_pylist()
    assert len(found) == 2 * 2 * len(small_root.IDS)
    assert found.nbytes < plain.nbytes
    trained = triplets_to_train(found, config, "train")
    assert trained.to_pylist() == triplets_to_train(plain, config, "train").to_pylist()

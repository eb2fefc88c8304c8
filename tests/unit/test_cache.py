"""Where the pictures of triplets lie among the features, and which of them training sees."""

import random

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from artsim.cache import Key, locate, pairs_to_train, read_triplets, triplets_to_train
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
    assert triplets_to_train(rows, config, "train")["id"].to_pylist() == ["a", "e"]
    assert triplets_to_train(rows, config, "val")["id"].to_pylist() == ["c"]
    everything = config.model_copy(update={"triplets": TripletsConfig(held_out_approaches=())})
    assert triplets_to_train(rows, everything, "train")["id"].to_pylist() == ["a", "b", "e"]
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


def tiered(*rows: tuple[str, str, str, int, str]) -> pa.Table:
    """Triplets of train: (painting, level, tier, draw, the negative's painting)."""
    names = ("id", "level", "tier", "draw", "negative_id")
    table = [dict(zip(names, row, strict=True)) for row in rows]
    added = [{"variant": 0, "negative_variant": 0, "negative_level": row["level"], "split": "train"} for row in table]
    approach = {"moderate": "palette", "radical": "medium_change"}
    rows = [
        row | more | {"component": row["id"], "approach": approach[row["level"]]}
        for row, more in zip(table, added, strict=True)
    ]
    plain = pa.Table.from_pylist(rows)
    return pa.table(  # as read_triplets gives it
        [column.dictionary_encode() if pa.types.is_string(column.type) else column for column in plain.columns],
        plain.column_names,
    )


LEVELS = ("moderate", "radical")
EASY = [(name, level, "any", 0, other) for level in LEVELS for name, other in zip("abcd", "bcda", strict=True)]
KEYS: list[Key] = [(name, None, None) for name in "abcd"]
KEYS += [(name, level, 0) for level in LEVELS for name in "abcd"]
ROW_OF = {key: row for row, key in enumerate(KEYS)}


def test_a_version_of_an_approach_held_out_is_no_negative_either() -> None:
    drawn = [("a", "radical", "any", 0, "b"), ("a", "radical", "any", 1, "c"), ("b", "radical", "any", 0, "a")]
    rows = tiered(*drawn, ("c", "radical", "any", 0, "b"), ("c", "radical", "any", 1, "a"))
    held_out = pa.array([name == "b" for name in rows["id"].to_pylist()])
    approach = pc.if_else(held_out, "technological_aesthetics", "medium_change").dictionary_encode()
    rows = rows.set_column(rows.column_names.index("approach"), "approach", pa.chunked_array([approach]))
    config = Config(training={"loss": "triplet"}, head={"preset": "pooled"})
    pairs = pairs_to_train(rows, config, "train", ROW_OF)
    row = {name: ROW_OF[name, "radical", 0] for name in "abc"}
    # Of a's draws the second, of c's too: b's version is nobody's positive.
    assert list(zip(pairs.positive, pairs.negative, strict=True)) == [(row["a"], row["c"]), (row["c"], row["a"])]
    lonely = rows.filter(pc.equal(rows["draw"], 0))
    with pytest.raises(TableError, match="no version in train has a negative of tier any that training may see"):
        pairs_to_train(lonely, config, "train", ROW_OF)


def test_hard_negatives_are_found_beside_their_pairs() -> None:
    hard = [
        ("a", "radical", "same_artist", 0, "b"),
        ("a", "radical", "same_artist", 1, "c"),
        ("a", "radical", "nearest", 0, "d"),
        ("b", "radical", "nearest", 0, "a"),
        ("c", "moderate", "same_genre", 0, "a"),  # of a tier that nobody wants
        ("d", "moderate", "same_artist", 0, "e"),  # has no features
    ]
    pairs = pairs_to_train(tiered(*EASY, *hard), Config(), "train", ROW_OF)
    found = {
        (KEYS[anchor][0], KEYS[positive][1]): {KEYS[row] for row in rows if row >= 0}
        for anchor, positive, rows in zip(pairs.anchor, pairs.positive, pairs.hard, strict=True)
    }
    assert {key: rows for key, rows in found.items() if rows} == {
        ("a", "radical"): {("b", "radical", 0), ("c", "radical", 0), ("d", "radical", 0)},
        ("b", "radical"): {("a", "radical", 0)},
    }
    group_of = dict(zip(pairs.positive.tolist(), pairs.group.tolist(), strict=True))
    for row, group in zip(pairs.hard.reshape(-1), pairs.hard_group.reshape(-1), strict=True):
        assert group == (-1 if row < 0 else group_of[row])


@pytest.mark.parametrize("levels", ["moderate", "radical"])
def test_one_level_alone_is_trained_on(levels: str) -> None:
    rows = tiered(*EASY, ("a", "moderate", "same_artist", 0, "b"), ("a", "radical", "same_artist", 0, "c"))
    config = Config.model_validate({"training": {"levels": levels}})
    pairs = pairs_to_train(rows, config, "train", ROW_OF)
    assert {KEYS[row][1] for row in pairs.positive} == {levels}
    assert {KEYS[row] for row in pairs.hard.reshape(-1) if row >= 0} == {
        ("b" if levels == "moderate" else "c", levels, 0)
    }


def test_what_is_not_there_is_one_sentence() -> None:
    radical = tiered(*EASY[4:], ("a", "radical", "same_artist", 0, "b"))
    with pytest.raises(TableError, match=r"training\.levels = moderate"):
        pairs_to_train(radical, Config.model_validate({"training": {"levels": "moderate"}}), "train", ROW_OF)
    with pytest.raises(TableError, match=r"of the tiers same_artist, nearest in train"):
        pairs_to_train(tiered(*EASY), Config(), "train", ROW_OF)
    for changes in ({"hard_share": 0.0}, {"loss": "triplet"}):
        config = Config.model_validate({"training": changes})
        assert pairs_to_train(tiered(*EASY), config, "train", ROW_OF).hard.size == 0
    assert pairs_to_train(radical, Config(), "train", ROW_OF).hard.size


def test_what_is_held_out_is_no_hard_negative_either() -> None:
    rows = tiered(*EASY, ("a", "radical", "same_artist", 0, "b"), ("a", "moderate", "same_artist", 0, "b"))
    held_out = pc.and_(pc.equal(rows["id"], "b"), pc.equal(rows["level"], "radical"))
    approach = pc.if_else(held_out, "technological_aesthetics", pc.cast(rows["approach"], pa.string()))
    changed = rows.set_column(rows.column_names.index("approach"), "approach", approach.dictionary_encode())
    before, after = (pairs_to_train(some, Config(), "train", ROW_OF) for some in (rows, changed))
    assert {KEYS[row] for row in before.hard.reshape(-1)} >= {("b", "radical", 0), ("b", "moderate", 0)}
    assert {KEYS[row] for row in after.hard.reshape(-1) if row >= 0} == {("b", "moderate", 0)}
    assert len(after) == len(before) - 1

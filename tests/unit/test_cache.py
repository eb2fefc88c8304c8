"""Where the pictures of triplets lie among the features."""

import numpy as np
import pyarrow as pa
import pytest

from artsim.cache import Key, locate, pairs_to_train
from artsim.config import Config
from artsim.tables import TableError


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


def tiered(*rows: tuple[str, str, str, int, str]) -> pa.Table:
    """Triplets of train: (painting, level, tier, draw, the negative's painting)."""
    names = ("id", "level", "tier", "draw", "negative_id")
    table = [dict(zip(names, row, strict=True)) for row in rows]
    added = [{"variant": 0, "negative_variant": 0, "negative_level": row["level"], "split": "train"} for row in table]
    return pa.Table.from_pylist([row | more | {"component": row["id"]} for row, more in zip(table, added, strict=True)])


LEVELS = ("moderate", "radical")
EASY = [(name, level, "any", 0, other) for level in LEVELS for name, other in zip("abcd", "bcda", strict=True)]
KEYS: list[Key] = [(name, None, None) for name in "abcd"]
KEYS += [(name, level, 0) for level in LEVELS for name in "abcd"]
ROW_OF = {key: row for row, key in enumerate(KEYS)}


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

"""What the figures say of embeddings whose geometry is known."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from artsim.evaluation.examples import choose, histograms, wrong_searches
from artsim.evaluation.retrieval import retrieval
from artsim.evaluation.scorers import Vectors
from artsim.evaluation.triplets import Scored, figures, pairs_alone
from artsim.evaluation.verdict import verdict

PAINTINGS = ("a", "b", "c", "d")
ARTISTS = {"a": "first", "b": "second", "c": "second", "d": "second"}
LEVELS = ("moderate", "radical")


def scored(twins: bool = False) -> Scored:
    """Four test paintings on the axes of space, versions beside them; the frozen features take `b` for `a`.

    With twins, a and b are of one component: they show the same.
    """
    axes = dict(zip(PAINTINGS, np.eye(4), strict=True))
    keys = [
        (name, level, variant) for level, variant in ((None, None), (LEVELS[0], 0), (LEVELS[1], 0)) for name in axes
    ]
    model = np.array([axes[name] for name, _, _ in keys])
    frozen = model.copy()
    for row, (name, level, _) in enumerate(keys):
        if level == "radical" and name == "a":
            frozen[row] = axes["b"]
    rows = [
        {
            "id": name,
            "level": level,
            "variant": 0,
            "tier": tier,
            "draw": 0,
            "split": "test",
            "component": "a" if twins and name == "b" else name,
            "approach": "seen" if name in ("a", "b") else "unseen",
            "negative_id": other if tier == "any" else None,
            "negative_level": level if tier == "any" else None,
            "negative_variant": 0 if tier == "any" else None,
        }
        for name, other in zip(PAINTINGS, ("b", "c", "d", "a"), strict=True)
        for level in LEVELS
        for tier in ("any", "same_artist")
    ]
    by_scorer = {"model": model, "frozen": frozen, "frozen_centred": frozen}
    vectors = Vectors({key: row for row, key in enumerate(keys)}, by_scorer, {}, {})
    return Scored(pa.Table.from_pylist(rows), vectors, ARTISTS, held_out=("unseen",))


def rows_of(found: list[dict[str, Any]], approaches: str = "all") -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["scorer"], row["level"]): row for row in found if row["approaches"] == approaches}


def test_figures_count_what_was_compared_and_what_was_not() -> None:
    found = rows_of(figures(scored(), 500))
    assert set(found) == {(name, level) for name in ("model", "frozen", "frozen_centred") for level in LEVELS}
    assert {row["tier"] for row in found.values()} == {"any"}
    assert {(row["n"], row["missing"], row["groups"]) for row in found.values()} == {(4, 0, 2)}
    model, frozen = found["model", "radical"], found["frozen", "radical"]
    assert model["triplet_accuracy"] == 1
    # a's version looks like b: to its painting it is as similar as b's version is, 0; that counts half.
    assert frozen["triplet_accuracy"] == pytest.approx((3 + 0.5) / 4)
    assert frozen["mean_positive"] == pytest.approx(0.75)
    assert model["intervals"]["triplet_accuracy"] == (1, 1)
    # Only the first artist's one triplet is ever half lost: drawn twice in two, it is all there is.
    assert frozen["intervals"]["triplet_accuracy"] == pytest.approx((0.5, 1))
    gain = frozen["head_gain"]["triplet_accuracy"]
    assert (gain["value"], *gain["interval"]) == pytest.approx((0.5 / 4, 0, 0.5))
    assert "head_gain" not in model


def test_versions_of_approaches_held_out_are_told_apart() -> None:
    found = figures(scored(), 100)
    seen, unseen = rows_of(found, "trained")["frozen", "radical"], rows_of(found, "held_out")["frozen", "radical"]
    assert (seen["n"], unseen["n"]) == (2, 2)
    assert (seen["triplet_accuracy"], unseen["triplet_accuracy"]) == (0.75, 1)


def test_versions_search_the_split_s_paintings() -> None:
    found = rows_of(retrieval(scored(), 500))
    assert {level for _, level in found} == {*LEVELS, "both"}
    frozen = found["frozen", "radical"]
    assert found["model", "radical"]["recall@1"] == 1
    assert (frozen["recall@1"], frozen["gallery"], frozen["n"]) == (0.75, 4, 4)
    # To a's version a is as similar as c and d, and they count against it: place 4 of 4.
    assert frozen["mrr"] == pytest.approx((3 + 1 / 4) / 4)
    assert frozen["intervals"]["recall@1"] == pytest.approx((0, 1))
    assert found["frozen", "moderate"]["intervals"]["recall@1"] == (1, 1)
    assert found["frozen", "both"]["recall@1"] == pytest.approx(7 / 8)
    assert found["model", "both"]["map"] == 1 > found["frozen", "both"]["map"]


def test_a_twin_that_is_found_first_is_no_mistake() -> None:
    assert rows_of(retrieval(scored(), 100))["frozen", "radical"]["recall@5"] == 1
    twins = rows_of(retrieval(scored(twins=True), 100))["frozen", "radical"]
    assert twins["mrr"] == pytest.approx((3 + 1 / 3) / 4)  # b, which shows the same, is not before a


@pytest.mark.parametrize(
    ("swap", "words"), [(False, "is not told apart from the frozen features"), (True, "is not told apart from")]
)
def test_the_verdict_needs_an_interval_above_zero(swap: bool, words: str) -> None:
    searches = retrieval(scored(), 500)
    said = verdict(searches, {"paintings": 4, "groups": 2})
    assert words in said["verdict"]
    assert not said["beats_frozen"]


def searches(low: float, high: float) -> list[dict[str, Any]]:
    row = {"level": "both", "approaches": "all", "n": 8, "gallery": 4, "intervals": {"recall@1": (0.7, 0.9)}}
    gain = {"head_gain": {"recall@1": {"value": (low + high) / 2, "interval": (low, high)}}}
    frozen = {"frozen": 0.5, "frozen_centred": 0.7, "frozen_whitened": 0.6}
    return [row | {"scorer": "model", "recall@1": 0.8}] + [
        row | gain | {"scorer": name, "recall@1": value} for name, value in frozen.items()
    ]


@pytest.mark.parametrize(
    ("low", "high", "words", "beats"),
    [
        (0.01, 0.2, "beats the frozen features", True),
        (-0.2, -0.01, "does worse than the frozen features", False),
        (-0.1, 0.1, "is not told apart from the frozen features", False),
    ],
)
def test_the_verdict_is_what_the_paired_interval_says(low: float, high: float, words: str, beats: bool) -> None:
    said = verdict(searches(low, high), {"paintings": 4, "groups": 2})
    assert words in said["verdict"]
    assert (said["beats_frozen"], said["best_baseline"]) == (beats, "frozen_centred")
    assert "70.0 to 90.0%" in said["verdict"]
    assert "alone finds more" not in said["verdict"]


def test_the_verdict_names_a_plain_baseline_that_finds_more() -> None:
    gain = {"head_gain": {"recall@1": {"value": -0.1, "interval": (-0.2, -0.05)}}}
    row = searches(0.01, 0.2)[1] | gain | {"scorer": "phash", "recall@1": 0.9}
    said = verdict([*searches(0.01, 0.2), row], {"paintings": 4, "groups": 2})
    assert said["verdict"].endswith("Perceptual hash alone finds more: 90.0%.")
    assert said["beats_frozen"]


def test_pairs_without_triplets_or_prompts_are_searched_too() -> None:
    found = scored()
    alone = pairs_alone(found.vectors.row_of, {name: name for name in PAINTINGS})
    elsewhere = rows_of(retrieval(Scored(alone, found.vectors, ARTISTS), 100))
    assert elsewhere == rows_of(retrieval(found, 100))


def test_examples_are_of_different_paintings_and_have_a_negative() -> None:
    found = scored()
    chosen = choose(found, 1, seed=0)
    assert [one.kind for one in chosen] == ["best", "worst", "worst", "random"]
    assert len({int(found.pairs.anchor[one.row]) for one in chosen}) == 4
    assert all(found.has_negative[one.row] for one in chosen)
    assert len(histograms(found)["model/positive"]) == 8


def test_a_search_that_goes_wrong_is_shown_with_what_came_first() -> None:
    found = scored()
    assert wrong_searches(found, 5) == []  # the head finds all
    found.vectors.by_scorer["model"] = found.vectors.by_scorer["frozen"]
    (one,) = wrong_searches(found, 5)
    keys = list(found.vectors.row_of)
    assert keys[found.pairs.positive[one.row]] == ("a", "radical", 0)
    assert one.first is not None
    assert (keys[one.first], one.rank) == (("b", None, None), 4)

"""What the figures say of embeddings whose geometry is known."""

import numpy as np
import pyarrow as pa
import pytest

from artsim.evaluation import SCORERS, Scored, Vectors, choose, figures, histograms, recalls, verdict

PAINTINGS = ("a", "b", "c", "d")
ARTISTS = {"a": "first", "b": "second", "c": "second", "d": "second"}


def scored() -> Scored:
    """Four test paintings on the axes of space, versions beside them; the frozen features take `b` for `a`."""
    axes = dict(zip(PAINTINGS, np.eye(4), strict=True))
    keys = [
        (name, level, variant) for level, variant in ((None, None), ("moderate", 0), ("radical", 0)) for name in axes
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
            "component": name,
            "negative_id": other if tier == "any" else None,
            "negative_level": level if tier == "any" else None,
            "negative_variant": 0 if tier == "any" else None,
        }
        for name, other in zip(PAINTINGS, ("b", "c", "d", "a"), strict=True)
        for level in ("moderate", "radical")
        for tier in ("any", "same_artist")
    ]
    by_scorer = {"model": model, "frozen": frozen, "frozen_centred": frozen}
    return Scored(pa.Table.from_pylist(rows), Vectors({key: row for row, key in enumerate(keys)}, by_scorer), ARTISTS)


def test_figures_count_what_was_compared_and_what_was_not() -> None:
    found = {(row["scorer"], row["level"]): row for row in figures(scored())}
    assert set(found) == {(name, level) for name in SCORERS for level in ("moderate", "radical")}
    assert {row["tier"] for row in found.values()} == {"any"}
    assert {(row["n"], row["missing"]) for row in found.values()} == {(4, 0)}
    assert found["model", "radical"]["triplet_accuracy"] == 1
    # a's version looks like b: a loses nothing else can win, the similarity to its painting is 0 as to b's version.
    assert found["frozen", "radical"]["triplet_accuracy"] == pytest.approx((3 + 0.5) / 4)
    assert found["frozen", "radical"]["mean_positive"] == pytest.approx(0.75)
    assert found["model", "radical"]["interval"] == (1, 1)
    # Only the first artist's one triplet is ever half lost: drawn twice in two, it is all there is.
    assert found["frozen", "radical"]["interval"] == pytest.approx((0.5, 1))
    assert found["frozen", "radical"]["head_gain"] == pytest.approx(0.5 / 4)
    assert found["frozen", "radical"]["head_gain_interval"] == pytest.approx((0, 0.5))


def test_recall_searches_the_split_s_paintings() -> None:
    found = {(row["scorer"], row["level"]): row for row in recalls(scored())}
    assert found["model", "radical"]["recall"]["1"] == 1
    assert found["frozen", "radical"]["recall"]["1"] == pytest.approx(0.75)
    assert found["frozen", "radical"]["gallery"] == 4
    assert found["frozen", "radical"]["interval"] == pytest.approx((0, 1))
    assert found["frozen", "moderate"]["interval"] == (1, 1)


@pytest.mark.parametrize(("swap", "words"), [(False, "beats"), (True, "does not beat")])
def test_the_verdict_says_who_wins(swap: bool, words: str) -> None:
    rows, recall = figures(scored()), recalls(scored())
    names = {"model": "frozen", "frozen": "model", "frozen_centred": "model"} if swap else {}
    for row in rows + recall:
        row["scorer"] = names.get(row["scorer"], row["scorer"])
    said = verdict(rows, recall, {"paintings": 4, "groups": 2})
    assert f"the trained head {words} the frozen features" in said["verdict"]
    assert said["beats_frozen"] is not swap


def test_examples_are_of_different_paintings_and_have_a_negative() -> None:
    found = scored()
    chosen = choose(found, 1, seed=0)
    assert [kind for kind, _ in chosen] == ["best", "worst", "random"]
    assert len({int(found.pairs.anchor[row]) for _, row in chosen}) == 3
    assert all(found.has_negative[row] for _, row in chosen)
    assert len(histograms(found)["model/positive"]) == 8

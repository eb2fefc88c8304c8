"""Curves of edits against plain loops, and the sentence that is made from them."""

import numpy as np
import pytest

from artsim.robustness import Edited, Originals, expectation, likest_unrelated, robustness

RNG = np.random.default_rng(0)
NUM, WIDTH = 90, 6


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def made() -> tuple[Originals, Edited]:
    """Paintings by 20 artists, and some of them with more and more noise."""
    originals = Originals(unit(RNG.normal(size=(NUM, WIDTH))), np.arange(NUM) % 20)
    painting = np.tile(np.arange(0, NUM, 2), 3)
    amount = np.repeat([0.0, 0.3, 3.0], NUM // 2)[:, None]
    edits = np.repeat(["jpeg-90", "jpeg-10", "flip"], NUM // 2).tolist()
    vectors = unit(originals.vectors[painting] + amount * RNG.normal(size=(len(painting), WIDTH)))
    return originals, Edited(vectors, painting, edits)


def test_figures_are_those_of_plain_loops() -> None:
    originals, edited = made()
    found = robustness(originals, edited)
    similarity = originals.vectors @ originals.vectors.T
    unrelated = originals.groups[:, None] != originals.groups
    assert found["gallery"] == NUM
    assert found["unrelated"]["mean"] == pytest.approx(similarity[unrelated].mean())
    likest = [similarity[row][unrelated[row]].max() for row in range(NUM)]
    np.testing.assert_allclose(likest_unrelated(originals), likest)
    assert found["unrelated"]["likest"] == pytest.approx(np.mean(likest))
    assert [row["edit"] for row in found["edits"]] == ["jpeg-90", "jpeg-10", "flip"]
    for row in found["edits"]:
        values: dict[str, list[float]] = {"mean": [], "above_unrelated": [], "first": []}
        for vector, painting, edit in zip(*edited, strict=True):
            if edit == row["edit"]:
                all_of_them = originals.vectors @ vector
                values["mean"].append(all_of_them[painting])
                values["above_unrelated"].append(all_of_them[painting] > likest[painting])
                values["first"].append(all_of_them.argmax() == painting)
        for name, each in values.items():
            assert row[name] == pytest.approx(np.mean(each)), (row["edit"], name)
            low, high = row[f"{name}_interval"]
            assert low <= row[name] <= high
        assert (row["n"], row["num_groups"]) == (NUM // 2, 10)
    kinds = [(row["kind"], row["strength"]) for row in found["edits"]]
    assert kinds == [("jpeg", 90), ("jpeg", 10), ("flip", None)]


def test_what_is_left_alone_is_found_for_certain() -> None:
    originals, edited = made()
    same = robustness(originals, edited)["edits"][0]
    for name in ("mean", "first", "above_unrelated"):
        assert same[name] == pytest.approx(1)
        assert same[f"{name}_interval"] == pytest.approx((1, 1))


def test_one_artist_alone_has_nobody_unrelated() -> None:
    originals, edited = made()
    found = robustness(originals._replace(groups=np.zeros(NUM, int)), edited)
    assert found["unrelated"] == {"mean": None, "likest": None}
    assert "above_unrelated" not in found["edits"][0]
    assert found["edits"][0]["first"] == 1


def rows(**first: float) -> list[dict[str, object]]:
    found = []
    for edit, share in first.items():
        kind, _, strength = edit.partition("_")
        found.append({"kind": kind, "strength": int(strength) if strength else None, "first": share, "n": 45})
    return found


def test_the_sentence_names_how_far_each_edit_may_go() -> None:
    shares = {"jpeg_90": 1.0, "jpeg_30": 0.96, "jpeg_10": 0.7, "blur_2": 0.99, "flip": 0.4, "shuffle_2": 0.1}
    assert expectation(rows(**shares)) == (
        "Of 45 test paintings: 95% or more of the pictures still find their painting first among all others after "
        "JPEG of quality 30 (96%) and a blur of 2/1000 of the longer side (99%); fewer do, but more than 50%, after "
        "JPEG of quality 10 (70%); less than 50% do after a left-right flip (40%)."
    )
    assert expectation(rows(shuffle_2=0.1)) == ""
    assert "fewer" not in expectation(rows(jpeg_90=0.99, jpeg_30=0.2))

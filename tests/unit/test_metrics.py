"""Metrics against scikit-learn and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score, roc_auc_score
from sklearn.metrics import roc_curve as scikit_learns_curve

from artsim.metrics import (
    auc,
    average_precision,
    equal_error_rate,
    match_ranks,
    mean_reciprocal_rank,
    recall_at_k,
    roc_curve,
    summary,
    tpr_at_fpr,
    triplet_accuracy,
)


@pytest.mark.parametrize("decimals", [1, 2, 15])
def test_auc_is_scikit_learns_with_and_without_ties(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    positive, negative = rng.normal(0.5, 1, 300).round(decimals), rng.normal(0, 1, 500).round(decimals)
    labels = np.repeat([1, 0], [300, 500])
    assert auc(positive, negative) == pytest.approx(roc_auc_score(labels, np.r_[positive, negative]), abs=1e-12)


@pytest.mark.parametrize("decimals", [1, 2, 15])
def test_the_roc_curve_and_its_points_are_scikit_learns(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    positive, negative = rng.normal(1, 1, 400).round(decimals), rng.normal(0, 1, 3000).round(decimals)
    labels, similarities = np.repeat([1, 0], [400, 3000]), np.r_[positive, negative]
    fpr, tpr, _ = scikit_learns_curve(labels, similarities, drop_intermediate=False)
    ours = roc_curve(positive, negative)
    assert ours[0] == pytest.approx(fpr, abs=1e-12)
    assert ours[1] == pytest.approx(tpr, abs=1e-12)
    for limit in (0.001, 0.01):
        assert tpr_at_fpr(positive, negative, limit) == tpr[fpr <= limit].max()
    crossing = brentq(lambda x: 1 - x - np.interp(x, fpr, tpr), 0, 1)
    assert equal_error_rate(positive, negative) == pytest.approx(crossing, abs=1e-9)
    assert 0.2 < crossing < 0.4


def test_verification_of_what_is_easy_impossible_or_a_tie() -> None:
    low, high = np.array([0.1, 0.2]), np.array([0.8, 0.9])
    assert (equal_error_rate(high, low), tpr_at_fpr(high, low, 0.001)) == (0, 1)
    assert (equal_error_rate(low, high), tpr_at_fpr(low, high, 0.001)) == (1, 0)
    assert (equal_error_rate(low, low), tpr_at_fpr(np.ones(3), np.ones(5), 0.01)) == (0.5, 0)


def test_mean_reciprocal_rank_is_scikit_learns_average_precision() -> None:
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(30, 4))
    queries = gallery + rng.normal(size=(30, 4))
    expected = label_ranking_average_precision_score(np.eye(30, dtype=int), queries @ gallery.T)
    assert mean_reciprocal_rank(match_ranks(queries, gallery)) == pytest.approx(expected)
    assert 0.1 < expected < 0.9


def test_summary_by_hand() -> None:
    positive, negative = np.array([0.9, 0.5, 0.2, 0.4], np.float32), np.array([0.1, 0.5, 0.4, 0.3], np.float32)
    wins = [1, 0.5, 0, 1]
    figures = summary(positive, negative)
    assert figures["triplet_accuracy"] == triplet_accuracy(positive, negative) == sum(wins) / 4
    assert figures["mean_positive"] == pytest.approx(0.5)
    assert figures["mean_negative"] == pytest.approx(0.325)
    assert figures["gap"] == pytest.approx(0.175)
    assert figures["auc"] == np.mean([[(p > n) + (p == n) / 2 for n in negative] for p in positive])


@pytest.mark.parametrize("chunk", [1, 7, 512])
def test_recall_at_k_is_brute_force(chunk: int) -> None:
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(40, 5))
    targets = rng.integers(0, 40, 60)
    queries = gallery[targets] + rng.normal(size=(60, 5))
    expected = {
        k: np.mean([target in np.argsort(-(gallery @ q))[:k] for q, target in zip(queries, targets, strict=True)])
        for k in (1, 5, 40)
    }
    assert recall_at_k(match_ranks(queries, gallery, targets, chunk=chunk), (1, 5, 40)) == expected
    assert 0 < expected[1] < expected[5] < expected[40] == 1


@pytest.mark.parametrize("size", [3, 64, 512])
def test_equal_embeddings_recall_nothing(size: int) -> None:
    row = np.random.default_rng(0).normal(size=size)
    same = np.tile(row / np.linalg.norm(row), (1003, 1)).astype(np.float32)  # whose products differ in the last bits
    assert recall_at_k(match_ranks(same, same), (1, 1002, 1003)) == {1: 0.0, 1002: 0.0, 1003: 1.0}
    numbers = np.arange(1003) // 17
    assert average_precision(same, same, (numbers, numbers)) == pytest.approx(17 / 1003)


@pytest.mark.parametrize("chunk", [1, 7, 256])
def test_average_precision_is_scikit_learns(chunk: int) -> None:
    rng = np.random.default_rng(chunk)
    centres = rng.normal(size=(8, 4))
    labels = rng.integers(0, 8, 30), np.r_[np.arange(8), rng.integers(0, 8, 50)]
    queries, gallery = (unit((centres[numbers] + rng.normal(size=(len(numbers), 4))).round(1)) for numbers in labels)
    gallery[20:38] = gallery[40:58]  # ties
    relevant = labels[0][:, None] == labels[1]
    scores = (queries.astype(float) @ gallery.astype(float).T).round(10)
    expected = [average_precision_score(right, score) for right, score in zip(relevant, scores, strict=True)]
    found = average_precision(queries, gallery, labels, chunk=chunk)
    assert found == pytest.approx(expected, abs=1e-6)
    assert found.mean() == pytest.approx(label_ranking_average_precision_score(relevant, scores), abs=1e-6)
    assert 0.2 < found.mean() < 0.9


@pytest.mark.parametrize("chunk", [1, 7, 256])
def test_rows_to_ignore_count_as_if_they_were_not_there(chunk: int) -> None:
    rng = np.random.default_rng(0)
    queries, gallery = unit(rng.normal(size=(40, 5))), unit(rng.normal(size=(60, 5)))
    groups, works = (rng.integers(0, 6, 40), rng.integers(0, 6, 60)), (rng.integers(0, 9, 40), np.arange(60) % 9)
    targets = rng.integers(0, 60, 40)
    ranks = match_ranks(queries, gallery, targets, groups, chunk)
    found = average_precision(queries, gallery, works, groups, chunk)
    for row in range(40):
        scores, own = gallery @ queries[row], groups[1] == groups[0][row]
        kept = ~own | (np.arange(60) == targets[row])
        assert ranks[row] == np.count_nonzero(scores[kept] >= scores[targets[row]])
        right = works[1] == works[0][row]
        assert found[row] == pytest.approx(average_precision_score(right[~own | right], scores[~own | right]))
    assert (ranks <= match_ranks(queries, gallery, targets)).all()
    assert ranks.mean() < match_ranks(queries, gallery, targets).mean() - 1


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_what_cannot_be_measured_is_refused() -> None:
    some = np.array([0.1, 0.2])
    with pytest.raises(ValueError, match="2 positive and 1 negative"):
        triplet_accuracy(some, some[:1])
    with pytest.raises(ValueError, match="negative similarities of shape"):
        auc(some, np.array([]))
    with pytest.raises(ValueError, match="without NaN"):
        auc(np.array([np.nan]), some)
    with pytest.raises(ValueError, match="as many targets"):
        match_ranks(np.ones((2, 3)), np.ones((1, 3)))
    with pytest.raises(ValueError, match="1 of 2 queries have no relevant row"):
        average_precision(np.ones((2, 3)), np.ones((1, 3)), (np.array([0, 1]), np.array([1])))

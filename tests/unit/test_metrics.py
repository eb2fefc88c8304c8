"""Metrics against scikit-learn and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import roc_auc_score

from artsim.metrics import auc, bootstrap_intervals, match_ranks, recall_at_k, summary, triplet_accuracy


@pytest.mark.parametrize("decimals", [1, 2, 15])
def test_auc_is_scikit_learns_with_and_without_ties(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    positive, negative = rng.normal(0.5, 1, 300).round(decimals), rng.normal(0, 1, 500).round(decimals)
    labels = np.repeat([1, 0], [300, 500])
    assert auc(positive, negative) == pytest.approx(roc_auc_score(labels, np.r_[positive, negative]), abs=1e-12)


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
    assert recall_at_k(match_ranks(queries, gallery, targets, chunk), (1, 5, 40)) == expected
    assert 0 < expected[1] < expected[5] < expected[40] == 1


def test_equal_embeddings_recall_nothing() -> None:
    same = np.ones((10, 3))
    assert recall_at_k(match_ranks(same, same), (1, 9, 10)) == {1: 0.0, 9: 0.0, 10: 1.0}


def test_an_interval_is_scipys_and_knows_that_rows_of_a_group_are_alike() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, 400)
    alone = interval(values, np.arange(400))
    scipy = bootstrap((values,), np.mean, n_resamples=2000, method="percentile", rng=rng).confidence_interval
    assert alone == pytest.approx(np.array(scipy), abs=0.03)
    # Each value four times: as wide as without the copies, where copies that count would halve it.
    copies = np.repeat(values, 4)
    assert interval(copies, np.repeat(np.arange(400), 4)) == pytest.approx(alone, abs=1e-12)
    assert np.diff(interval(copies, np.arange(1600))) == pytest.approx(np.diff(alone) / 2, rel=0.1)
    assert interval(np.array([0.0, 1.0]), np.array([7, 7])).tolist() == [0.5, 0.5]
    both = np.array(bootstrap_intervals(np.stack([values, 2 * values]), np.arange(400)))
    assert both == pytest.approx(np.stack([alone, 2 * alone]))


def interval(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return np.array(bootstrap_intervals(values[None], groups)[0])


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

"""The cluster bootstrap against rows that are drawn one by one, scipy, and a truth that is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from artsim.bootstrap import Bootstrap, interval
from artsim.metrics import auc, equal_error_rate, tpr_at_fpr


def similarities(rng: np.random.Generator, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positive and negative ones, each group with a mean of its own."""
    means = rng.normal(0, 0.5, groups.max() + 1)[groups]
    return means + rng.normal(1.5, 1, len(groups)), means + rng.normal(0, 1, len(groups))


def by_loop(draws: Bootstrap, positive: np.ndarray, negative: np.ndarray) -> dict[str, np.ndarray]:
    """The figures of rows that are really repeated, draw by draw."""
    repeated = [np.repeat(np.arange(len(positive)), count) for count in draws.counts[draws.member].T]
    pairs = [(positive[rows], negative[rows]) for rows in repeated]
    return {
        "auc": np.array([auc(*pair) for pair in pairs]),
        "eer": np.array([equal_error_rate(*pair) for pair in pairs]),
        "tpr_at_fpr_0.01": np.array([tpr_at_fpr(*pair, 0.01) for pair in pairs]),
        "tpr_at_fpr_0.001": np.array([tpr_at_fpr(*pair, 0.001) for pair in pairs]),
    }


@pytest.mark.parametrize("decimals", [0, 1, 15])
def test_verification_is_that_of_rows_drawn_one_by_one(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    groups = rng.integers(0, 12, 900)
    positive, negative = (side.round(decimals) for side in similarities(rng, groups))
    draws = Bootstrap(groups, num_draws=60)
    found, expected = draws.verification(positive, negative), by_loop(draws, positive, negative)
    assert list(found) == list(expected)
    for name, figure in found.items():
        assert figure == pytest.approx(expected[name], abs=1e-9), name
        assert np.ptp(figure) > 0, name


def test_verification_of_more_values_than_thresholds_is_close() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 40, 20_000)
    positive, negative = similarities(rng, groups)
    draws = Bootstrap(groups, num_draws=20)
    found, expected = draws.verification(positive, negative), by_loop(draws, positive, negative)
    for name, within in {"auc": 3e-5, "eer": 3e-4, "tpr_at_fpr_0.01": 0.003, "tpr_at_fpr_0.001": 0.003}.items():
        assert found[name] == pytest.approx(expected[name], abs=within), name
        assert np.ptp(expected[name]) > 5 * within, name


def test_thousands_of_rows_of_one_similarity_are_counted() -> None:
    draws = Bootstrap(np.arange(3), num_draws=50).select(np.repeat([0, 1, 2], 40_000))
    assert draws.verification(np.ones(120_000), np.ones(120_000))["auc"] == pytest.approx(0.5)
    halves = np.tile([1.0, 0.0], 60_000)
    assert draws.verification(halves, 1 - halves)["eer"] == pytest.approx(0.5)


def test_means_are_those_of_rows_drawn_one_by_one() -> None:
    rng = np.random.default_rng(0)
    groups, values = rng.integers(-5, 5, 300), rng.normal(size=300)
    draws = Bootstrap(groups, num_draws=100)
    expected = [values.repeat(count).mean() for count in draws.counts[draws.member].T]
    assert draws.means(values) == pytest.approx(expected, abs=1e-12)
    assert (draws.counts.sum(0) == 10).all()


def test_an_interval_is_scipys_and_knows_that_rows_of_a_group_are_alike() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, 400)
    alone = interval(Bootstrap(np.arange(400)).means(values))
    scipy = bootstrap((values,), np.mean, n_resamples=2000, method="percentile", rng=rng).confidence_interval
    assert alone == pytest.approx(tuple(scipy), abs=0.03)
    # Each value four times: as wide as without the copies, where copies that count would halve it.
    copies, numbers = np.repeat(values, 4), np.repeat(np.arange(400), 4)
    assert interval(Bootstrap(numbers).means(copies)) == pytest.approx(alone, abs=1e-12)
    assert np.diff(interval(Bootstrap(np.arange(1600)).means(copies))) == pytest.approx(np.diff(alone) / 2, rel=0.1)
    assert interval(Bootstrap(np.array([7, 7])).means(np.array([0.0, 1.0]))) == (0.5, 0.5)


def test_a_subset_has_the_draws_of_the_whole_so_that_differences_are_paired() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 30, 2000)
    positive, negative = similarities(rng, groups)
    draws = Bootstrap(groups, num_draws=500)
    half = np.flatnonzero(np.arange(2000) % 2)
    chosen, weights = draws.select(half), draws.counts[draws.member][half].astype(float)
    assert chosen.means(positive[half]) == pytest.approx(positive[half] @ weights / weights.sum(0))
    assert (
        draws.select(np.arange(2000) % 2 == 1).means(positive[half]).tolist() == chosen.means(positive[half]).tolist()
    )
    # A scorer that is better by a tenth everywhere: of this difference nothing is uncertain, of either a lot.
    gain = draws.means(positive + 0.1) - draws.means(positive)
    assert interval(gain) == pytest.approx((0.1, 0.1))
    assert np.diff(interval(draws.means(positive))) > 0.2
    same = draws.verification(positive, negative)["auc"] - draws.verification(2 * positive, 2 * negative)["auc"]
    assert interval(same) == pytest.approx((0, 0), abs=1e-12)


def test_draws_without_a_row_of_the_subset_are_left_out() -> None:
    draws = Bootstrap(np.array([0, 0, 1, 2]), num_draws=400)
    chosen = draws.select(np.array([2]))
    absent = draws.counts[1] == 0
    assert 50 < absent.sum() < 350
    for found in (chosen.means(np.ones(1)), *chosen.verification(np.ones(1), np.zeros(1)).values()):
        assert np.isnan(found).tolist() == absent.tolist()
    assert interval(chosen.means(np.array([3.0]))) == (3, 3)
    assert np.isnan(interval(np.full(5, np.nan))).all()


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    draws = Bootstrap(np.repeat(np.arange(60), 8), num_draws=1000)
    values = (np.repeat(rng.normal(size=(1000, 60)), 8, axis=1) + rng.normal(0, 0.5, (1000, 480))).round(1)
    intervals = np.array([interval(means) for means in draws.means(values)])
    assert share_holding(0, intervals) == pytest.approx(0.94, abs=0.02)
    alone = interval(Bootstrap(np.arange(480)).means(values[0]))  # as if the rows were independent
    assert np.diff(alone) < 0.5 * np.diff(intervals[0])
    pairs = zip(values[:200] + 0.5, values[200:400], strict=True)
    intervals = np.array([interval(draws.verification(*pair)["auc"]) for pair in pairs])
    assert share_holding(0.62409, intervals) == pytest.approx(0.94, abs=0.04)  # Φ(0.5 / √2.5)


def share_holding(truth: float, intervals: np.ndarray) -> float:
    return float(np.mean((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])))


def test_what_does_not_fit_the_groups_is_refused() -> None:
    draws = Bootstrap(np.array([0, 1]), num_draws=5)
    with pytest.raises(ValueError, match=r"values of shape \(3,\): must be \(2,\)"):
        draws.means(np.ones(3))
    with pytest.raises(ValueError, match="negative of shape"):
        draws.verification(np.ones(2), np.array([1, np.nan]))
    with pytest.raises(ValueError, match="no rows"):
        Bootstrap(np.array([], int))

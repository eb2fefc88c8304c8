"""Percentiles and probabilities against scikit-learn, SciPy and simulated pairs whose odds are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binomtest, norm, percentileofscore
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from artsim.calibration import (
    NUM_BINS,
    Calibration,
    PriorError,
    assess,
    calibrate,
    evidence,
    fit_logistic,
    perfect_ece,
)

Pairs = tuple[np.ndarray, dict[str, np.ndarray]]


def pairs(num: int, seed: int = 0) -> Pairs:
    """Versions of two levels, and negatives of three kinds, more alike from kind to kind."""
    rng = np.random.default_rng(seed)
    positive = np.concatenate([rng.normal(1.7, 0.35, num // 2), rng.normal(1.1, 0.45, num - num // 2)])
    kinds = {"other_genre": (0.0, 0.15), "same_genre": (0.15, 0.2), "same_artist": (0.4, 0.3)}
    return np.tanh(positive), {kind: np.tanh(rng.normal(*shape, num)) for kind, shape in kinds.items()}


def test_percentiles_are_scipys() -> None:
    positive, negatives = pairs(5000)
    calibration = calibrate(positive, negatives)
    for similarity in (-0.9, -0.1, 0.05, 0.33, 0.6, 0.999):
        found = calibration.percentiles(similarity)
        expected = {kind: percentileofscore(side, similarity) / 100 for kind, side in negatives.items()}
        assert found == pytest.approx(expected, abs=0.001)
    assert list(found) == ["other_genre", "same_genre", "same_artist"]
    assert found["other_genre"] == 1
    assert calibration.percentiles(-1.0)["same_artist"] == 0


def test_pairs_that_are_just_as_alike_are_not_less_alike() -> None:
    calibration = calibrate(np.array([1.0, 0.9]), {"same_artist": np.repeat([0.0, 0.5, 1.0], 1000)})
    assert calibration.percentiles(0.0)["same_artist"] == 0
    assert calibration.percentiles(0.5)["same_artist"] == pytest.approx(1 / 3, abs=0.002)
    assert calibration.percentiles(0.5001)["same_artist"] == pytest.approx(2 / 3, abs=0.002)


def test_the_probability_is_that_of_known_densities() -> None:
    rng = np.random.default_rng(0)
    positive, negative = np.tanh(rng.normal(0.9, 0.3, 40_000)), np.tanh(rng.normal(0.1, 0.3, 20_000))
    calibration = calibrate(positive, {"other_genre": negative})
    z = np.linspace(-0.2, 1.2, 30)
    for prior in (0.5, 0.1, 0.9):
        weights = prior * norm.pdf(z, 0.9, 0.3), (1 - prior) * norm.pdf(z, 0.1, 0.3)
        expected = weights[0] / (weights[0] + weights[1])
        found = calibration.probability(np.tanh(z), prior)
        assert found == pytest.approx(expected, abs=0.02)
        assert (np.diff(found) > 0).all()


@pytest.mark.parametrize("num", [1, 30, 700])
def test_probabilities_rise_and_stay_inside(num: int) -> None:
    calibration = calibrate(*pairs(num))
    similarity = np.linspace(-1, 1, 4001)
    for prior in (1e-12, 0.01, 0.5, 1 - 1e-12):
        found = calibration.probability(similarity, prior)
        assert (np.diff(found) >= 0).all()
        assert 0 < found[0] < found[-1] < 1


def test_pairs_that_never_overlap_give_no_more_than_their_number_can_tell() -> None:
    calibration = calibrate(np.full(40, 0.9), {"same_genre": np.full(60, 0.1), "same_artist": np.full(39, 0.2)})
    low, high = calibration.probability(np.array([-1.0, 1.0]))
    assert low == pytest.approx(1 / 42)
    assert high == pytest.approx(100 / 101)
    assert calibration.mix == pytest.approx({"same_genre": 60 / 99, "same_artist": 39 / 99})


def test_the_regression_is_scikit_learns_where_no_slope_falls() -> None:
    rng = np.random.default_rng(0)
    features = np.c_[np.ones(800), rng.normal(size=(800, 2))]
    outcome = rng.random(800) < 1 / (1 + np.exp(-features @ [0.3, 1.2, 0.4]))
    weights = np.where(outcome, 2.0, 0.5)
    expected = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(features[:, 1:], outcome, weights)
    found = fit_logistic(features, outcome.astype(float), weights)
    assert found == pytest.approx([*expected.intercept_, *expected.coef_[0]], abs=1e-4)
    # A slope that would fall is 0, and the others are as if its feature were not there.
    falling = np.c_[features[:, :2], -features[:, 2]]
    expected = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(features[:, 1:2], outcome, weights)
    found = fit_logistic(falling, outcome.astype(float), weights)
    assert found == pytest.approx([*expected.intercept_, *expected.coef_[0], 0], abs=1e-4)


@pytest.mark.parametrize("strength", [1.0, 12.0])
def test_brier_and_bins_are_scikit_learns(strength: float) -> None:
    rng = np.random.default_rng(0)
    probability = 1 / (1 + np.exp(-strength * rng.normal(size=3000)))
    outcome = rng.random(3000) < probability**1.5
    found = assess(probability, outcome)
    assert found["brier"] == pytest.approx(brier_score_loss(outcome, probability))
    share, predicted = calibration_curve(outcome, probability, n_bins=NUM_BINS, strategy="quantile")
    assert [part["share"] for part in found["bins"]] == pytest.approx(share)
    assert [part["predicted"] for part in found["bins"]] == pytest.approx(predicted)
    assert {part["n"] for part in found["bins"]} == {200}
    assert found["ece"] == pytest.approx(np.abs(share - predicted).mean())
    assert found["ece"] > 0.015
    for part in found["bins"]:
        known = binomtest(round(part["share"] * 200), 200).proportion_ci(method="wilson")
        assert part["interval"] == pytest.approx(tuple(known), abs=1e-6)


def test_equal_probabilities_share_a_bin() -> None:
    outcome = np.tile([True, False, False, False], 500)
    found = assess(np.full(2000, 0.25), outcome)
    assert found["bins"] == [
        {"predicted": 0.25, "share": 0.25, "n": 2000, "interval": pytest.approx((0.2315, 0.2694), abs=1e-4)}
    ]
    assert (found["ece"], found["brier"]) == (0, 0.1875)
    # |Binomial / n - p| of one bin: the 95th percentile is that of a normal, two-sided.
    assert perfect_ece(np.full(2000, 0.25)) == pytest.approx(1.96 * np.sqrt(0.1875 / 2000), rel=0.06)


def test_the_limit_is_what_outcomes_of_the_probabilities_show() -> None:
    rng = np.random.default_rng(0)
    probability = rng.beta(0.5, 0.7, 1140)
    eces = [assess(probability, rng.random(1140) < probability)["ece"] for _ in range(1000)]
    assert perfect_ece(probability) == pytest.approx(np.percentile(eces, 95), rel=0.03)
    assert perfect_ece(probability) == perfect_ece(probability)
    assert assess(probability, rng.random(1140) < probability**2)["ece"] > perfect_ece(probability)


def test_pairs_that_were_not_seen_show_no_more_error_than_chance() -> None:
    runs = [evidence(calibrate(*pairs(6000, seed)), *pairs(1500, seed + 100)) for seed in range(10)]
    assert sum(run["within"] for run in runs) >= 8
    assert runs[0]["prior"] == 0.25
    assert runs[0]["mix"] == {"other_genre": 1 / 3, "same_genre": 1 / 3, "same_artist": 1 / 3}
    assert (runs[0]["num_positive"], runs[0]["n"]) == (1500, 6000)
    # One that learned from easier negatives is caught.
    positive, negatives = pairs(6000)
    easy = calibrate(positive, {"other_genre": negatives["other_genre"]})
    found = evidence(easy, *pairs(1500, 100))
    assert not found["within"]
    assert found["ece"] > 2 * found["perfect_ece_95"]


def test_a_calibration_is_the_same_from_json() -> None:
    calibration = calibrate(*pairs(500))
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration


@pytest.mark.parametrize("change", [{"curve": [[0, 1], [1, 0]]}, {"curve": 3}, {"quantiles": {"any": [1.0]}}, {"x": 1}])
def test_what_is_no_calibration_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"rise|0-d|argument"):
        Calibration.from_json(calibrate(*pairs(20)).to_json() | change)


def test_pairs_and_priors_that_do_not_do_are_refused() -> None:
    calibration = calibrate(*pairs(20))
    for prior in (0.0, 1.0, -3.0, np.nan):
        with pytest.raises(PriorError, match="must lie between 0 and 1"):
            calibration.probability(0.5, prior)
    with pytest.raises(ValueError, match="20 positive and 0 negative pairs"):
        calibrate(np.ones(20), {"same_genre": np.array([])})
    with_nobody = calibrate(np.ones(2), {"same_genre": np.zeros(2), "same_artist": np.array([])})
    assert list(with_nobody.percentiles(0.5)) == ["same_genre"]

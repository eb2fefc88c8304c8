"""What a similarity means: how many pairs are less alike, and how likely two pictures are an original and its version.

NumPy only. `positive` (n,) are similarities of paintings and their versions, `negatives` those of paintings and
versions of others, by kind: other_genre, same_genre, same_artist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artsim import UserError

Floats = NDArray[np.floating]

KINDS = {"other_genre": "unrelated pairs", "same_genre": "pairs of one genre", "same_artist": "pairs by one artist"}
"""What pairs of each kind are called."""
NUM_BINS = 15
NUM_QUANTILES = 1001
_LIMIT = 0.9999
"""Similarities beyond count as this one: Fisher's z = artanh of 1 is infinite."""
_MAX_LOG_ODDS = 30.0
"""Keeps probabilities inside 0..1 in float64."""
_MAX_PIECES = 5
_ROWS_PER_PIECE = 100


class PriorError(UserError, ValueError):
    """A prior that is no probability."""


@dataclass(frozen=True)
class Calibration:
    """What was learned from pairs that are known."""

    num_positive: int
    num_negative: dict[str, int]
    """Negatives by kind: the mix that the probability is for."""
    quantiles: dict[str, list[float]]
    """1,001 quantiles of the similarities of each kind of negatives, rising."""
    curve: list[list[float]]
    """(similarity, log-odds) at a prior of 0.5, both rising; straight lines of Fisher's z lie between."""

    @property
    def mix(self) -> dict[str, float]:
        """The share of each kind among the negatives."""
        return {kind: count / sum(self.num_negative.values()) for kind, count in self.num_negative.items()}

    def percentiles(self, similarity: float) -> dict[str, float]:
        """The share of the pairs of each kind that are less alike, 0..1."""
        levels = np.linspace(0, 1, NUM_QUANTILES)
        # From above, so that pairs which are just as alike are not counted.
        return {
            kind: 1 - float(np.interp(-similarity, -np.array(table[::-1]), levels))
            for kind, table in self.quantiles.items()
        }

    def probability(self, similarity: Floats | float, prior: float = 0.5) -> Floats:
        """Chance that pairs (n,) are an original and its version, where a share `prior` of the pairs at hand is.

        Strictly between 0 and 1, and never falls as the similarity rises. Another prior multiplies the odds (Elkan
        2001, theorem 2). Without it they stay within what so many pairs can tell: that one of n looks different has
        odds of n + 1 at most (Laplace's rule of succession). Raises PriorError where the prior is not between 0 and 1.
        """
        check_prior(prior)
        nodes, log_odds = np.array(self.curve).T
        most = np.log1p(sum(self.num_negative.values()))
        found = np.clip(np.interp(_fisher(similarity), _fisher(nodes), log_odds), -np.log1p(self.num_positive), most)
        shifted = found + np.log(prior) - np.log1p(-prior)
        return _sigmoid(np.clip(shifted, -_MAX_LOG_ODDS, _MAX_LOG_ODDS))

    def meaning(self, similarity: float, prior: float) -> dict[str, Any]:
        """What one similarity means, as JSON: percentiles, probability, and the prior of the latter."""
        shares = {kind: round(share, 4) for kind, share in self.percentiles(similarity).items()}
        return {"percentiles": shares, "probability": float(self.probability(similarity, prior)), "prior": prior}

    def to_json(self) -> dict[str, Any]:
        """As `calibration.json` holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Calibration:
        """What to_json gave; ValueError where it is something else."""
        try:
            made = cls(**found)
            tables, curve = list(made.quantiles.values()), np.array(made.curve, float)
            rising = all((np.diff(np.array(column, float)) >= 0).all() for column in (*tables, *curve.T))
        except (TypeError, AttributeError) as error:
            raise ValueError(str(error)) from error
        if not rising or curve.shape[1:] != (2,) or any(len(table) != NUM_QUANTILES for table in tables):
            raise ValueError(f"each kind must have {NUM_QUANTILES} quantiles, and these and the curve must rise")
        return made


def sentences(meaning: Mapping[str, Any]) -> list[str]:
    """What Calibration.meaning gave, in words: what the pair is more alike than, and how likely it is a version."""
    shares = [f"{_percent(share)} of {KINDS.get(kind, kind)}" for kind, share in meaning["percentiles"].items()]
    likely, prior = _percent(meaning["probability"]), meaning["prior"]
    return [
        f"more alike than {', '.join(shares)}",
        f"{likely} likely to be an original and its version, if {100 * prior:g}% of all pairs are (--prior {prior:g})",
    ]


def _percent(share: float) -> str:
    """To a tenth, and never quite none or all."""
    return "<0.1%" if share < 0.001 else ">99.9%" if share > 0.999 else f"{share:.1%}"


def check_prior(prior: float) -> None:
    """PriorError unless a prior lies between 0 and 1."""
    if not 0 < prior < 1:
        raise PriorError(f"a prior of {prior:g}: must lie between 0 and 1, such as 0.5 where half of all pairs are")


def calibrate(positive: Floats, negatives: Mapping[str, Floats]) -> Calibration:
    """Learn from validation pairs what similarities mean. Kinds without a pair are left out; one must have some.

    The log-odds are a logistic regression on a linear spline of Fisher's z (Lucena 2018, arXiv:1809.07751), whose
    slopes may not be negative. One straight line, which is Platt's, missed the odds of most encoders that were
    tried by two to four times what a perfect calibrator shows. Positives and negatives weigh the same in all, and
    negatives one by one: their counts are the mix.
    """
    sides = {kind: np.asarray(side, float) for kind, side in negatives.items() if len(side)}
    positive = np.asarray(positive, float)
    if not len(positive) or not sides:
        raise ValueError(f"{len(positive)} positive and {sum(map(len, sides.values()))} negative pairs: needs both")
    levels = np.linspace(0, 1, NUM_QUANTILES)
    return Calibration(
        num_positive=len(positive),
        num_negative={kind: len(side) for kind, side in sides.items()},
        quantiles={kind: np.quantile(side, levels).round(6).tolist() for kind, side in sides.items()},
        curve=_curve(positive, np.concatenate(list(sides.values()))),
    )


def _curve(positive: Floats, negative: Floats) -> list[list[float]]:
    num_pieces = int(np.clip(min(len(positive), len(negative)) // _ROWS_PER_PIECE, 1, _MAX_PIECES))
    levels = np.linspace(0, 1, NUM_QUANTILES)
    both = np.concatenate([np.quantile(_fisher(side), levels) for side in (positive, negative)])
    knots = np.quantile(both, np.linspace(0, 1, num_pieces + 1)[1:-1])
    nodes = np.unique([_fisher(-1.0), *knots, _fisher(1.0)])
    values = _fisher(np.concatenate([positive, negative]))
    # Platt's targets (1999): a pair more of each side, so that sides which do not overlap have finite odds.
    sizes = np.repeat([len(positive), len(negative)], [len(positive), len(negative)])
    targets = np.where(np.arange(len(values)) < len(positive), (sizes + 1) / (sizes + 2), 1 / (sizes + 2))
    log_odds = fit_logistic(_pieces(values, nodes), targets, len(values) / (2 * sizes)) @ _pieces(nodes, nodes).T
    return np.stack([np.tanh(nodes), log_odds], axis=1).tolist()


def _pieces(values: Floats, nodes: Floats) -> Floats:
    """1, and how far values (n,) reach into each piece between two nodes (K + 1,): (n, 1 + K)."""
    reach = np.clip(values[:, None], nodes[:-1], nodes[1:]) - nodes[:-1]
    return np.concatenate([np.ones((len(values), 1)), reach], axis=1)


def fit_logistic(features: Floats, targets: Floats, weights: Floats) -> Floats:
    """Coefficients (K,) of a logistic regression on features (n, K), none but the first of which may be negative.

    targets (n,) lie in 0..1. Newton's method; the most negative coefficient is fixed at 0 until none is left.
    """
    kept = np.arange(features.shape[1])
    found = np.zeros(features.shape[1])
    while True:
        found[:] = 0
        found[kept] = _newton(features[:, kept], targets, weights)
        worst = 1 + int(np.argmin(found[1:])) if len(found) > 1 else 0
        if worst == 0 or found[worst] >= 0:
            return found
        kept = kept[kept != worst]


def _newton(features: Floats, targets: Floats, weights: Floats) -> Floats:
    found = np.zeros(features.shape[1])
    loss = _log_loss(features @ found, targets, weights)
    for _ in range(100):
        predicted = _sigmoid(features @ found)
        gradient = features.T @ (weights * (predicted - targets))
        curvature = (features.T * (weights * predicted * (1 - predicted))) @ features
        step = np.linalg.solve(curvature + 1e-9 * len(targets) * np.eye(len(found)), gradient)
        while (new := _log_loss(features @ (found - step), targets, weights)) > loss + 1e-12 * abs(loss):
            step /= 2
        found, loss = found - step, new
        if np.abs(step).max() < 1e-8:
            break
    return found


def _log_loss(log_odds: Floats, targets: Floats, weights: Floats) -> float:
    return float(weights @ (np.logaddexp(0, log_odds) - targets * log_odds))


def _sigmoid(log_odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-log_odds)))


def _fisher(similarity: Floats | float) -> Floats:
    """Fisher's z, in which similarities near 1 are as far apart as others."""
    return np.asarray(np.arctanh(np.clip(similarity, -_LIMIT, _LIMIT)))


def assess(probability: Floats, outcome: NDArray[np.bool_ | np.integer]) -> dict[str, Any]:
    """Brier score, ECE and reliability of probabilities (n,) whose outcomes (n,) are known.

    15 bins of equal mass, which are the less biased kind (Roelofs et al. 2022, arXiv:2012.08668); equal probabilities
    share a bin. Each bin has the mean that was predicted, the share that came true with its 95% interval (Wilson
    1927, which takes pairs as independent), and its n.
    """
    at = _bins(probability)
    sizes = np.bincount(at)
    predicted, share = (np.bincount(at, values) / sizes for values in (probability, outcome))
    return {
        "n": len(probability),
        "brier": float(np.mean((probability - outcome) ** 2)),
        "ece": float(np.sum(sizes * np.abs(predicted - share)) / len(probability)),
        "bins": [
            {"predicted": float(mean), "share": float(part), "n": int(size), "interval": _wilson(part, size)}
            for mean, part, size in zip(predicted, share, sizes, strict=True)
        ],
    }


def perfect_ece(probability: Floats, num_draws: int = 2000, seed: int = 0) -> float:
    """95th percentile of the ECE of outcomes that are drawn from the probabilities (n,) themselves."""
    rng, at = np.random.default_rng(seed), _bins(probability)
    order = np.argsort(at, kind="stable")
    ordered, starts = probability[order].astype(np.float32), np.searchsorted(at[order], np.arange(at.max() + 1))
    expected = np.add.reduceat(probability[order], starts)
    step = max(1, 2**22 // len(ordered))
    eces = []
    for start in range(0, num_draws, step):
        drawn = rng.random((min(step, num_draws - start), len(ordered)), np.float32) < ordered
        came_true = np.add.reduceat(drawn, starts, axis=1, dtype=np.int64)
        eces.append(np.abs(came_true - expected).sum(1) / len(ordered))
    return float(np.percentile(np.concatenate(eces), 95))


def evidence(calibration: Calibration, positive: Floats, negatives: Mapping[str, Floats]) -> dict[str, Any]:
    """How well a calibration holds on pairs that it did not see, at the share of positives among them."""
    similarity = np.concatenate([positive, *negatives.values()])
    outcome = np.arange(len(similarity)) < len(positive)
    prior = float(outcome.mean())
    probability = calibration.probability(similarity, prior)
    found, limit = assess(probability, outcome), perfect_ece(probability)
    counts = {kind: len(side) for kind, side in negatives.items()}
    return {
        "prior": prior,
        "mix": {kind: count / max(1, sum(counts.values())) for kind, count in counts.items()},
        "num_positive": len(positive),
        "num_negative": counts,
        **found,
        "perfect_ece_95": limit,
        "within": found["ece"] <= limit,
    }


def _bins(probability: Floats) -> NDArray[np.int64]:
    """The bin of each probability (n,), 0..14; bins that equal probabilities leave empty are not counted."""
    edges = np.percentile(probability, np.linspace(0, 100, NUM_BINS + 1))
    return np.unique(np.searchsorted(edges[1:-1], probability), return_inverse=True)[1]


def _wilson(share: float, size: int, z: float = 1.959964) -> tuple[float, float]:
    centre, spread = share + z**2 / (2 * size), z * np.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    low, high = (centre - spread) / (1 + z**2 / size), (centre + spread) / (1 + z**2 / size)
    return max(0.0, float(low)), min(1.0, float(high))

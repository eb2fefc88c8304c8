"""How well similarities tell versions from other pictures. NumPy only.

`positive` are the similarities of paintings and their versions, `negative` those of paintings and other pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def triplet_accuracy(positive: Floats, negative: Floats) -> float:
    """Share of the triplets, row by row, whose positive is the more similar one; a tie counts half."""
    positive, negative = _similarities(positive, negative)
    if len(positive) != len(negative):
        raise ValueError(f"{len(positive)} positive and {len(negative)} negative similarities: triplets need as many")
    return float(np.mean(wins(positive, negative)))


def wins(positive: Floats, negative: Floats) -> Floats:
    """Of each triplet (n,): 1 where the positive is the more similar one, 0 where the negative is, 0.5 for a tie."""
    return np.asarray((np.sign(np.asarray(positive, float) - np.asarray(negative, float)) + 1) / 2)


def auc(positive: Floats, negative: Floats) -> float:
    """Chance that some positive is more similar than some negative, ties half: the area below the ROC curve.

    Exact, by ranks (Mann-Whitney U; Hanley & McNeil 1982). The two need not be of one length.
    """
    positive, negative = _similarities(positive, negative)
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left") + np.searchsorted(ordered, positive, side="right")
    return float(below.sum() / (2 * len(positive) * len(negative)))


def roc_curve(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """At each threshold between two similarities, falling: share of negatives, and of positives, that are above it.

    The ROC curve (FPR, TPR), from (0, 0) to (1, 1); similarities that are equal fall together.
    """
    positive, negative = _similarities(positive, negative)
    thresholds = np.unique(np.concatenate([positive, negative]))[::-1]
    above = [(len(side) - np.searchsorted(np.sort(side), thresholds)) / len(side) for side in (negative, positive)]
    return np.concatenate([[0.0], above[0]]), np.concatenate([[0.0], above[1]])


def equal_error_rate(positive: Floats, negative: Floats) -> float:
    """Where as many negatives pass as positives fail, on the ROC curve joined by straight lines."""
    passed, found = roc_curve(positive, negative)
    difference = passed - (1 - found)
    last = int(np.argmax(difference >= 0))
    share = -difference[last - 1] / (difference[last] - difference[last - 1])
    return float(passed[last - 1] + share * (passed[last] - passed[last - 1]))


def tpr_at_fpr(positive: Floats, negative: Floats, fpr: float) -> float:
    """Share of positives found at the lowest threshold that at most a share `fpr` of the negatives passes."""
    passed, found = roc_curve(positive, negative)
    return float(found[passed <= fpr].max())


def match_ranks(
    queries: Floats, gallery: Floats, targets: NDArray[np.integer] | None = None, chunk: int = 512
) -> NDArray[np.int64]:
    """Rank (Q,) of each query's match among the rows of the gallery, from 1; rows as similar as the match go before it.

    queries (Q, D) and gallery (G, D) are of length 1; targets (Q,) are the rows of the matches, by default the same
    row. Holds chunk x G similarities.
    """
    targets = np.arange(len(queries)) if targets is None else targets
    if len(queries) == 0 or len(targets) != len(queries) or targets.max() >= len(gallery):
        raise ValueError(f"{len(queries)} queries need as many targets among the {len(gallery)} rows of the gallery")
    ranks = np.empty(len(queries), np.int64)
    for start in range(0, len(queries), chunk):
        rows = slice(start, start + chunk)
        similarity = queries[rows] @ gallery.T
        matches = np.take_along_axis(similarity, targets[rows, None], axis=1)
        ranks[rows] = np.count_nonzero(similarity >= matches, axis=1)
    return ranks


def recall_at_k(ranks: NDArray[np.integer], ks: Sequence[int]) -> dict[int, float]:
    """Share of the queries whose match_ranks is k or better, for each k; equal embeddings recall nothing."""
    return {k: float(np.mean(ranks <= k)) for k in ks}


def mean_reciprocal_rank(ranks: NDArray[np.integer]) -> float:
    """Mean of 1 / match_ranks (Voorhees 1999); with one match for each query also the mean average precision."""
    return float(np.mean(1 / ranks))


def bootstrap_intervals(
    values: Floats, groups: NDArray[np.integer], num_draws: int = 2000
) -> list[tuple[float, float]]:
    """95% intervals of the means of values (k, n), each row by itself; groups (n,) are drawn whole, with replacement.

    Rows of one artist are alike, so that they are no independent draws (percentiles of a cluster bootstrap: Davison &
    Hinkley 1997, section 3.8). The same groups are drawn for all k, and again in each call. One group alone gives an
    interval without width: it says nothing of others. Holds num_draws x groups counts.
    """
    _, member = np.unique(groups, return_inverse=True)
    sizes, sums = np.bincount(member), np.stack([np.bincount(member, weights=row) for row in values])
    draws = np.random.default_rng(0).multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), num_draws)
    low, high = np.percentile(sums @ draws.T / (draws @ sizes), (2.5, 97.5), axis=1)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def summary(positive: Floats, negative: Floats) -> dict[str, float]:
    """The thesis's figures of paired similarities (n,), and those of verification by a threshold."""
    accuracy = triplet_accuracy(positive, negative)
    mean_positive, mean_negative = float(np.mean(positive, dtype=float)), float(np.mean(negative, dtype=float))
    return {
        "triplet_accuracy": accuracy,
        "mean_positive": mean_positive,
        "mean_negative": mean_negative,
        "gap": mean_positive - mean_negative,
        "auc": auc(positive, negative),
        "eer": equal_error_rate(positive, negative),
        "tpr_at_fpr_0.01": tpr_at_fpr(positive, negative, 0.01),
        "tpr_at_fpr_0.001": tpr_at_fpr(positive, negative, 0.001),
    }


def _similarities(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """Both as float64, so that float32 rows keep their ties; none may be empty or hold a NaN."""
    arrays = np.asarray(positive, float), np.asarray(negative, float)
    for name, array in zip(("positive", "negative"), arrays, strict=True):
        if array.ndim != 1 or len(array) == 0 or np.isnan(array).any():
            raise ValueError(f"{name} similarities of shape {array.shape}: must be (n,) with n > 0 and without NaN")
    return arrays

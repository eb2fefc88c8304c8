"""How well similarities tell versions from other pictures. NumPy only.

`positive` are the similarities of paintings and their versions, `negative` those of paintings and other pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]
Labels = tuple[Integers, Integers]
"""A number of each query (Q,), and one of each row of the gallery (G,): those of one number belong together."""

ROUNDING = np.float32(1e-6)
"""A float32 matrix product gives equal rows similarities that differ by 1e-7 or so: closer ones are ties."""


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
    queries: Floats,
    gallery: Floats,
    targets: Integers | None = None,
    ignore: Labels | None = None,
    chunk: int = 256,
) -> NDArray[np.int64]:
    """Rank (Q,) of each query's match among the rows of the gallery, from 1; rows as similar as the match go before it.

    queries (Q, D) and gallery (G, D) are of length 1; targets (Q,) are the rows of the matches, by default the same
    row. A row of the gallery whose number in `ignore` is the query's is not counted, unless it is the match.
    Computes in float32, and holds chunk x G similarities.
    """
    targets = np.arange(len(queries)) if targets is None else targets
    if len(queries) == 0 or len(targets) != len(queries) or targets.max() >= len(gallery):
        raise ValueError(f"{len(queries)} queries need as many targets among the {len(gallery)} rows of the gallery")
    ranks = np.empty(len(queries), np.int64)
    for rows, similarity, ignored in _chunks(queries, gallery, ignore, chunk):
        at = np.arange(len(similarity)), targets[rows]
        matches = similarity[at]
        similarity[ignored] = -np.inf
        similarity[at] = matches
        ranks[rows] = _count_above(similarity, matches)
    return ranks


def average_precision(
    queries: Floats, gallery: Floats, relevant: Labels, ignore: Labels | None = None, chunk: int = 256
) -> Floats:
    """Average precision (Q,) of each query's ranking of the gallery; the mean is mAP (Manning et al. 2008, 8.4).

    queries (Q, D) and gallery (G, D) are of length 1. Rows of the gallery whose number in `relevant` is the query's
    are right, and rows that are as similar as one of them go before it; those whose number in `ignore` is the query's
    are otherwise neither right nor wrong. Computes in float32, holds chunk x G similarities, and goes through them
    once for each relevant row of a query: meant for a few. Raises ValueError where a query has none.
    """
    found, members = np.empty(len(queries)), _Members(relevant)
    if lacking := int(np.count_nonzero(members.sizes == 0)):
        raise ValueError(f"{lacking} of {len(queries)} queries have no relevant row in the gallery")
    for rows, similarity, ignored in _chunks(queries, gallery, ignore, chunk):
        right, sizes = members.pairs(rows), members.sizes[rows]
        scores = np.full((len(similarity), sizes.max()), np.nan, np.float32)
        scores[np.arange(scores.shape[1]) < sizes[:, None]] = similarity[right]
        similarity[ignored] = -np.inf
        similarity[right] = scores[~np.isnan(scores)]
        precision = [_count_above(scores, score) / np.maximum(_count_above(similarity, score), 1) for score in scores.T]
        found[rows] = np.sum(precision, axis=0) / sizes
    return found


class _Members:
    """Which rows of the gallery have the number of each query."""

    def __init__(self, labels: Labels) -> None:
        of_query, of_gallery = labels
        self._order = np.argsort(of_gallery, kind="stable")
        ordered = of_gallery[self._order]
        self._starts = np.searchsorted(ordered, of_query, side="left")
        self.sizes = np.searchsorted(ordered, of_query, side="right") - self._starts
        """of each query, (Q,)"""

    def pairs(self, rows: slice) -> tuple[Integers, Integers]:
        """Of some queries: the query, counted from the first of them, and a row of the gallery, (n,) each, in order."""
        sizes = self.sizes[rows]
        number = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return np.repeat(np.arange(len(sizes)), sizes), self._order[np.repeat(self._starts[rows], sizes) + number]


def _chunks(
    queries: Floats, gallery: Floats, ignore: Labels | None, chunk: int
) -> Iterator[tuple[slice, Floats, tuple[Integers, Integers]]]:
    """Some queries, their similarities (chunk, G), float32, and where among these the rows to ignore are."""
    queries, gallery = np.asarray(queries, np.float32), np.asarray(gallery, np.float32)
    members = _Members(ignore) if ignore is not None else None
    nowhere = np.zeros(0, int), np.zeros(0, int)
    for start in range(0, len(queries), chunk):
        rows = slice(start, start + chunk)
        yield rows, queries[rows] @ gallery.T, members.pairs(rows) if members else nowhere


def _count_above(similarity: Floats, scores: Floats) -> Integers:
    """How many of a row of similarities (n, G) are its score (n,) or more, (n,); 0 for NaN."""
    return np.count_nonzero(similarity >= (scores - ROUNDING)[:, None], axis=1)


def recall_at_k(ranks: Integers, ks: Sequence[int]) -> dict[int, float]:
    """Share of the queries whose match_ranks is k or better, for each k; equal embeddings recall nothing."""
    return {k: float(np.mean(ranks <= k)) for k in ks}


def mean_reciprocal_rank(ranks: Integers) -> float:
    """Mean of 1 / match_ranks (Voorhees 1999); with one match for each query also the mean average precision."""
    return float(np.mean(1 / ranks))


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

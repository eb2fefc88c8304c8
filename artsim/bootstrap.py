"""95% intervals of figures whose rows are alike within groups: groups are drawn whole. NumPy only.

Rows of one artist are no independent draws, so that intervals of single rows would be too narrow (percentiles of a
cluster bootstrap: Davison & Hinkley 1997, section 3.8). Shapes: n rows, G groups, D draws, T thresholds.
"""

from __future__ import annotations

import copy

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]

FPRS = (0.01, 0.001)
NUM_THRESHOLDS = 2048
_CHUNK = 2**20
"""Numbers in one array of float64: 8 MB."""
_PIECE = 256
"""Rows that are added up at a time: as many bytes of at most 255 stay below 2^16."""


class Bootstrap:
    """Draws of groups with replacement, the same for all figures and scorers, so that differences of two are paired.

    groups (n,) says which group each row is of. One group alone gives intervals without width: it says nothing of
    others; few give somewhat narrow ones, which hold the truth in 93% of cases with 20 groups and 94% with 60.
    Holds G x D bytes.
    """

    def __init__(self, groups: Integers, num_draws: int = 2000, seed: int = 0) -> None:
        names, member = np.unique(groups, return_inverse=True)
        if not len(names):
            raise ValueError("no groups to draw from: there are no rows")
        self.member = member
        """The group's number of each row, (n,), 0..G-1."""
        self.counts = _draw(len(names), num_draws, np.random.default_rng(seed))
        """How often each draw has each group, (G, D) uint8."""

    def select(self, rows: NDArray[np.integer | np.bool_]) -> Bootstrap:
        """The same draws of the same groups for some of the rows: numbers, which may repeat, or a mask (n,)."""
        chosen = copy.copy(self)
        chosen.member = self.member[rows]
        return chosen

    def means(self, values: Floats) -> Floats:
        """The mean of values (n,) in each draw, (D,); NaN where a draw has none of the rows. (k, n) give (k, D).

        Many at once cost hardly more than one.
        """
        rows = self._per_row("values", values).reshape(-1, len(self.member))
        num_groups = len(self.counts)
        totals = np.stack([np.bincount(self.member, row, num_groups) for row in (*rows, np.ones(len(self.member)))])
        sums, step = np.zeros((len(totals), self.counts.shape[1])), max(1, _CHUNK // self.counts.shape[1])
        for start in range(0, num_groups, step):  # float64 of some counts at a time
            sums += totals[:, start : start + step] @ self.counts[start : start + step].astype(float)
        found = np.divide(sums[:-1], sums[-1], out=np.full_like(sums[:-1], np.nan), where=sums[-1] > 0)
        return found.reshape(*np.shape(values)[:-1], -1)

    def verification(self, positive: Floats, negative: Floats) -> dict[str, Floats]:
        """AUC, EER and TPR at 1% and 0.1% FPR of similarities (n,) and (n,) in each draw, (D,) each.

        As `metrics` gives them for the drawn rows: exactly where the similarities have up to 2,048 values, else with
        thresholds at about as many of them, a hundredth of each FPR apart, and ties between two thresholds.
        """
        positive, negative = self._per_row("positive", positive), self._per_row("negative", negative)
        edges = _thresholds(positive, negative)
        sides = [
            self._histograms(np.searchsorted(edges, side, side="right"), len(edges)) for side in (positive, negative)
        ]
        step = max(1, _CHUNK // (len(edges) + 1))
        starts = range(0, self.counts.shape[1], step)
        parts = [_verification(*(side[:, start : start + step].astype(float) for side in sides)) for start in starts]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _per_row(self, name: str, values: Floats) -> Floats:
        """As float64, whose last axis is the rows, without NaN."""
        values = np.asarray(values, float)
        if values.shape[-1:] != self.member.shape or np.isnan(values).any():
            raise ValueError(f"{name} of shape {values.shape}: must be {self.member.shape}, as the groups, without NaN")
        return values

    def _histograms(self, at: Integers, last: int) -> Floats:
        """How many drawn rows lie between two thresholds each, (last + 1, D) float32; `at` (n,) is 0..last."""
        order = np.argsort(at, kind="stable")
        at, member = at[order], self.member[order]
        starts = np.union1d(np.flatnonzero(np.diff(at, prepend=-1)), np.arange(0, len(at), _PIECE))
        found = np.zeros((last + 1, self.counts.shape[1]), np.float32)
        for start, end in zip(starts, [*starts[1:], len(at)], strict=True):
            found[at[start]] += self.counts[member[start:end]].sum(0, dtype=np.uint16)
        return found


def interval(draws: Floats) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of draws (D,), without those that are NaN; NaN where all are."""
    known = draws[~np.isnan(draws)]
    low, high = np.percentile(known, (2.5, 97.5)) if len(known) else (np.nan, np.nan)
    return float(low), float(high)


def _draw(num_groups: int, num_draws: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Multinomial counts, (G, D)."""
    counts = np.empty((num_draws, num_groups), np.uint8)
    for draw in counts:
        draw[:] = np.bincount(rng.integers(0, num_groups, num_groups), minlength=num_groups)
    return np.ascontiguousarray(counts.T)


def _thresholds(positive: Floats, negative: Floats) -> Floats:
    """Values (T,), rising: all of them or, where they are many, about 2,048.

    Half are quantiles of both sides, the other half of the negatives, ever closer to the largest: each lets about 1%
    fewer pass than the one before, down to a single one.
    """
    values = np.unique(np.concatenate([positive, negative]))
    if len(values) <= NUM_THRESHOLDS:
        return values
    both, passing = np.sort(np.concatenate([positive, negative])), np.sort(negative)
    levels = np.linspace(0, len(both) - 1, NUM_THRESHOLDS // 2).astype(int)
    passes = np.geomspace(1, len(passing), NUM_THRESHOLDS // 2).astype(int)
    return np.unique(np.concatenate([both[levels], passing[-passes]]))


def _verification(positive: Floats, negative: Floats) -> dict[str, Floats]:
    """The figures of histograms (T + 1, D) of both sides, each (D,)."""
    empty = (positive.sum(0) == 0) | (negative.sum(0) == 0)
    passed, found = (_above(side) for side in (negative, positive))
    wins = np.diff(found, axis=0) * (1 - (passed[:-1] + passed[1:]) / 2)
    figures = {"auc": wins.sum(0), "eer": _equal_error_rate(passed, found)}
    figures |= {f"tpr_at_fpr_{fpr}": np.where(passed <= fpr, found, 0).max(0) for fpr in FPRS}
    return {name: np.where(empty, np.nan, draws) for name, draws in figures.items()}


def _above(histogram: Floats) -> Floats:
    """Share of the rows at or above each threshold, falling, (T + 2, D) from 0 to 1."""
    above = np.cumsum(histogram[::-1], axis=0)
    return np.concatenate([np.zeros((1, above.shape[1])), above]) / np.maximum(above[-1], 1)


def _equal_error_rate(passed: Floats, found: Floats) -> Floats:
    """Where the curve (T + 2, D), joined by straight lines, has passed = 1 - found, (D,)."""
    difference = passed + found - 1
    last = np.maximum(np.argmax(difference >= 0, axis=0), 1)
    (before, after), (start, end) = (
        [np.take_along_axis(array, at[None], axis=0)[0] for at in (last - 1, last)] for array in (difference, passed)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(start - before / (after - before) * (end - start))

"""In what way two pictures are alike: composition, style and semantics apart, and the evidence that each means it.

Shapes: n pictures or pairs, N patches on a G x G grid, T features of a patch, D pooled, 2E early, K colours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import Any, NamedTuple

import numpy as np

from artsim.baselines import centred

NAMES = ("composition", "style", "semantics")
EXPECTED: dict[str, tuple[str, ...]] = {
    "flip": ("composition",),
    "shuffle": ("composition",),
    "hue": ("style",),
    "restyle": ("style",),
    "same_artist": ("composition", "semantics"),
}
"""Which scores an edit must move; the others must stay quiet. An edit `hue-60` is of the kind `hue`; `same_artist` is
another painting by the same hand, whose style need not stay, but must move less than the two."""
REACTS, QUIET = 1.0, 0.25
"""Deviations that a score falls by at least where it must react, and at most where it must not."""
NUM_AXES, NUM_EARLY_AXES = 2, 24
"""Of patches, and of channel statistics. What lies along further axes of patches is detail, and speaks of style."""
SELF_SIMILARITY, HISTOGRAM = 0.25, 0.7
"""Share in the squared length of the vectors of composition (the rest: patches at their places) and of style (the
rest: channel statistics). Self-similarity stays less quiet when the style is changed. Patches that change places keep
the colours exactly, and the channel statistics but for their seams."""
_TINY = 1e-12


class Pictures(NamedTuple):
    """Features of n pictures, from the tables of embeddings and of cues."""

    pooled: np.ndarray
    """(n, D)"""
    tokens: np.ndarray
    """(n, N, T)"""
    early: np.ndarray
    """(n, 2E)"""
    histogram: np.ndarray
    """(n, K)"""

    def take(self, rows: np.ndarray) -> Pictures:
        """Some of the pictures, by number."""
        return Pictures(*(column[rows] for column in self))


@dataclass(frozen=True)
class Subscores:
    """Three similarities of a pair of pictures, each the product of two unit vectors, from -1 to 1."""

    learned: dict[str, np.ndarray]
    """Means (1, ...) of the training set, and axes along which it varies: `patches` (T, 2), `early_axes` (2E, 24)."""
    names: tuple[str, ...] = NAMES
    """Those whose evidence holds."""
    unrelated: dict[str, np.ndarray] | None = None
    """By name: 0th to 100th percentile (101,) of the score among unrelated pairs."""

    @classmethod
    def fit(cls, train: Pictures) -> Subscores:
        """Learn from the pictures of the training set, a few hundred or more."""
        columns = {"early": train.early, "histogram": train.histogram, "pooled": train.pooled}
        learned = {name: rows.mean(0, keepdims=True, dtype=np.float64) for name, rows in columns.items()}
        return cls(learned | {"patches": _axes(train.tokens), "early_axes": _whitening(train.early)})

    def vectors(self, pictures: Pictures) -> dict[str, np.ndarray]:
        """By name: vectors (n, ...) float32 of length 1, whose products are the scores."""
        learned = self.learned
        makers = {
            "composition": lambda: arrangement(pictures.tokens, learned["patches"]),
            "style": lambda: _joined(
                (1 - HISTOGRAM, _unit((pictures.early - learned["early"]) @ learned["early_axes"])),
                (HISTOGRAM, centred(learned["histogram"], pictures.histogram)),
            ),
            "semantics": lambda: centred(learned["pooled"], pictures.pooled),
        }
        return {name: makers[name]() for name in self.names}

    def scores(self, first: Pictures, second: Pictures) -> dict[str, np.ndarray]:
        """By name: how alike the pictures of each pair are (n,)."""
        one, other = self.vectors(first), self.vectors(second)
        return {name: (one[name] * other[name]).sum(1) for name in self.names}

    def calibrated(self, unrelated: Mapping[str, np.ndarray]) -> Subscores:
        """The same with the scores of unrelated pairs (n,) to compare with."""
        return replace(self, unrelated={name: np.percentile(unrelated[name], np.arange(101)) for name in self.names})

    def percentiles(self, scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """By name: share of unrelated pairs that are less alike (n,), 0..100; they must have been calibrated."""
        assert self.unrelated is not None
        return {name: np.interp(scores[name], self.unrelated[name], np.arange(101)) for name in self.names}

    def kept(self, names: Sequence[str]) -> Subscores:
        """The same with these scores alone."""
        unrelated = {name: self.unrelated[name] for name in names} if self.unrelated is not None else None
        return replace(self, names=tuple(names), unrelated=unrelated)

    def to_json(self) -> dict[str, Any]:
        """All that is known, for the model folder."""
        unrelated = {name: values.tolist() for name, values in (self.unrelated or {}).items()} or None
        learned = {name: values.tolist() for name, values in self.learned.items()}
        return {"names": list(self.names), "learned": learned, "unrelated": unrelated}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Subscores:
        """What to_json gave."""
        known = {name: np.array(values) for name, values in (found["unrelated"] or {}).items()} or None
        learned = {name: np.array(values) for name, values in found["learned"].items()}
        return cls(learned, tuple(found["names"]), known)


def arrangement(tokens: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Where things are, without detail: patches (n, N, T) along a few axes (T, k), as vectors (n, ...) of length 1.

    A picture's own mean is taken off, or its palette and light would speak; neighbours are averaged over a seventh of
    the side each way. Then the patches count at their places, and the products of any two of them (the
    self-similarity of Shechtman and Irani 2007, over a whole picture), which also holds where dark and light change.
    """
    values = tokens.astype(np.float32) @ axes.astype(np.float32)
    values -= values.mean(1, keepdims=True)
    grid = isqrt(values.shape[1])
    values = _smooth(values.reshape(len(values), grid, grid, -1), max(1, round(grid / 7)))
    values = values.reshape(len(values), grid * grid, -1)
    values -= values.mean(1, keepdims=True)
    products = (values @ values.swapaxes(1, 2))[:, *np.triu_indices(grid * grid)]
    products -= products.mean(1, keepdims=True)
    places = values.reshape(len(values), -1)
    return _joined((1 - SELF_SIMILARITY, _unit(places)), (SELF_SIMILARITY, _unit(products)))


def _axes(tokens: np.ndarray) -> np.ndarray:
    """The axes (T, k) along which patches of one picture differ most."""
    values = tokens.astype(np.float32)
    values -= values.mean(1, keepdims=True)
    values = values.reshape(-1, values.shape[-1])
    _, axes = np.linalg.eigh((values.T @ values).astype(np.float64))
    return np.asarray(axes[:, ::-1][:, :NUM_AXES], np.float64)


def _whitening(rows: np.ndarray) -> np.ndarray:
    """What takes numbers (n, D) less their mean to their first axes (D, k), along which they vary alike.

    Each number first counts in its own deviations.
    """
    values = (rows - rows.mean(0)).astype(np.float64)
    deviations = np.maximum(values.std(0), 1e-6)
    _, lengths, axes = np.linalg.svd(values / deviations, full_matrices=False)
    num_axes = min(NUM_EARLY_AXES, int((lengths > 1e-6 * lengths[0]).sum()))
    return np.asarray((axes[:num_axes] / deviations).T / lengths[:num_axes] * np.sqrt(len(rows)), np.float64)


def _smooth(values: np.ndarray, radius: int) -> np.ndarray:
    """Means (n, G, G, k) over squares of 2 radius + 1 cells, the border's cells repeated."""
    for axis in (1, 2):
        length = values.shape[axis]
        at = np.arange(length)
        shifts = [(at + shift).clip(0, length - 1) for shift in range(-radius, radius + 1)]
        values = np.mean([np.take(values, shift, axis) for shift in shifts], axis=0)
    return values


def _joined(*parts: tuple[float, np.ndarray]) -> np.ndarray:
    """Unit vectors side by side as one: the product is the mean of their products, by share."""
    return np.concatenate([np.sqrt(np.float32(share)) * rows for share, rows in parts], 1)


def _unit(rows: np.ndarray) -> np.ndarray:
    vectors: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY)
    return vectors.astype(np.float32)


def deviation(unrelated: np.ndarray) -> float:
    """One standard deviation of a score over pairs of which half are one picture (1) and half unrelated (n,).

    Mostly a little over half of the way from the one to the other. (Among unrelated pairs alone it would shrink with
    the number of dimensions, and say little of how much of the way an edit takes a picture.)
    """
    return float(np.sqrt((1 - unrelated.mean()) ** 2 / 4 + unrelated.var() / 2))


def evidence(
    subscores: Subscores, edits: Mapping[str, tuple[Pictures, Pictures]], unrelated: tuple[Pictures, Pictures]
) -> dict[str, Any]:
    """How far each edit moves each score, and which scores react to what they name and to nothing else.

    `edits` are pictures before and after, `unrelated` pairs of which neither shows or made the other. A row of the
    matrix has edit, score, n, `fall` in deviations with its 95% `interval` (normal approximation), what is wanted of
    it (reacts, quiet, quieter, or nothing of kinds that EXPECTED does not name) and whether it holds.

    What holds depends on the encoder. With the descriptors composition and style do; with an ImageNet MobileNetV1
    composition does not, for the patches of its last layer move with hue (0.50) and transferred style (0.73).
    """
    apart = subscores.scores(*unrelated)
    units = {name: deviation(values) for name, values in apart.items()}
    matrix: list[dict[str, Any]] = []
    for edit, pair in edits.items():
        rows = [_row(edit, name, 1 - score, units[name]) for name, score in subscores.scores(*pair).items()]
        least = min((row["fall"] for row in rows if row["wanted"] == "reacts"), default=np.inf)
        for row in rows:
            limits = {"reacts": row["fall"] > REACTS, "quiet": row["fall"] < QUIET, "quieter": row["fall"] < least}
            row["holds"] = bool(limits[row["wanted"]]) if row["wanted"] else None
        matrix += rows
    # What nothing was tried on that it names has no evidence either.
    shown = {row["score"] for row in matrix if row["wanted"] == "reacts"}
    failed = {name: [row["edit"] for row in matrix if row["score"] == name and row["holds"] is False] for name in units}
    return {
        "matrix": matrix,
        "deviations": units,
        "num_unrelated": len(unrelated[0].pooled),
        "passes": [name for name, edits in failed.items() if not edits and name in shown],
        "fails": {name: edits for name, edits in failed.items() if edits},
    }


def _row(edit: str, name: str, falls: np.ndarray, unit: float) -> dict[str, Any]:
    kind = edit.split("-")[0]
    mean, error = float(falls.mean() / unit), float(falls.std(ddof=1) / unit / np.sqrt(len(falls)))
    wanted = None
    if kind in EXPECTED:
        wanted = "reacts" if name in EXPECTED[kind] else "quieter" if kind == "same_artist" else "quiet"
    interval = [mean - 1.96 * error, mean + 1.96 * error]
    return {"edit": edit, "score": name, "n": len(falls), "fall": mean, "interval": interval, "wanted": wanted}

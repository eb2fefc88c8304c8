"""How much the similarity of a painting to itself bears: edits as people make them, a curve for each. NumPy only.

All pictures are vectors of length 1, so that a similarity is a dot product. G originals of the test split, N edited
pictures, D the width of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from artsim.bootstrap import Bootstrap, interval
from artsim.metrics import match_ranks

HOLDS, FAILS = 0.95, 0.5
"""Share of the pictures that find their painting first: at least, and below."""
_CHUNK = 512
_WORDS = {
    "crop": "a crop to {}% of each side",
    "jpeg": "JPEG of quality {}",
    "blur": "a blur of {}/1000 of the longer side",
    "noise": "noise of {} levels of 255",
    "greyscale": "greyscale",
    "hue": "hues turned by {}°",
    "flip": "a left-right flip",
    "rotate": "a rotation by {}°",
    "perspective": "a view from the side (far edge {}% shorter)",
    "frame": "a frame of {}% of the shorter side",
    "watermark": "a watermark of {}% opacity",
    "screenshot": "a screenshot that shows it at {}% of the page",
    "collage": "a collage of {} pictures",
}
"""What people do to pictures; other edits are evidence for sub-scores, and the sentence leaves them out."""


class Originals(NamedTuple):
    """Paintings of the test split, among which an edited one is looked for."""

    vectors: NDArray[np.floating]
    """(G, D)"""
    groups: NDArray[np.integer]
    """(G,), who made each: pictures of two groups are unrelated"""


class Edited(NamedTuple):
    """Edited paintings."""

    vectors: NDArray[np.floating]
    """(N, D)"""
    painting: NDArray[np.integer]
    """(N,), rows of the originals"""
    edits: Sequence[str]
    """(N,), as in `jpeg-30`"""


def robustness(originals: Originals, edited: Edited, num_draws: int = 2000) -> dict[str, Any]:
    """What each edit does to the similarity of a painting to itself, with 95% intervals over groups.

    `edits`, in the order in which they first come, each with n, num_groups and, as value and `..._interval`: `mean`
    similarity; `above_unrelated`, the share that is more alike to its painting than the painting is to any unrelated
    one; `first`, the share that finds its painting first among all originals. `unrelated`: the mean similarity of
    unrelated originals, and of an original and the likest unrelated one. `expectation`: a sentence for people. Where
    all originals are of one group, what tells of unrelated ones is None or left out.
    """
    own = np.einsum("nd,nd->n", originals.vectors[edited.painting], edited.vectors)
    likest = likest_unrelated(originals)
    alone = bool(np.isnan(likest).any())
    first = match_ranks(edited.vectors, originals.vectors, edited.painting) == 1
    values = {"mean": own, "first": first.astype(float)}
    if not alone:
        values["above_unrelated"] = (own > likest[edited.painting]).astype(float)
    names = np.array(edited.edits)
    draws = Bootstrap(originals.groups[edited.painting], num_draws)
    rows = [_figures(edit, np.flatnonzero(names == edit), values, draws) for edit in dict.fromkeys(edited.edits)]
    return {
        "gallery": len(originals.vectors),
        "unrelated": {"mean": _mean_unrelated(originals), "likest": None if alone else float(likest.mean())},
        "edits": rows,
        "expectation": expectation(rows),
    }


def likest_unrelated(originals: Originals) -> NDArray[np.floating]:
    """The similarity (G,) of each original to the likest one of another group; NaN where there is no other group."""
    vectors, groups = originals
    found = np.empty(len(vectors))
    for start in range(0, len(vectors), _CHUNK):
        rows = slice(start, start + _CHUNK)
        similarity = np.where(groups[rows, None] == groups, -np.inf, vectors[rows] @ vectors.T)
        found[rows] = similarity.max(1)
    return np.where(np.isinf(found), np.nan, found)


def _mean_unrelated(originals: Originals) -> float | None:
    """Mean similarity of all pairs of different groups: that of all pairs but those within a group; None without."""
    _, member = np.unique(originals.groups, return_inverse=True)
    sums = np.zeros((member.max() + 1, originals.vectors.shape[1]))
    np.add.at(sums, member, originals.vectors)
    sizes = np.bincount(member).astype(float)
    pairs = sizes.sum() ** 2 - (sizes**2).sum()
    total = (sums.sum(0) ** 2).sum() - (sums**2).sum()
    return float(total / pairs) if pairs else None


def _figures(
    edit: str, rows: NDArray[np.integer], values: dict[str, NDArray[np.floating]], draws: Bootstrap
) -> dict[str, Any]:
    """One edit's figures."""
    kind, _, strength = edit.partition("-")
    some = draws.select(rows)
    found: dict[str, Any] = {"edit": edit, "kind": kind, "strength": int(strength) if strength else None}
    found |= {"n": len(rows), "num_groups": len(np.unique(some.member))}
    for name, column in values.items():
        found |= {name: float(column[rows].mean()), f"{name}_interval": interval(some.means(column[rows]))}
    return found


def expectation(rows: Sequence[dict[str, Any]]) -> str:
    """What a user should expect, from the figures of `robustness`, strengths in the order of the rows."""
    holds, doubtful, fails = [], [], []
    for kind in dict.fromkeys(row["kind"] for row in rows if row["kind"] in _WORDS):
        curve = [row for row in rows if row["kind"] == kind]
        broken = next((at for at, row in enumerate(curve) if row["first"] < HOLDS), len(curve))
        if broken:
            holds.append(_phrase(curve[broken - 1]))
        lost = next((row for row in curve if row["first"] < FAILS), None)
        if broken < len(curve) and curve[broken] is not lost:
            doubtful.append(_phrase(curve[broken]))
        if lost is not None:
            fails.append(_phrase(lost))
    parts = [
        (holds, f"{HOLDS:.0%} or more of the pictures still find their painting first among all others after"),
        (doubtful, f"fewer do, but more than {FAILS:.0%}, after"),
        (fails, f"less than {FAILS:.0%} do after"),
    ]
    text = "; ".join(f"{words} {_joined(phrases)}" for phrases, words in parts if phrases)
    return f"Of {max(row['n'] for row in rows)} test paintings: {text}." if text else ""


def _phrase(row: dict[str, Any]) -> str:
    return f"{_WORDS[row['kind']].format(row['strength'])} ({row['first']:.0%})"


def _joined(phrases: Sequence[str]) -> str:
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 1 else phrases)

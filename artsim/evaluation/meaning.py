"""What the trained head's similarities mean: learned from validation pairs, and tried on those of the test split."""

from __future__ import annotations

from typing import Any

import numpy as np

from artsim.calibration import KINDS, Calibration, calibrate, evidence
from artsim.evaluation.triplets import Scored

Pairs = tuple[np.ndarray, dict[str, np.ndarray]]
"""Similarities of paintings and their versions (n,), and of paintings and other versions (n,) by kind."""


def pairs_of(scored: Scored, split: str) -> Pairs:
    """The trained head's similarities in a split; each painting and version once."""
    negatives = {}
    for kind in KINDS:
        rows = scored.where(split, kind)
        rows = rows[scored.has_negative[rows]]
        if kind == "other_genre":  # whose works by one artist are related
            rows = rows[scored.group_of(scored.pairs.negative[rows]) != scored.groups[rows]]
        negatives[kind] = scored.similarities("model", rows)[1]
    rows = scored.where(split)
    rows = rows[np.unique(scored.pairs.positive[rows], return_index=True)[1]]
    vectors = scored.vectors.by_scorer["model"]
    return (vectors[scored.pairs.anchor[rows]] * vectors[scored.pairs.positive[rows]]).sum(1), negatives


def meaning(scored: Scored) -> tuple[Calibration, dict[str, Any]] | None:
    """A calibration from validation pairs, and how it holds on test pairs; None where one of the splits has none."""
    val, test = pairs_of(scored, "val"), pairs_of(scored, "test")
    if not all(len(positive) and any(map(len, negatives.values())) for positive, negatives in (val, test)):
        return None
    found = calibrate(*val)
    return found, evidence(found, *test) | {"percentiles": found.quantiles}

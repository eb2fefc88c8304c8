"""The top of the page: yes or no, and the few figures that carry it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from artsim.baselines import SCORERS
from artsim.report.compare import by_scorer, gain_of, interval_of
from artsim.report.content import Row
from artsim.report.words import GROUPS, LEVELS, TIERS, is_known

HARDEST = ("nearest", "same_artist", "same_genre", "any")
"""Tiers of negatives, the hardest first."""


class Stat(NamedTuple):
    """A figure to say first, beside the best frozen baseline's on the same rows."""

    what: str
    value: float
    interval: Any
    baseline: str
    baseline_value: float
    baseline_interval: Any
    gain: dict[str, Any]
    """the paired difference: value and interval"""
    n: int
    groups: int


def stats(metrics: Mapping[str, Any]) -> list[Stat]:
    """Recall@1 of all versions, of the radical ones, and triplet accuracy against the hardest negatives."""
    best = metrics["best_baseline"]
    found = []
    for level in ("both", "radical"):
        rows = by_scorer(metrics["retrieval"], level=level)
        found.append(_stat(f"Recall@1, {LEVELS[level].lower()}", rows, "recall@1", best))
    tier, rows = hardest(metrics["rows"])
    found.append(_stat(f"Triplet accuracy, radical, {TIERS[tier][0]} negatives", rows, "triplet_accuracy", best))
    return [stat for stat in found if stat is not None]


def hardest(rows: list[Row], level: str = "radical") -> tuple[str, dict[str, Row]]:
    """The hardest tier that was measured, and its rows by scorer; the last of HARDEST, without rows, where none was."""
    for tier in HARDEST:
        found = by_scorer(rows, level=level, tier=tier)
        if is_known(found.get("model", {}).get("triplet_accuracy")):
            return tier, found
    return HARDEST[-1], {}


def _stat(what: str, rows: Mapping[str, Row], figure: str, baseline: str) -> Stat | None:
    head, other = rows.get("model", {}), rows.get(baseline, {})
    if not (is_known(head.get(figure)) and is_known(other.get(figure))):
        return None
    return Stat(
        what,
        head[figure],
        interval_of(head, figure),
        SCORERS[baseline],
        other[figure],
        interval_of(other, figure),
        gain_of(other, figure),
        head["n"],
        head["groups"],
    )


def group_noun(metrics: Mapping[str, Any]) -> str:
    """What the split keeps together, in the plural: artists, genres or groups."""
    return GROUPS.get(metrics["group_by"], "groups")

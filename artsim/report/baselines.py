"""Every baseline on the same rows as the trained head, and which of them cannot be told apart from the best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from artsim.baselines import SCORERS
from artsim.report.compare import (
    BLANK,
    Block,
    best_scorers,
    by_scorer,
    cells,
    gain_of,
    holds_zero,
    interval_of,
    present,
)
from artsim.report.content import Evaluation, Row, Section
from artsim.report.svg import COLOURS, colour_of, plot, rows_down, rows_frame, whisker
from artsim.report.words import (
    LEVELS,
    RETRIEVAL,
    SHORT,
    TIERS,
    capitalise,
    format_count,
    format_interval,
    format_percent,
    is_known,
    join,
)

TITLE = "Every baseline on the same rows"
SEARCHES = ("recall@1", "mrr", "map")


def section(evaluation: Evaluation) -> Section:
    """The one table, and what the head gains on each scorer."""
    metrics = evaluation.metrics
    levels = [level for level in present(metrics["retrieval"], "level", LEVELS) if level != "both"]
    gains = {level: _gains(by_scorer(metrics["retrieval"], level=level)) for level in levels}
    data = {
        "blocks": [block(level, metrics) for level in levels],
        "columns": columns(metrics),
        "plots": [_plot(level, found) for level, found in gains.items() if found],
        "scorers": present([*metrics["rows"], *metrics["retrieval"]], "scorer", SCORERS),
        "bars": _bars(metrics),
    }
    return Section("baselines", TITLE, _lead(metrics), data)


def columns(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The columns of the one table: what searches give, and the tiers of negatives."""
    tiers = {tier: TIERS[tier][0] for tier in present(metrics["rows"], "tier", TIERS)}
    return {name: RETRIEVAL[name] for name in SEARCHES} | tiers


def block(level: str, metrics: Mapping[str, Any], approaches: str = "all") -> Block:
    """A level's scorers: searches, and triplet accuracy in each tier."""
    searches = by_scorer(metrics["retrieval"], level=level, approaches=approaches)
    sources = {name: (searches, name) for name in SEARCHES} | {
        tier: (by_scorer(metrics["rows"], level=level, tier=tier, approaches=approaches), "triplet_accuracy")
        for tier in present(metrics["rows"], "tier", TIERS)
    }
    found = {column: cells(rows, figure) for column, (rows, figure) in sources.items()}
    scorers = [scorer for scorer in SCORERS if any(scorer in column for column in found.values())]
    table = {scorer: {name: column.get(scorer, BLANK) for name, column in found.items()} for scorer in scorers}
    counts = {name: next(iter(rows.values()))["n"] for name, (rows, _) in sources.items() if rows}
    return Block(LEVELS[level], "", table, counts)


def _lead(metrics: Mapping[str, Any]) -> str:
    rows = by_scorer(metrics["retrieval"], level="radical")
    best = best_scorers(rows, "recall@1")
    if not best:
        return "No two scorers were measured on the same searches."
    if "model" not in best:
        return (
            f"In finding the painting of a radical version, {join([f'“{SCORERS[name]}”' for name in best])} "
            "is ahead of the trained head."
        )
    others = [scorer for scorer in rows if scorer not in best]
    tied = [name for name in others if holds_zero(gain_of(rows[name], "recall@1").get("interval"))]
    if tied:
        names = join([f"“{SCORERS[name]}”" for name in tied])
        return f"The trained head comes first in recall@1 of radical versions, but is not told apart from {names}."
    return (
        f"In finding the painting of a radical version, the trained head is ahead of all {len(others)} other scorers, "
        "and no paired interval of the difference holds zero."
    )


def _bars(metrics: Mapping[str, Any]) -> str:
    """What it means how far the picture's proportions alone get; empty where they were not measured."""
    for tier in ("any", "other_genre", "same_genre"):
        row = by_scorer(metrics["rows"], level="radical", tier=tier).get("bars", {})
        if is_known(row.get("triplet_accuracy")):
            interval = format_interval(interval_of(row, "triplet_accuracy"), percent=True)
            return (
                f"Bars only sees no picture at all, just its proportions, and is right in "
                f"{format_percent(row['triplet_accuracy'])} of the radical triplets with {TIERS[tier][0]} negatives "
                f"(95% interval {interval}, n = {format_count(row['n'])}). So much would a model get for free that "
                "may see the black bars: the scorers above are shown the content without them."
            )
    return ""


def _gains(rows: Mapping[str, Row]) -> dict[str, dict[str, Any]]:
    gains = {scorer: gain_of(row, "recall@1") for scorer, row in rows.items()}
    return {scorer: gain for scorer, gain in gains.items() if is_known(gain.get("value"))}


def _plot(level: str, gains: Mapping[str, dict[str, Any]]) -> Markup:
    """What the head gains in recall@1 on each scorer, in pairs."""

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=COLOURS["ink"], linewidth=0.9)
        for place, (scorer, gain) in enumerate(gains.items()):
            whisker(axes, place, gain["value"], gain.get("interval"), colour=colour_of(scorer))
        rows_down(axes, [SHORT[scorer] for scorer in gains])
        axes.set_xlabel("trained head minus scorer, recall@1")
        axes.set_title(capitalise(LEVELS[level]))

    label = f"What the trained head gains in recall at 1 on each scorer, {LEVELS[level].lower()}"
    return plot(draw, label, rows_frame(len(gains)))

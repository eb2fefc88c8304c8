"""How the scorers do by how hard the negative is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from artsim.baselines import SCORERS
from artsim.report.compare import Block, by_scorer, interval_of, lines, present
from artsim.report.content import Evaluation, Row, Section
from artsim.report.svg import COLOURS, colour_of, plot, rows_down, rows_frame, whisker
from artsim.report.verdict import group_noun, hardest
from artsim.report.words import (
    FIGURES,
    LEVELS,
    TIERS,
    capitalise,
    format_count,
    format_interval,
    format_percent,
    is_known,
)

TITLE = "By how hard the negative is"


def section(evaluation: Evaluation) -> Section:
    """A plot for each level, and all figures of each level and tier."""
    metrics = evaluation.metrics
    levels = present(metrics["rows"], "level", LEVELS)
    shown = shown_scorers(metrics)
    data = {
        "tables": {level: blocks(metrics, level) for level in levels},
        "plots": [_plot(level, metrics, shown) for level in levels],
        "shown": shown,
        "counts": counts(metrics["rows"]),
    }
    return Section("tiers", TITLE, _lead(metrics), data)


def shown_scorers(metrics: Mapping[str, Any]) -> list[str]:
    """Those that the plot names: the head, the best frozen baseline, the thesis's head and the bars."""
    wanted = {"model", metrics["best_baseline"], "thesis_head", "bars"}
    return [scorer for scorer in present(metrics["rows"], "scorer", SCORERS) if scorer in wanted]


def blocks(metrics: Mapping[str, Any], level: str, approaches: str = "all") -> list[Block]:
    """All figures of a level, tier by tier."""
    found = []
    for tier in present(metrics["rows"], "tier", TIERS):
        rows = by_scorer(metrics["rows"], level=level, tier=tier, approaches=approaches)
        if rows:
            first = next(iter(rows.values()))
            note = f"n = {format_count(first['n'])} of {format_count(first['groups'])} {group_noun(metrics)}"
            missing = f", {format_count(first['missing'])} without a negative" if first["missing"] else ""
            found.append(Block(f"Negative: {TIERS[tier][0]}", note + missing, lines(rows, FIGURES)))
    return found


def counts(rows: list[Row]) -> dict[str, dict[str, tuple[int, int]]]:
    """Triplets measured and missing, by tier and level."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for tier in present(rows, "tier", TIERS):
        for level in present(rows, "level", LEVELS):
            for row in list(by_scorer(rows, tier=tier, level=level).values())[:1]:
                found.setdefault(tier, {})[level] = (row["n"], row["missing"])
    return found


def _lead(metrics: Mapping[str, Any]) -> str:
    tier, rows = hardest(metrics["rows"])
    head, other = rows.get("model", {}), rows.get(metrics["best_baseline"], {})
    if not (is_known(head.get("triplet_accuracy")) and is_known(other.get("triplet_accuracy"))):
        return "No triplet was measured."
    interval = format_interval(interval_of(head, "triplet_accuracy"), percent=True)
    return (
        f"Easy negatives flatter everyone. Against the hardest that were measured ({TIERS[tier][0]}: "
        f"{TIERS[tier][1]}), the trained head picks the radical version in "
        f"{format_percent(head['triplet_accuracy'])} of the triplets "
        f"(95% interval {interval}), “{SCORERS[metrics['best_baseline']]}” in "
        f"{format_percent(other['triplet_accuracy'])}. Guessing: half of them."
    )


def _plot(level: str, metrics: Mapping[str, Any], shown: list[str]) -> Markup:
    """Triplet accuracy with its interval, tier by tier; scorers that are not named are faint ticks."""
    rows = [row for row in metrics["rows"] if row["level"] == level]
    tiers = present(rows, "tier", TIERS)
    thesis = metrics["thesis"].get(metrics["configuration"], {}).get("triplet_accuracy")

    def draw(axes: Axes) -> None:
        for place, tier in enumerate(tiers):
            _draw_tier(axes, place, by_scorer(rows, level=level, tier=tier), shown)
        if thesis is not None and "original" in tiers:
            look: dict[str, Any] = {"markersize": 8, "markerfacecolor": "none", "markeredgewidth": 1.6}
            axes.plot(thesis, tiers.index("original") - 0.3, "v", color=COLOURS["thesis"], **look)
        axes.axvline(0.5, color=COLOURS["muted"], linewidth=0.9, linestyle="--")
        rows_down(axes, [TIERS[tier][0] for tier in tiers])
        axes.set_xlim(min(0.45, axes.get_xlim()[0]), 1.01)
        axes.set_xlabel("triplet accuracy")
        axes.set_title(capitalise(LEVELS[level]))

    label = f"Triplet accuracy by tier of the negatives, {LEVELS[level].lower()}; the figures are in the table below"
    return plot(draw, label, rows_frame(len(tiers), row_height=0.46))


def _draw_tier(axes: Axes, place: int, rows: Mapping[str, Row], shown: list[str]) -> None:
    for scorer, row in rows.items():
        value = row.get("triplet_accuracy")
        if value is None or not is_known(value):
            continue
        if scorer in shown:
            shift = 0.17 * (shown.index(scorer) - (len(shown) - 1) / 2)
            look = {"colour": colour_of(scorer), "size": 8 if scorer == "model" else 5.5}
            whisker(axes, place + shift, value, interval_of(row, "triplet_accuracy"), **look)
        else:
            axes.plot((value, value), (place - 0.24, place + 0.24), color=COLOURS["random"], linewidth=0.9, alpha=0.55)

"""How well versions find their painting among all paintings of the test split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from artsim.baselines import SCORERS
from artsim.report.compare import Block, by_scorer, interval_of, lines, present
from artsim.report.content import Evaluation, Row, Section
from artsim.report.svg import COLOURS, colour_of, plot, rows_down, rows_frame, whisker
from artsim.report.verdict import group_noun
from artsim.report.words import LEVELS, RETRIEVAL, SHORT, format_count, format_interval, format_percent, is_known

TITLE = "How well versions find their painting"


def section(evaluation: Evaluation) -> Section:
    """The retrieval table and its plots."""
    metrics = evaluation.metrics
    levels = present(metrics["retrieval"], "level", LEVELS)
    found = {level: by_scorer(metrics["retrieval"], level=level) for level in levels}
    data = {
        "blocks": [block(level, rows, metrics) for level, rows in found.items() if rows],
        "plots": [_plot(level, rows) for level, rows in found.items() if level != "both" and _is_drawn(rows)],
    }
    return Section("finding", TITLE, _lead(metrics), data)


def block(level: str, rows: Mapping[str, Row], metrics: Mapping[str, Any], title: str = "") -> Block:
    """A level's part of the table: n, gallery and groups are the same for all scorers."""
    first = next(iter(rows.values()))
    groups = f"{format_count(first['groups'])} {group_noun(metrics)}"
    note = f"n = {format_count(first['n'])} searches of {groups}, gallery of {format_count(first['gallery'])}"
    if "num_paintings" in first:
        note += f"; mAP: n = {format_count(first['num_paintings'])} paintings"
    return Block(title or LEVELS[level], note, lines(rows, RETRIEVAL))


def _lead(metrics: Mapping[str, Any]) -> str:
    rows = by_scorer(metrics["retrieval"], level="radical")
    head, other = rows.get("model", {}), rows.get(metrics["best_baseline"], {})
    if not (is_known(head.get("recall@1")) and is_known(other.get("recall@1"))):
        return "No search was measured."
    interval = format_interval(interval_of(head, "recall@1"), percent=True)
    return (
        f"A radical version finds its own painting first in {format_percent(head['recall@1'])} of the searches "
        f"(95% interval {interval}); with the best frozen baseline, “{SCORERS[metrics['best_baseline']]}”, in "
        f"{format_percent(other['recall@1'])}. Guessing: {format_percent(1 / head['gallery'])}."
    )


def _is_drawn(rows: Mapping[str, Row]) -> bool:
    return any(is_known(row.get("recall@1")) for row in rows.values())


def _plot(level: str, rows: Mapping[str, Row]) -> Markup:
    """Recall@1 of each scorer with its interval, and how far it rises at 5 and 10."""
    first = next(iter(rows.values()))

    def draw(axes: Axes) -> None:
        for place, (scorer, row) in enumerate(rows.items()):
            later = [row[name] for name in ("recall@1", "recall@5", "recall@10") if is_known(row.get(name))]
            axes.plot(later, [place] * len(later), ":", color=colour_of(scorer), linewidth=1)
            axes.plot(later[1:], [place] * len(later[1:]), "|", color=colour_of(scorer), markersize=7)
            if is_known(row.get("recall@1")):
                look = {"colour": colour_of(scorer), "size": 8.5 if scorer == "model" else 6}
                whisker(axes, place, row["recall@1"], interval_of(row, "recall@1"), **look)
        axes.axvline(1 / first["gallery"], color=COLOURS["muted"], linewidth=0.9, linestyle="--")
        rows_down(axes, [SHORT[scorer] for scorer in rows])
        axes.set_xlim(-0.01, 1.01)
        axes.set_xlabel("recall")
        axes.set_title(f"{LEVELS[level]}: n = {format_count(first['n'])}, gallery {format_count(first['gallery'])}")

    label = f"Recall at 1, 5 and 10 by scorer, {LEVELS[level].lower()}; the figures are in the table below"
    return plot(draw, label, rows_frame(len(rows)))

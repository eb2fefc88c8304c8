"""Whether what the head learned holds for other pairs, whose versions nobody trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from artsim.baselines import SCORERS
from artsim.report import finding
from artsim.report.compare import by_scorer, interval_of, present
from artsim.report.content import Evaluation, Section
from artsim.report.words import LEVELS, format_count, format_interval, format_percent

TITLE = "Does it hold for other pairs?"


def section(evaluation: Evaluation) -> Section | None:
    """The searches among the pairs of another root; None where none was named."""
    found = evaluation.metrics.get("elsewhere")
    if not found:
        return None
    rows = found["retrieval"]
    blocks = [
        finding.block(level, by_scorer(rows, level=level), evaluation.metrics)
        for level in present(rows, "level", LEVELS)
        if by_scorer(rows, level=level)
    ]
    data = {
        "blocks": blocks,
        "num_paintings": format_count(found["num_paintings"]),
        "num_seen": format_count(found["num_seen"]),
    }
    return Section("elsewhere", TITLE, _lead(found), data)


def _lead(found: Mapping[str, Any]) -> str:
    rows = by_scorer(found["retrieval"], level="both")
    head, other = rows["model"], rows[found["best_baseline"]]
    gain = other["head_gain"]["recall@1"]["interval"]
    outcome = "It transfers: there too the trained head beats the frozen features."
    if gain[0] <= 0:
        outcome = "It does not transfer: there the trained head is not told apart from the frozen features."
    if gain[1] < 0:
        outcome = "It does not transfer: there the trained head does worse than the frozen features."
    interval = format_interval(interval_of(head, "recall@1"), percent=True)
    return (
        f"{outcome} A version finds its painting first in {format_percent(head['recall@1'])} of the searches (95% "
        f"interval {interval}); with “{SCORERS[found['best_baseline']]}” in {format_percent(other['recall@1'])}."
    )

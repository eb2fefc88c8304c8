"""The deck's table: configurations A and B beside the thesis's own figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from artsim.report.compare import Cell, interval_of
from artsim.report.content import Evaluation, Section
from artsim.report.words import CONFIGURATIONS, THESIS_FIGURES, format_count, format_figure, format_interval

TITLE = "The thesis’s table"


def section(evaluation: Evaluation) -> Section | None:
    """Ours and theirs, configuration by configuration; None where neither is known."""
    ours, theirs = evaluation.metrics.get("configurations") or {}, evaluation.metrics["thesis"]
    names = [name for name in CONFIGURATIONS if name in ours or name in theirs]
    if not names:
        return None
    lines = [
        (CONFIGURATIONS[name], whose, format_count((found or {}).get("n")), _cells(found))
        for name in names
        for whose, found in (("this model", ours.get(name)), ("thesis", theirs.get(name)))
    ]
    missing = [CONFIGURATIONS[name] for name in names if not ours.get(name)]
    return Section("thesis", TITLE, _lead(ours, theirs), {"lines": lines, "missing": missing})


def _cells(found: Mapping[str, Any] | None) -> list[Cell]:
    row = dict(found or {})
    return [
        Cell(format_figure(row.get(figure)), format_interval(interval_of(row, figure))) for figure in THESIS_FIGURES
    ]


def _lead(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    parts = [
        f"in configuration {CONFIGURATIONS[name].partition(',')[0]} {format_figure(found['triplet_accuracy'])} "
        f"(the thesis: {format_figure(theirs.get(name, {}).get('triplet_accuracy'))})"
        for name, found in ours.items()
        if found
    ]
    if not parts:
        return "The thesis’s figures, for reference: neither of its configurations was evaluated here."
    return (
        f"On the thesis’s own kind of negative the trained head’s triplet accuracy is {' and '.join(parts)}. "
        "The pictures are not the same, so the rows stand beside each other and not against each other."
    )

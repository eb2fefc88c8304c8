"""Scorers side by side on the same rows: which is best, and which cannot be told apart from the best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from artsim.baselines import SCORERS
from artsim.report.content import Row
from artsim.report.words import format_figure, format_interval, is_known

UNMARKED = ("mean_positive", "mean_negative")
"""More of these is neither better nor worse."""
LESS_IS_BETTER = ("eer",)


class Cell(NamedTuple):
    """One figure of one scorer."""

    text: str
    interval: str = ""
    mark: str = ""
    """best; tied: not told apart from the best; or neither"""


BLANK = Cell("–")


class Block(NamedTuple):
    """A part of a table: scorers below each other on the same rows."""

    title: str
    note: str
    lines: dict[str, dict[str, Cell]]
    """by scorer and column"""
    counts: dict[str, int] | None = None
    """n by column, where the columns have not the same"""


def by_scorer(rows: Iterable[Row], **wanted: str) -> dict[str, Row]:
    """The rows that agree with `wanted`, by scorer in the order of SCORERS; `approaches` is all where not wanted."""
    wanted = {"approaches": "all"} | wanted
    found = {
        row["scorer"]: row
        for row in rows
        if all(row.get(name, "all" if name == "approaches" else None) == value for name, value in wanted.items())
    }
    return {scorer: found[scorer] for scorer in SCORERS if scorer in found}


def present(rows: Iterable[Row], name: str, order: Iterable[str]) -> list[str]:
    """The values of a column that occur, in the given order."""
    found = {row[name] for row in rows}
    return [value for value in order if value in found]


def cells(rows: Mapping[str, Row], figure: str) -> dict[str, Cell]:
    """A figure of each scorer, the best marked, and those that are not told apart from it."""
    best = best_scorers(rows, figure)
    return {
        scorer: Cell(
            format_figure(row.get(figure)),
            format_interval(interval_of(row, figure)),
            "best" if scorer in best else "tied" if best and is_tied(rows, figure, best[0], scorer) else "",
        )
        for scorer, row in rows.items()
    }


def lines(rows: Mapping[str, Row], figures: Iterable[str]) -> dict[str, dict[str, Cell]]:
    """Cells of several figures, by scorer and figure."""
    columns = {figure: cells(rows, figure) for figure in figures}
    return {scorer: {figure: column[scorer] for figure, column in columns.items()} for scorer in rows}


def best_scorers(rows: Mapping[str, Row], figure: str) -> list[str]:
    """Those with the best figure; equals in print are equally good. None where one or none is known."""
    sign = -1 if figure in LESS_IS_BETTER else 1
    known = {scorer: sign * round(row[figure], 3) for scorer, row in rows.items() if is_known(row.get(figure))}
    if figure in UNMARKED or len(known) < 2:
        return []
    return [scorer for scorer, value in known.items() if value == max(known.values())]


def is_tied(rows: Mapping[str, Row], figure: str, best: str, scorer: str) -> bool:
    """Whether a scorer is not told apart from the best.

    The trained head is compared in pairs with each: tied where the interval of that difference holds zero. Two
    baselines are not: tied where their own intervals overlap, which calls more of them tied, never fewer.
    """
    if "model" in (best, scorer):
        other = rows[scorer if best == "model" else best]
        return holds_zero(gain_of(other, figure).get("interval"))
    first, second = (interval_of(rows[name], figure) for name in (best, scorer))
    return _known(first) and _known(second) and first[0] <= second[1] and second[0] <= first[1]


def gain_of(row: Row, figure: str) -> dict[str, Any]:
    """The trained head minus this scorer: value and interval; empty where it was not measured."""
    gains: dict[str, dict[str, Any]] = row.get("head_gain") or {}
    return gains.get(figure) or {}


def interval_of(row: Row, figure: str) -> Any:
    """The figure's 95% interval (low, high), or None."""
    return (row.get("intervals") or {}).get(figure)


def holds_zero(interval: Sequence[float] | None) -> bool:
    """Whether an interval is known and holds zero."""
    return _known(interval) and interval is not None and interval[0] <= 0 <= interval[1]


def _known(interval: Sequence[float | None] | None) -> bool:
    return interval is not None and all(is_known(bound) for bound in interval)

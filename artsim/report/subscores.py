"""What the score is made of: composition, style and semantics, and the evidence that each means what it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from artsim.report.compare import Cell
from artsim.report.content import Evaluation, Section
from artsim.report.robustness import STRENGTHS
from artsim.report.words import capitalise, format_figure, format_interval, is_known, join

TITLE = "What the score is made of"
MEANINGS = {
    "composition": "where things are: how the patches of a picture lie to each other",
    "style": "how it is made: colours, and the statistics of an early layer",
    "semantics": "what it shows: the encoder’s features with their mean removed",
}
EDITS = {
    "flip": "left-right flip",
    "shuffle": "patches shuffled",
    "hue": "hue turned",
    "style_transfer": "painted in another style",
    "same_artist": "another painting by the same hand",
}
WANTED = {"reacts": "must react", "quiet": "must stay quiet", "quieter": "must move least"}
FULL_FALL = 2.0
"""Deviations at which a cell of the matrix has its full colour."""


class HeatCell(NamedTuple):
    """How far one edit moves one score."""

    cell: Cell
    heat: int
    """0..100"""
    wanted: str
    holds: bool | None


def section(evaluation: Evaluation) -> Section | None:
    """The matrix of edits against scores; None where no sub-score was tried."""
    found = evaluation.metrics.get("subscores")
    if not found or not found["matrix"]:
        return None
    scores = list(dict.fromkeys(row["score"] for row in found["matrix"]))
    data = {
        "scores": scores,
        "meanings": {name: MEANINGS[name] for name in scores if name in MEANINGS},
        "lines": _lines(found["matrix"], scores),
        "passes": found["passes"],
        "fails": {name: join([edit_name(edit) for edit in edits]) for name, edits in found["fails"].items()},
        "deviations": {name: format_figure(value) for name, value in found.get("deviations", {}).items()},
        "num_unrelated": found.get("num_unrelated"),
    }
    return Section("subscores", TITLE, _lead(found["passes"], data["fails"]), data)


def edit_name(edit: str) -> str:
    """`hue-60` as `hue turned 60°`."""
    kind, _, strength = edit.partition("-")
    if not strength:
        return EDITS.get(kind, kind.replace("_", " "))
    return f"{EDITS.get(kind, kind)} {STRENGTHS.get(kind, ('', '{}'))[1].format(strength)}"


def _lead(passes: list[str], fails: Mapping[str, str]) -> str:
    parts = []
    if passes:
        verb = "reacts" if len(passes) == 1 else "react"
        parts.append(f"{capitalise(join(passes))} {verb} to what the name says and to nothing else.")
    if fails:
        verb = "is" if len(fails) == 1 else "are"
        parts.append(f"{capitalise(join(list(fails)))} {verb} left out: the evidence does not bear the name out.")
    return " ".join(parts)


def _lines(matrix: list[dict[str, Any]], scores: list[str]) -> list[tuple[str, int, list[HeatCell]]]:
    """Edits with their n and a cell for each score."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in matrix:
        found.setdefault(row["edit"], {})[row["score"]] = row
    return [
        (edit_name(edit), next(iter(rows.values()))["n"], [_cell(rows.get(name, {})) for name in scores])
        for edit, rows in found.items()
    ]


def _cell(row: Mapping[str, Any]) -> HeatCell:
    fall = row.get("fall")
    heat = round(100 * min(1.0, max(0.0, fall) / FULL_FALL)) if fall is not None and is_known(fall) else 0
    text = Cell(format_figure(fall, 2), format_interval(row.get("interval"), digits=2))
    return HeatCell(text, heat, WANTED.get(row.get("wanted") or "", ""), row.get("holds"))

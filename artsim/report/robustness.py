"""What happens to a picture's similarity to itself when it is edited as people edit pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from artsim.report.compare import Cell
from artsim.report.content import Evaluation, Section
from artsim.report.svg import COLOURS, Frame, plot
from artsim.report.words import capitalise, format_count, format_figure, format_interval, format_percent, is_known

TITLE = "When a picture is edited"
STRENGTHS = {
    "crop": ("crop", "{}%"),
    "jpeg": ("JPEG quality", "{}"),
    "blur": ("blur", "{}‰"),
    "noise": ("noise", "±{}"),
    "hue": ("hue turned", "{}°"),
    "rotate": ("rotation", "{}°"),
    "perspective": ("perspective", "{}%"),
    "frame": ("frame", "{}%"),
    "watermark": ("watermark", "{}%"),
    "screenshot": ("screenshot", "{}%"),
    "collage": ("collage of", "{}"),
    "greyscale": ("greyscale", ""),
    "flip": ("left-right flip", ""),
    "shuffle": ("patches shuffled", "{0} × {0}"),
    "restyle": ("style replaced", "{}%"),
}
"""What each kind of edit is called, and how its strength is written."""
FIGURES = {
    "mean": "Similarity to itself",
    "first": "Finds its painting first",
    "above_unrelated": "Above every unrelated painting",
}


def section(evaluation: Evaluation) -> Section | None:
    """A curve for each kind of edit, and all figures; None where nothing was edited."""
    found = evaluation.metrics.get("robustness")
    if not found or not found["edits"]:
        return None
    likest = found.get("unrelated", {}).get("likest")
    data = {
        "plots": [_plot(title, rows, likest) for title, rows in _panels(found["edits"])],
        "lines": [(name_of(row), row["n"], row["num_groups"], _cells(row)) for row in found["edits"]],
        "figures": FIGURES,
        "gallery": found.get("gallery"),
        "unrelated": found.get("unrelated", {}),
        "expectation": found.get("expectation", ""),
    }
    return Section("robustness", TITLE, _lead(found["edits"]), data)


def name_of(row: Mapping[str, Any]) -> str:
    """An edit and its strength in words, as in `rotation 5°`."""
    name, _ = STRENGTHS.get(row["kind"], (row["kind"], ""))
    return f"{name} {strength_of(row)}".strip()


def strength_of(row: Mapping[str, Any]) -> str:
    """The strength as it is written; empty where the edit has none."""
    if row.get("strength") is None:
        return ""
    return STRENGTHS.get(row["kind"], ("", "{}"))[1].format(row["strength"])


def _lead(rows: Sequence[Mapping[str, Any]]) -> str:
    """The edits that the score bears best and worst."""
    known = [row for row in rows if is_known(row.get("first")) and row["kind"] not in ("shuffle", "restyle")]
    if not known:
        return "Edited pictures were compared with their paintings."
    worst, held = min(known, key=lambda row: row["first"]), sum(row["first"] >= 0.95 for row in known)
    return (
        f"After {held} of {len(known)} edits, 95% of the pictures or more still find their own painting first. "
        f"The score bears “{name_of(worst)}” worst: {format_percent(worst['first'])} do "
        f"(95% interval {format_interval(worst.get('first_interval'), percent=True)}, n = {format_count(worst['n'])})."
    )


def _cells(row: Mapping[str, Any]) -> list[Cell]:
    return [Cell(format_figure(row.get(name)), format_interval(row.get(f"{name}_interval"))) for name in FIGURES]


def _panels(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Rows of one kind together, from weak to strong; kinds of one strength share the last panel."""
    by_kind: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_kind.setdefault(row["kind"], []).append(row)
    curves = [
        (capitalise(STRENGTHS.get(kind, (kind, ""))[0]), found) for kind, found in by_kind.items() if len(found) > 1
    ]
    single = [found[0] for found in by_kind.values() if len(found) == 1]
    return [*curves, ("In one step", single)] if single else curves


def _plot(title: str, rows: Sequence[Mapping[str, Any]], likest: float | None) -> Markup:
    """Mean similarity to itself, and the share that finds its painting first, by strength."""
    alone = len({row["kind"] for row in rows}) > 1

    def draw(axes: Axes) -> None:
        for name, colour, shift in (("first", "cue", 0.08), ("mean", "model", -0.08)):
            known = [(place + shift, row) for place, row in enumerate(rows) if is_known(row.get(name))]
            for place, row in known:
                if row.get(f"{name}_interval"):
                    axes.plot((place, place), row[f"{name}_interval"], "-", color=COLOURS[colour], linewidth=1.6)
            places, values = [place for place, _ in known], [row[name] for _, row in known]
            line = "o" if alone else "-o"
            axes.plot(places, values, line, color=COLOURS[colour], markersize=4.5, linewidth=1.3, clip_on=False)
        if likest is not None and is_known(likest):
            axes.axhline(likest, color=COLOURS["muted"], linewidth=0.9, linestyle="--")
        names = [name_of(row).replace(" ", "\n", 1) if alone else strength_of(row) for row in rows]
        axes.set_xticks(range(len(rows)), names)
        axes.set_xlim(-0.5, len(rows) - 0.5)
        axes.set_ylim(min(0, axes.get_ylim()[0]), 1.04)
        axes.set_yticks((0, 0.5, 1))
        axes.grid(visible=False, axis="x")
        axes.set_title(title)

    label = f"{title}: similarity to itself and share that finds its painting first, by strength"
    return plot(draw, label, Frame(height=2.0, width=2.9, left=0.36, bottom=0.42 if alone else 0.28))

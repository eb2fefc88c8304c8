"""What could give a version away without being looked at, and whether it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from artsim.report import baselines, tiers
from artsim.report.compare import Block, Cell, by_scorer
from artsim.report.content import Evaluation, Section
from artsim.report.svg import COLOURS, colour_of, plot, rows_down, rows_frame, whisker
from artsim.report.words import LEVELS, format_count, format_figure, format_interval, is_known

TITLE = "Shortcuts, shown and closed"
FRAMINGS = {
    "cropped": ("content alone", "the content, cut free of its bars: how the score is used"),
    "bars-kept": ("bars kept", "the whole square, with the black bars that painting and version share"),
    "bars-swapped": ("bars swapped", "the content inside the bars of another painting"),
    "noise-bars-cropped": ("noise, cropped", "independent smooth noise in the place of each content, cut free"),
    "noise-bars-kept": ("noise in bars", "the same noise, inside the true bars"),
    "grain-bars-cropped": (
        "grain, cropped",
        "noise drawn pixel by pixel, cut free: the encoder’s square stretches it by the picture’s proportions, "
        "of which its look then tells",
    ),
}
CUES = {
    "num_bytes": "bytes of the file",
    "jpeg_quality": "JPEG quality",
    "aspect": "width over height",
}
APPROACHES = {"trained": "Approaches that training saw", "held_out": "Approaches held out of training"}


def section(evaluation: Evaluation) -> Section | None:
    """Framings, cues of files and held-out approaches; None where none of them was measured."""
    metrics = evaluation.metrics
    found = metrics.get("shortcuts") or {}
    cues, blocks = found.get("file_cues") or [], held_out(metrics)
    framings = found.get("framings") or []
    framed = {"model": framings, "frozen_centred": found.get("framings_frozen") or []}
    if not (framings or cues or blocks):
        return None
    data = {
        "framings": {scorer: [_framing(row) for row in rows] for scorer, rows in framed.items() if rows},
        "plot": _plot(framed) if framings else None,
        "cues": [_cue(row) for row in cues],
        "blocks": blocks,
        "columns": baselines.columns(metrics),
        "tables": _tables(metrics),
        "what": [FRAMINGS[row["framing"]] for row in framings if row["framing"] in FRAMINGS],
    }
    return Section("shortcuts", TITLE, _lead({row["framing"]: row for row in framings}), data)


def held_out(metrics: Mapping[str, Any]) -> list[Block]:
    """Searches and triplets by whether training saw the version's approach; empty where none was held out."""
    found = []
    for level in _levels_held_out(metrics):
        for approaches, title in APPROACHES.items():
            if by_scorer(metrics["rows"], level=level, approaches=approaches):
                block = baselines.block(level, metrics, approaches)
                found.append(block._replace(title=f"{title}: {LEVELS[level].lower()}"))
    return found


def _levels_held_out(metrics: Mapping[str, Any]) -> list[str]:
    return [level for level in LEVELS if by_scorer(metrics["rows"], level=level, approaches="held_out")]


def _tables(metrics: Mapping[str, Any]) -> dict[str, tuple[str, list[Block]]]:
    """All figures of each level and share of the approaches, by the end of the table's id."""
    found = {
        f"{level}-{approaches}": (f"{title}: {LEVELS[level].lower()}", tiers.blocks(metrics, level, approaches))
        for level in _levels_held_out(metrics)
        for approaches, title in APPROACHES.items()
    }
    return {name: (title, blocks) for name, (title, blocks) in found.items() if blocks}


def _lead(framings: Mapping[str, Mapping[str, Any]]) -> str:
    noise, kept, grain = (
        framings.get(name, {}) for name in ("noise-bars-cropped", "noise-bars-kept", "grain-bars-cropped")
    )
    if not is_known(noise.get("auc")):
        return "Bars, files and familiar prompts could give a version away; this is how much they do."
    interval = f"95% interval {format_interval(noise['auc_interval'])}"
    closed = (
        f"it is what guessing gives: AUC {format_figure(noise['auc'])}, {interval}, which holds 0.50"
        if noise["chance"]
        else f"something still speaks: AUC {format_figure(noise['auc'])}, {interval}, which does not hold 0.50"
    )
    told = f" Inside its true bars the same noise reaches {format_figure(kept['auc'])}." if kept else ""
    if grain and not grain["chance"]:
        told += (
            f" One limit stays: fine grain, which is stretched with the picture’s proportions, still gives away "
            f"{format_figure(grain['auc'])}."
        )
    return f"With every content replaced by noise and cut free of its bars, {closed}.{told}"


def _framing(row: Mapping[str, Any]) -> dict[str, Any]:
    gain = format_interval(row.get("auc_gain_interval"))
    return {
        "name": FRAMINGS.get(row["framing"], (row["framing"], ""))[0],
        "auc": _cell(row, "auc"),
        "gain": Cell(format_figure(row.get("auc_gain")), gain),
        "accuracy": _cell(row, "triplet_accuracy"),
        "chance": "yes" if row["chance"] else "no",
        "n": row["n"],
        "num_groups": row["num_groups"],
    }


def _cue(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": CUES.get(row["cue"], row["cue"].replace("_", " ")),
        "auc": _cell(row, "auc"),
        "painting": _median(row.get("median_painting")),
        "version": _median(row.get("median_version")),
        "tells": format_figure(row.get("tells")),
        "n": format_count(row["n"]),
        "missing": format_count(row["missing"]),
    }


def _median(value: float | None) -> str:
    """Large numbers as counts, such as bytes; small ones with decimals, such as proportions."""
    return format_count(round(value)) if value is not None and abs(value) >= 10 else format_figure(value, 2)


def _cell(row: Mapping[str, Any], name: str) -> Cell:
    return Cell(format_figure(row.get(name)), format_interval(row.get(f"{name}_interval")))


def _plot(framed: Mapping[str, Sequence[Mapping[str, Any]]]) -> Markup:
    """AUC of each framing with its interval, by scorer; noise should lie on the line of chance."""
    names = [row["framing"] for row in framed["model"]]

    def draw(axes: Axes) -> None:
        axes.axvline(0.5, color=COLOURS["muted"], linewidth=0.9, linestyle="--")
        for shift, (scorer, rows) in zip((-0.14, 0.14), framed.items(), strict=True):
            look = {"colour": colour_of(scorer), "size": 7 if scorer == "model" else 5.5}
            for row in rows:
                if row["framing"] in names and is_known(row.get("auc")):
                    place = names.index(row["framing"]) + shift
                    whisker(axes, place, row["auc"], row.get("auc_interval"), **look)
        rows_down(axes, [FRAMINGS.get(name, (name, ""))[0] for name in names])
        axes.set_xlim(min(0.4, axes.get_xlim()[0]), 1.01)
        axes.set_xlabel("AUC, version against negative")
        axes.set_title("What the encoder is shown")

    return plot(draw, "AUC by how painting and version are framed; dashed: chance", rows_frame(len(names), 0.38))

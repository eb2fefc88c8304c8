"""report.html: what an evaluation found, as one page with its plots and pictures that opens offline.

The page is report.html beside this module; here is what goes into it. Every scorer has one colour in all plots and
tables: plots name it as the page does, so that it changes with the page (dark mode, print).
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import matplotlib as mpl
import numpy as np
import yaml
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from artsim.images import decode_jpeg, encode_jpeg
from artsim.schemas import REASONS

THUMBNAIL_PX = 320  # pictures are shown at up to 185 px, on screens of up to two dots a px
THUMBNAIL_QUALITY = 80

SCORERS = {"model": "Trained head", "frozen": "Frozen", "frozen_centred": "Frozen, mean removed"}
SHORT = {"model": "head", "frozen": "frozen", "frozen_centred": "centred"}
FIGURES = {
    "triplet_accuracy": "Triplet accuracy",
    "gap": "Gap",
    "auc": "AUC",
    "mean_positive": "Mean positive",
    "mean_negative": "Mean negative",
}
THESIS_FIGURES = ("triplet_accuracy", "mean_positive", "mean_negative", "gap")
THESIS = {"a70": "Thesis, A 70/15/15", "b80": "Thesis, B 80/10/10"}
SPLITS = {"test": "Test", "val": "Validation", "train": "Training"}
TIERS = {
    "any": ("any", "the version of any other painting"),
    "other_genre": ("other genre", "the version of a painting of another genre"),
    "same_genre": ("same genre", "the version of another artist’s painting of the same genre"),
    "same_artist": ("same artist", "the version of another painting by the same artist"),
    "original": ("original", "another genre’s painting itself, not a version: the thesis’s kind of negative"),
}
KINDS = {
    "best": ("Best", "Triplets that the trained head tells apart by the widest margin."),
    "worst": ("Worst", "Triplets with the narrowest margin, or where it takes the other picture for the version."),
    "random": ("Random", "Triplets drawn blindly: what is usual."),
}

COLOURS = {
    "ink": "#1c2026",
    "muted": "#5d6570",
    "rule": "#dcdfe4",
    "model": "#1f58a5",
    "frozen": "#9ba3ae",
    "frozen_centred": "#535c68",
    "thesis": "#b27c17",
}
MARKERS = {"model": "o", "frozen": "s", "frozen_centred": "D"}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text, in the page's typeface
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": COLOURS["rule"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": COLOURS["rule"],
    "grid.linewidth": 0.6,
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Example:
    """A triplet to look at: painting, its version and the negative as JPEG bytes, cropped to their content."""

    kind: str
    """best, worst or random"""
    tier: str
    level: str
    painting: str
    negative: str
    images: tuple[bytes, bytes, bytes]
    positive: float
    """the trained head's similarity of painting and version, -1..1"""
    negative_similarity: float
    frozen_positive: float
    frozen_negative: float
    prompt: str


@dataclass(frozen=True)
class Evaluation:
    """Everything that the report tells."""

    metrics: dict[str, Any]
    """what metrics.json holds"""
    history: list[dict[str, float]]
    """training.TrainingState.history: one row of figures for each epoch, the first being 0"""
    similarities: dict[str, np.ndarray]
    """(n,) each: model/positive, model/negative, frozen/positive and frozen/negative of the test split"""
    examples: list[Example]
    tables: dict[str, dict[str, Any]]
    """tables.status(root)["tables"]"""
    quarantine: list[dict[str, Any]]
    """some quarantined rows: table, id, reason, message"""
    settings: dict[str, Any]
    stand_ins: list[str]
    """a sentence for each stand-in that took a model's place"""


class Cell(NamedTuple):
    """One figure of one scorer, and whether no other scorer's is better."""

    text: str
    best: bool


@dataclass(frozen=True)
class Line:
    """What the scorers reach on the same rows: for each figure, one cell per scorer, in the order of SCORERS."""

    split: str
    level: str
    tier: str | None
    row: dict[str, Any]
    cells: dict[str, list[Cell]]


def write_report(evaluation: Evaluation) -> str:
    """The HTML of report.html. Whatever came from outside is escaped; nothing refers to another file or host."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"figure": format_figure, "count": format_count}
    metrics = evaluation.metrics
    lines = compare(metrics["rows"], tuple(FIGURES))
    ranks = sorted({rank for row in metrics["recall"] for rank in row["recall"]}, key=int)
    recall_rows = [
        row | {f"recall@{rank}": value for rank, value in row["recall"].items()} for row in metrics["recall"]
    ]
    recall_figures = {f"recall@{rank}": f"Recall@{rank}" for rank in ranks}
    with mpl.rc_context(STYLE):
        plots = _plots(evaluation, lines)
    return environment.get_template("report.html").render(
        **_words(),
        evaluation=evaluation,
        metrics=metrics,
        headline=headline(lines),
        levels=list(dict.fromkeys(line.level for line in lines)),
        blank=Cell("–", best=False),
        lines=lines,
        recall_lines=compare(recall_rows, tuple(recall_figures)),
        recall_figures=recall_figures,
        plots=plots,
        examples={kind: [_card(example) for example in evaluation.examples if example.kind == kind] for kind in KINDS},
        settings=yaml.safe_dump(evaluation.settings, sort_keys=False, allow_unicode=True, width=100),
    )


def _words() -> dict[str, Any]:
    """The names of things, as the page spells them."""
    return {
        "colours": COLOURS,
        "scorers": SCORERS,
        "short": SHORT,
        "figures": FIGURES,
        "thesis_figures": THESIS_FIGURES,
        "thesis_names": THESIS,
        "splits": SPLITS,
        "tiers": TIERS,
        "kinds": KINDS,
        "reasons": REASONS,
    }


def format_figure(value: float | None) -> str:
    """Three decimals with a true minus; a dash where there is no value (None, NaN)."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:z.3f}".replace("-", "−")


def format_count(value: int | None) -> str:
    """A whole number with thin spaces between thousands; a dash where it is not known."""
    return "–" if value is None else f"{value:,}".replace(",", "\u202f")


def compare(rows: Sequence[Mapping[str, Any]], figures: Sequence[str]) -> list[Line]:
    """Rows of metrics.json with the scorers side by side; test first, else in the order in which they come."""
    found: dict[tuple[str, str, str | None], dict[str, Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: list(SPLITS).index(row["split"])):
        found.setdefault((row["split"], row["level"], row.get("tier")), {})[row["scorer"]] = row
    lines = []
    for key, by_scorer in found.items():
        values = {name: [by_scorer.get(scorer, {}).get(name) for scorer in SCORERS] for name in figures}
        cells = {name: _cells(values[name], marked=not name.startswith("mean_")) for name in figures}
        lines.append(Line(*key, row=dict(next(iter(by_scorer.values()))), cells=cells))
    return lines


def _cells(values: Sequence[float | None], marked: bool) -> list[Cell]:
    """Figures as text; the best of them is marked where more is better. Equals in print are equally good."""
    known = [round(value, 3) for value in values if value is not None and not math.isnan(value)]
    best = format_figure(max(known)) if marked and len(known) > 1 else None
    return [Cell(format_figure(value), format_figure(value) == best) for value in values]


def headline(lines: Sequence[Line]) -> dict[str, dict[str, Line]]:
    """What to say first, by tier and level: the test split against the first tier of versions, and the thesis's tier.

    Tiers that were not measured are empty.
    """
    test = [line for line in lines if line.split == "test"]
    first = next((line.tier for line in test if line.tier not in (None, "original")), None) or "any"
    return {tier: {line.level: line for line in test if line.tier == tier} for tier in (first, "original")}


def _card(example: Example) -> dict[str, Any]:
    """An example with its pictures as data URIs of THUMBNAIL_PX at most."""
    other = "Painting" if example.tier == "original" else f"{example.level.capitalize()} version of"
    alts = (
        f"Painting {example.painting}",
        f"{example.level.capitalize()} version of {example.painting}",
        f"{other} {example.negative}",
    )
    pictures = [_picture(image, alt) for image, alt in zip(example.images, alts, strict=True)]
    return {"example": example, "pictures": pictures, "won": example.positive > example.negative_similarity}


def _picture(data: bytes, alt: str) -> dict[str, Any]:
    image = Image.fromarray(decode_jpeg(data))
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    encoded = base64.b64encode(encode_jpeg(image, THUMBNAIL_QUALITY)).decode()
    return {"uri": f"data:image/jpeg;base64,{encoded}", "width": image.width, "height": image.height, "alt": alt}


def _plots(evaluation: Evaluation, lines: Sequence[Line]) -> dict[str, list[Markup]]:
    """Plots by the section that they belong to; an empty list where there is nothing to draw."""
    metrics, history = evaluation.metrics, evaluation.history
    test = [line for line in lines if line.split == "test"]
    levels = dict.fromkeys(line.level for line in test)
    thesis = metrics["thesis"].get(metrics["configuration"], {}).get("triplet_accuracy")
    curves = {"loss": "Loss", "triplet_accuracy": "Triplet accuracy"}
    return {
        "tiers": [_tier_plot(level, metrics["rows"], thesis) for level in levels],
        "curves": [_curve_plot(history, *names, metrics["best_epoch"]) for names in curves.items()] if history else [],
        "histograms": _histograms(evaluation.similarities),
    }


def _tier_plot(level: str, rows: Sequence[Mapping[str, Any]], thesis: float | None) -> Markup:
    """Triplet accuracy of each scorer on the test split with its 95% interval, tier by tier; the thesis's figure
    beside its own tier.
    """
    rows = [row for row in rows if row["split"] == "test" and row["level"] == level]
    tiers = list(dict.fromkeys(row["tier"] for row in rows))
    figure, axes = _axes(height=3.2)
    for shift, (scorer, marker) in zip((0.22, 0, -0.22), reversed(MARKERS.items()), strict=True):
        found = [row for row in rows if row["scorer"] == scorer and row["triplet_accuracy"] is not None]
        places = [tiers.index(row["tier"]) + shift for row in found]
        values = [row["triplet_accuracy"] for row in found]
        for place, row in zip(places, found, strict=True):
            axes.plot(row["interval"], (place, place), "-", color=COLOURS[scorer], linewidth=1.5)
        size = 9 if scorer == "model" else 6.5
        axes.plot(values, places, marker, color=COLOURS[scorer], markersize=size, label=SCORERS[scorer], clip_on=False)
    if thesis is not None and "original" in tiers:
        place = tiers.index("original")
        axes.plot(thesis, place, "|", color=COLOURS["thesis"], markersize=17, markeredgewidth=2.5, label="Thesis")
    axes.set_yticks(range(len(tiers)), [TIERS[tier][0] for tier in tiers])
    axes.set_ylim(len(tiers) - 0.5, -0.5)
    axes.set_xlim(min(0.5, *axes.get_xlim()), 1.005)
    axes.set_xlabel("triplet accuracy")
    axes.spines["left"].set_visible(False)
    axes.set_title(f"{level.capitalize()} versions", loc="left", fontsize=10)
    return _svg(figure, f"Triplet accuracy by tier of the negatives, {level} level, test split")


def _curve_plot(history: Sequence[Mapping[str, float]], name: str, label: str, best_epoch: int | None) -> Markup:
    """One figure over the epochs: training and validation, and the epoch whose weights were kept."""
    figure, axes = _axes(height=2.9)
    epochs = [row["epoch"] + 1 for row in history]  # readers, and best_epoch, count from 1
    names = {"training": (f"train_{name}", name), "validation": (f"val_{name}",)}
    for (split, keys), line in zip(names.items(), ("--", "-"), strict=True):
        values = [next((row[key] for key in keys if row.get(key) is not None), math.nan) for row in history]
        marker = "o" if len(history) == 1 else None
        axes.plot(epochs, values, line, marker=marker, color=COLOURS["model"], linewidth=1.8, label=split)
    if best_epoch is not None:
        axes.axvline(best_epoch, color=COLOURS["muted"], linewidth=0.8, linestyle=":")
        above = axes.get_xaxis_transform()
        axes.text(best_epoch, 1.02, "weights kept", transform=above, color=COLOURS["muted"], fontsize=9, ha="center")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.legend(loc="best")
    axes.set_title(label, loc="left", fontsize=10)
    return _svg(figure, f"{label} over {len(history)} epochs, training and validation")


def _histograms(similarities: Mapping[str, np.ndarray]) -> list[Markup]:
    """Positives (filled) and negatives (outlined) of the trained head and of the frozen embedding, on one axis."""
    kept = {name: values[np.isfinite(values)] for name, values in similarities.items()}
    everything = np.concatenate([*kept.values(), np.zeros(0)])
    if len(everything) == 0:
        return []
    bins = np.linspace(everything.min(), max(everything.max(), everything.min() + 1e-3), 41).tolist()
    scorers = [scorer for scorer in SCORERS if f"{scorer}/positive" in kept]
    return [_histogram(scorer, kept, bins) for scorer in scorers]


def _histogram(scorer: str, similarities: Mapping[str, np.ndarray], bins: list[float]) -> Markup:
    figure, axes = _axes(height=2.6)
    fills: dict[str, dict[str, Any]] = {
        "positive": {"histtype": "stepfilled", "color": COLOURS[scorer], "alpha": 0.8, "label": "versions"},
        "negative": {"histtype": "step", "color": COLOURS["ink"], "linewidth": 1.2, "label": "negatives"},
    }
    for kind, fill in fills.items():
        values = similarities[f"{scorer}/{kind}"]
        axes.hist(values, bins, weights=np.full(len(values), 100 / max(1, len(values))), **fill)
    axes.set_xlabel("similarity (cosine)")
    axes.set_ylabel("% of pairs")
    axes.grid(visible=False, axis="x")
    axes.legend(loc="upper left")
    axes.set_title(SCORERS[scorer], loc="left", fontsize=10)
    return _svg(figure, f"Similarities of versions and of negatives by {SCORERS[scorer]}, test split")


def _axes(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.4, height), layout="constrained")
    return figure, figure.subplots()


def _svg(figure: Figure, label: str) -> Markup:
    """A plot to put into the page: it scales, takes the page's colours, and its ids are its own."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": label}):  # the same report for the same evaluation, byte for byte
        figure.savefig(buffer, format="svg")
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (id="[A-Za-z0-9.]+_\d+"|(width|height)="[\d.]+pt"|xmlns(:xlink)?="[^"]*")', "", svg)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1))

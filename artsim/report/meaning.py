"""What a similarity means: where it lies among other pairs, and the probability that it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from artsim.baselines import SCORERS
from artsim.calibration import KINDS
from artsim.report.content import Evaluation, Section
from artsim.report.svg import COLOURS, Frame, colour_of, plot
from artsim.report.words import format_count, format_figure, join

TITLE = "What a number means"
LEVELS = (0.5, 0.9, 0.95, 0.99, 0.999)
_LINES = {"other_genre": "-", "same_genre": "--", "same_artist": ":"}


def section(evaluation: Evaluation) -> Section:
    """Histograms, percentiles, and the reliability of the probability."""
    found = evaluation.metrics.get("calibration")
    data = {
        "found": found,
        "histograms": _histograms(evaluation.similarities),
        "plots": _plots(found) if found else [],
        "levels": LEVELS,
        "percentiles": _percentiles((found or {}).get("percentiles") or {}),
        "mix": _mix((found or {}).get("mix") or {}),
    }
    return Section("meaning", TITLE, _lead(found), data)


def _lead(found: Mapping[str, Any] | None) -> str:
    if not found:
        return "The score was not calibrated: a similarity is a cosine, and nothing says here what it stands for."
    verdict = (
        "no worse than a perfect calibrator would show by chance"
        if found["within"]
        else "more than a perfect calibrator would show by chance: take the probabilities with care"
    )
    return (
        "A similarity is turned into a probability that two pictures are a painting and its version. Where it says "
        f"70%, about 70% are: it is off by {format_figure(found['ece'])} on average (ECE), {verdict}, which is up to "
        f"{format_figure(found['perfect_ece_95'])} at this n."
    )


def _mix(mix: Mapping[str, float]) -> str:
    """What the negatives are, in words."""
    return join([f"{share:.0%} {KINDS.get(kind, kind)}" for kind, share in mix.items()]) if mix else ""


def _percentiles(quantiles: Mapping[str, Sequence[float]]) -> dict[str, list[str]]:
    """By kind of pairs: the similarity that each of LEVELS of them stay below; the quantiles are equally spaced."""
    return {
        KINDS.get(kind, kind): [
            format_figure(float(np.interp(level, np.linspace(0, 1, len(table)), table))) for level in LEVELS
        ]
        for kind, table in quantiles.items()
    }


def _plots(found: Mapping[str, Any]) -> list[Markup]:
    plots = [_reliability(found["bins"])] if found["bins"] else []
    return [*plots, _ranks(found["percentiles"])] if found.get("percentiles") else plots


def _ranks(quantiles: Mapping[str, Sequence[float]]) -> Markup:
    """The share of the pairs of each kind that are less alike, by similarity."""

    def draw(axes: Axes) -> None:
        for kind, table in quantiles.items():
            look: dict[str, Any] = {"linestyle": _LINES.get(kind, "-"), "label": KINDS.get(kind, kind)}
            axes.plot(table[::4], np.linspace(0, 100, len(table))[::4], color=COLOURS["model"], linewidth=1.8, **look)
        axes.set_ylim(-2, 102)
        axes.set_xlabel("similarity (cosine)")
        axes.set_ylabel("% of pairs that are less alike")
        axes.legend(loc="lower right")
        axes.set_title("Where a similarity lies among others")

    return plot(draw, "Share of unrelated, same-genre and same-artist pairs below a similarity", Frame(height=4.0))


def _reliability(bins: list[Mapping[str, Any]]) -> Markup:
    """The share of pairs that are versions, by the probability that was predicted."""

    def draw(axes: Axes) -> None:
        axes.plot((0, 1), (0, 1), "--", color=COLOURS["muted"], linewidth=0.9)
        for found in bins:
            place = (found["predicted"], found["predicted"])
            axes.plot(place, found["interval"], "-", color=COLOURS["model"], linewidth=1.8, alpha=0.75)
        places, shares = ([found[name] for found in bins] for name in ("predicted", "share"))
        areas = [14 + 90 * found["n"] / max(found["n"] for found in bins) for found in bins]
        axes.scatter(places, shares, s=areas, color=COLOURS["model"], zorder=3, clip_on=False)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel("predicted probability")
        axes.set_ylabel("share that are versions")
        axes.set_title("Reliability, test split")

    return plot(draw, "Reliability: share of pairs that are versions by predicted probability", Frame(height=4.0))


def _histograms(similarities: Mapping[str, np.ndarray]) -> list[Markup]:
    """Positives (filled) and negatives (outlined) of the trained head and of the frozen embedding, on one axis."""
    kept = {name: values[np.isfinite(values)] for name, values in similarities.items()}
    everything = np.concatenate([*kept.values(), np.zeros(0)])
    if len(everything) == 0:
        return []
    bins = np.linspace(everything.min(), max(everything.max(), everything.min() + 1e-3), 41).tolist()
    return [_histogram(scorer, kept, bins) for scorer in SCORERS if f"{scorer}/positive" in kept]


def _histogram(scorer: str, similarities: Mapping[str, np.ndarray], bins: list[float]) -> Markup:
    pairs = {kind: similarities[f"{scorer}/{kind}"] for kind in ("positive", "negative")}
    sizes = {kind: format_count(len(values)) for kind, values in pairs.items()}
    looks: dict[str, dict[str, Any]] = {
        "positive": {"histtype": "stepfilled", "color": colour_of(scorer), "alpha": 0.8},
        "negative": {"histtype": "step", "color": COLOURS["ink"], "linewidth": 1.2},
    }
    names = {"positive": f"versions, n = {sizes['positive']}", "negative": f"negatives, n = {sizes['negative']}"}

    def draw(axes: Axes) -> None:
        for kind, values in pairs.items():
            weights = np.full(len(values), 100 / max(1, len(values)))
            axes.hist(values, bins, weights=weights, label=names[kind], **looks[kind])
        axes.set_xlabel("similarity (cosine)")
        axes.set_ylabel("% of pairs")
        axes.set_ylim(0, 1.3 * axes.get_ylim()[1])  # room for the legend
        axes.grid(visible=False, axis="x")
        axes.legend(loc="upper left")
        axes.set_title(SCORERS[scorer])

    return plot(draw, f"Similarities of versions and of negatives by {SCORERS[scorer]}, test split", Frame(height=2.7))

"""Training: loss and accuracy over the epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from artsim.report.content import Evaluation, Section
from artsim.report.svg import COLOURS, Frame, plot
from artsim.report.words import format_count, format_figure

TITLE = "How it was trained"
CURVES = {"loss": "Loss", "triplet_accuracy": "Triplet accuracy"}


def section(evaluation: Evaluation) -> Section:
    """The two curves."""
    history, best = evaluation.history, evaluation.metrics["best_epoch"]
    plots = [_plot(history, name, label, best) for name, label in CURVES.items()] if history else []
    data = {
        "plots": plots,
        "last": history[-1] if history else {},
        "seconds": sum(r.get("seconds", 0) for r in history),
    }
    return Section("curves", TITLE, _lead(history, best), data)


def _lead(history: Sequence[Mapping[str, float]], best: int | None) -> str:
    if not history:
        return "No epoch was recorded."
    kept = next((row for row in history if row["epoch"] + 1 == best), None)
    ran = f"Training ran for {format_count(len(history))} {'epoch' if len(history) == 1 else 'epochs'}"
    if kept is None:
        return f"{ran}."
    accuracy = format_figure(kept.get("val_triplet_accuracy"))
    return f"{ran}; the weights of epoch {best} were kept, where validation accuracy was {accuracy}."


def _plot(history: Sequence[Mapping[str, float]], name: str, label: str, best_epoch: int | None) -> Markup:
    """One figure over the epochs: training and validation, and the epoch whose weights were kept."""
    epochs = [row["epoch"] + 1 for row in history]  # readers, and best_epoch, count from 1
    names = {"training": (f"train_{name}", name), "validation": (f"val_{name}",)}

    def draw(axes: Axes) -> None:
        for (split, keys), line in zip(names.items(), ("--", "-"), strict=True):
            values = [next((row[key] for key in keys if row.get(key) is not None), math.nan) for row in history]
            marker = "o" if len(history) == 1 else None
            axes.plot(epochs, values, line, marker=marker, color=COLOURS["model"], linewidth=1.8, label=split)
        if best_epoch is not None:
            axes.axvline(best_epoch, color=COLOURS["muted"], linewidth=0.8, linestyle=":")
            above = axes.get_xaxis_transform()
            look: dict[str, Any] = {"color": COLOURS["muted"], "fontsize": 9, "ha": "center"}
            axes.text(best_epoch, 1.02, "weights kept", transform=above, **look)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.legend(loc="best")
        axes.set_title(label)

    return plot(draw, f"{label} over {len(history)} epochs, training and validation", Frame(height=2.9))

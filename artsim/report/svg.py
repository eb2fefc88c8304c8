"""Plots for the page: SVG that scales, takes the page's colours, and stays text where it is text."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {
    "ink": "#1c2026",
    "muted": "#5d6570",
    "rule": "#dcdfe4",
    "model": "#1f58a5",
    "thesis": "#a8720f",
    "random": "#848c97",
    "frozen": "#4a535f",
    "cue": "#2f8274",
}
"""By family of scorers: plots name them as the page does, so that they change with the page (dark mode, print)."""
FAMILIES = {
    "model": "model",
    "thesis_head": "thesis",
    "random_head": "random",
    "frozen": "frozen",
    "frozen_centred": "frozen",
    "frozen_whitened": "frozen",
    "style": "cue",
    "colours": "cue",
    "phash": "cue",
    "bars": "cue",
}
WIDTH_IN = 5.0
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text, in the page's typeface
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": COLOURS["rule"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titlecolor": COLOURS["ink"],
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
    "lines.solid_capstyle": "butt",
}


def colour_of(scorer: str) -> str:
    """The colour of a scorer's family, as matplotlib takes it."""
    return COLOURS[FAMILIES[scorer]]


class Frame(NamedTuple):
    """The size of a plot and the room around its axes, inches."""

    height: float
    width: float = WIDTH_IN
    left: float = 0.62
    bottom: float = 0.5


def rows_frame(num_rows: int, row_height: float = 0.26) -> Frame:
    """A frame for rows with names on their left."""
    return Frame(height=0.85 + row_height * num_rows, left=1.32)


def plot(draw: Callable[[Axes], None], label: str, frame: Frame) -> Markup:
    """What `draw` puts onto axes, as SVG; `label` says to a screen reader what it shows."""
    # The same report for the same evaluation, byte for byte: ids come from the label.
    with mpl.rc_context(_STYLE | {"svg.hashsalt": label}):
        height, width, left, bottom = frame
        figure = Figure(figsize=(width, height))
        draw(figure.add_axes((left / width, bottom / height, 1 - (left + 0.12) / width, 1 - (bottom + 0.3) / height)))
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg")
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (id="[A-Za-z0-9.]+_\d+"|(width|height)="[\d.]+pt"|xmlns(:xlink)?="[^"]*")', "", svg)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1))


def whisker(axes: Axes, place: float, value: float, interval: Any, **look: Any) -> None:
    """A value with its 95% interval on a horizontal line; `look`: colour, marker, size."""
    if interval is not None:
        axes.plot(interval, (place, place), "-", color=look["colour"], linewidth=1.8, alpha=0.75)
    axes.plot(
        value, place, look.get("marker", "o"), color=look["colour"], markersize=look.get("size", 6), clip_on=False
    )


def rows_down(axes: Axes, names: list[str]) -> None:
    """Name the rows of a plot from top to bottom."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")

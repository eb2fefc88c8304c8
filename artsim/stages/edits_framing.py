"""Other framings than a picture's content alone: what lies in its black square, and which part an encoder is shown.

A framing takes the content (H, W, 3) uint8 RGB, the side of the square in px, the width and height of another
picture's content and a generator; it gives the square (S, S, 3) and the box that is shown.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from artsim.images import Box, crop_box, letterbox

Rng = np.random.Generator
Shape = tuple[int, int]
"""Width and height of a content, px."""
_NOISE_CELLS = 24
"""Bumps across: so wide that a box of any usual proportions has pixels enough for them."""
Framed = tuple[np.ndarray, Box]
Framing = Callable[[np.ndarray, int, Shape, Rng], Framed]


def on_black(content: np.ndarray, size: int) -> Framed:
    """The content in the middle of a black square, its proportions kept, and where it lies."""
    square, box = letterbox(Image.fromarray(content), size)
    return np.array(square), box


def bars_kept(content: np.ndarray, size: int, other: Shape, rng: Rng) -> Framed:
    """The whole square is shown: its bars tell the proportions, which a painting and its versions share."""
    return on_black(content, size)[0], (0, 0, size, size)


def bars_swapped(content: np.ndarray, size: int, other: Shape, rng: Rng) -> Framed:
    """The whole square is shown, the content squashed to another picture's proportions: its bars tell of that one."""
    longest = max(other)
    width, height = (max(1, round(size * side / longest)) for side in other)
    squashed = Image.fromarray(content).resize((width, height), Image.Resampling.LANCZOS)
    return on_black(np.asarray(squashed), size)[0], (0, 0, size, size)


def noise_bars_cropped(content: np.ndarray, size: int, other: Shape, rng: Rng) -> Framed:
    """Noise in the place of the content, which alone is shown.

    Smooth, drawn on a square canvas and squashed into the box, as versions are painted: no grain tells how.
    """
    square, box = on_black(content, size)
    canvas = rng.integers(0, 256, (_NOISE_CELLS, _NOISE_CELLS, 3), np.uint8)
    crop_box(square, box)[:] = cv2.resize(canvas, box[2:], interpolation=cv2.INTER_CUBIC)
    return square, box


def noise_bars_kept(content: np.ndarray, size: int, other: Shape, rng: Rng) -> Framed:
    """Noise in the place of the content, and the whole square is shown: all that is left to tell are the bars."""
    return noise_bars_cropped(content, size, other, rng)[0], (0, 0, size, size)


def grain_bars_cropped(content: np.ndarray, size: int, other: Shape, rng: Rng) -> Framed:
    """Grain in the place of the content, which alone is shown: every pixel and channel drawn by itself.

    An encoder's square stretches it by the picture's proportions, so that its look tells of them a little, as that of
    a canvas's weave or a scan's noise does.
    """
    square, box = on_black(content, size)
    inside = crop_box(square, box)
    inside[:] = rng.integers(0, 256, inside.shape, np.uint8)
    return square, box


FRAMES: dict[str, Framing] = {
    "bars-kept": bars_kept,
    "bars-swapped": bars_swapped,
    "noise-bars-cropped": noise_bars_cropped,
    "noise-bars-kept": noise_bars_kept,
    "grain-bars-cropped": grain_bars_cropped,
}
"""The framings by the name that the settings give them."""

"""The local stand-in for a captioning model: one sentence of measured pixel facts."""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np

from artsim.config import CaptionConfig
from artsim.images import crop_box, decode_jpeg
from artsim.schemas import Batch

SIDE = 96  # px; every picture is measured on this square, so that its proportions say nothing
PLACES = (
    *("at the upper left", "at the top", "at the upper right"),
    *("on the left", "in the middle", "on the right"),
    *("at the lower left", "at the bottom", "at the lower right"),
)
COLOURS = {
    "black": (22, 20, 20),
    "charcoal": (56, 54, 56),
    "grey": (125, 124, 122),
    "silver": (184, 184, 182),
    "white": (246, 246, 244),
    "ivory": (236, 228, 204),
    "beige": (210, 192, 158),
    "tan": (178, 150, 112),
    "ochre": (188, 138, 62),
    "gold": (214, 176, 66),
    "yellow": (240, 220, 84),
    "orange": (228, 130, 48),
    "rust": (166, 78, 44),
    "brown": (112, 78, 50),
    "umber": (72, 52, 38),
    "maroon": (104, 34, 36),
    "crimson": (190, 40, 52),
    "salmon": (226, 150, 130),
    "rose": (196, 112, 120),
    "pink": (238, 192, 196),
    "plum": (96, 54, 86),
    "violet": (130, 94, 168),
    "lavender": (178, 168, 208),
    "navy": (32, 42, 82),
    "blue": (52, 92, 168),
    "sky blue": (136, 182, 218),
    "slate": (92, 106, 124),
    "pale blue": (186, 204, 212),
    "teal": (40, 106, 110),
    "turquoise": (84, 178, 172),
    "dark green": (40, 62, 42),
    "olive": (102, 100, 52),
    "moss green": (124, 138, 82),
    "green": (68, 140, 72),
    "sage": (164, 176, 144),
    "khaki": (152, 140, 100),
}


class Caption:
    """Say in one sentence what can be measured inside a painting's box: colours, light, detail, warmth, layout.

    Reads  image (B,) JPEG bytes; box (B, 4) int32, left, top, width, height of the content in px.
    Adds   caption (B,) str, clauses parted by commas; `corrupt: ...` in error and None where nothing decodes.
    """

    version: ClassVar[int] = 1
    determinism: ClassVar[str] = "exact"

    def __init__(self, config: CaptionConfig) -> None:
        cv2.setNumThreads(1)  # a worker has one core; results do not depend on it
        names = np.array([COLOURS[name] for name in COLOURS], np.uint8)
        self._centres = _lab(names[None])[0]

    def __call__(self, batch: Batch) -> Batch:
        num_rows = len(batch["image"])
        captions, errors = np.full(num_rows, None, object), np.full(num_rows, None, object)
        for row, (data, box) in enumerate(zip(batch["image"], batch["box"], strict=True)):
            try:
                pixels = decode_jpeg(data)
            except OSError as error:
                errors[row] = f"corrupt: {error}"
            else:
                captions[row] = self._describe(_content(pixels, box))
        return batch | {"caption": captions, "error": errors}

    def _describe(self, square: np.ndarray) -> str:
        """The sentence for a picture (SIDE, SIDE, 3) uint8 RGB."""
        lab = _lab(square)
        lightness = lab[..., 0]
        detail = np.hypot(cv2.Sobel(lightness, -1, 1, 0), cv2.Sobel(lightness, -1, 0, 1)) / 8
        nearest = ((lab[:, :, None] - self._centres) ** 2).sum(-1).argmin(-1)
        clauses = [
            f"a {_light(lightness)} picture with {_contrast(lightness)}",
            *_colours(np.bincount(nearest.ravel(), minlength=len(COLOURS)) / nearest.size, self._centres),
            _warmth(lab),
            _detail(detail),
            *_layout(lightness, detail),
            *_balance(lightness),
        ]
        return ", ".join(clauses)


def _content(pixels: np.ndarray, box: np.ndarray) -> np.ndarray:
    """What lies in the box, squashed to (SIDE, SIDE, 3)."""
    return cv2.resize(crop_box(pixels, box), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _lab(pixels: np.ndarray) -> np.ndarray:
    """CIE Lab (H, W, 3) float32 of uint8 RGB: L in 0..100, a and b about -100..100."""
    return cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def _word(value: float, limits: tuple[float, ...], words: tuple[str, ...]) -> str:
    """The word of the interval that a value falls in; one word more than limits."""
    return words[int(np.searchsorted(limits, value))]


def _light(lightness: np.ndarray) -> str:
    words = ("very dark", "dark", "dim", "mid-toned", "light", "bright", "very bright")
    return _word(float(lightness.mean()), (22, 33, 43, 54, 65, 78), words)


def _contrast(lightness: np.ndarray) -> str:
    words = ("hardly any contrast", "soft contrast", "moderate contrast", "strong contrast", "stark contrast")
    return _word(float(lightness.std()), (8, 14, 19, 25), words)


def _colours(shares: np.ndarray, centres: np.ndarray) -> list[str]:
    """The largest colours by name, and the most vivid of the small ones.

    shares (K,) of the area that each of COLOURS takes; centres (K, 3) are their Lab values.
    """
    names = list(COLOURS)
    order = np.argsort(-shares, kind="stable")
    main = [names[k] for k in order[:3] if shares[k] > 0.08] or [names[order[0]]]
    clauses = [f"mostly {main[0]}" + (f" with {' and '.join(main[1:])}" if main[1:] else "")]
    vividness = np.hypot(centres[:, 1], centres[:, 2]) * (shares > 0.01)
    vividness[[names.index(name) for name in main]] = 0
    accent = int(vividness.argmax())
    return [*clauses, f"touches of {names[accent]}"] if vividness[accent] > 15 else clauses


def _warmth(lab: np.ndarray) -> str:
    """Red and yellow count as warm, green and blue as cool (the two axes of Lab)."""
    words = ("cold in tone", "cool in tone", "balanced in tone", "warm in tone", "very warm in tone")
    return _word(float(lab[..., 1].mean() + lab[..., 2].mean()), (-6, 4, 14, 30), words)


def _detail(detail: np.ndarray) -> str:
    words = ("smooth and empty", "calm", "moderately detailed", "busy", "densely detailed")
    return _word(float(detail.mean()), (1.2, 2.4, 3.8, 5.5), words)


def _layout(lightness: np.ndarray, detail: np.ndarray) -> list[str]:
    """Where light, dark and detail gather on a grid of 3 x 3; nothing where it lies evenly."""
    light, busy = _cells(lightness), _cells(detail)
    clauses = []
    if np.ptp(light) > 4:
        clauses += [f"brightest {PLACES[light.argmax()]}", f"darkest {PLACES[light.argmin()]}"]
    if np.ptp(busy) > 0.4:
        clauses += [f"busiest {PLACES[busy.argmax()]}", f"quietest {PLACES[busy.argmin()]}"]
    return clauses or ["even throughout"]


def _cells(field: np.ndarray) -> np.ndarray:
    """Means over 3 x 3 cells (9,), row by row."""
    return cv2.resize(field, (3, 3), interpolation=cv2.INTER_AREA).ravel()


def _balance(lightness: np.ndarray) -> list[str]:
    """Whether the left half mirrors the right one: the correlation of the two, coarsely seen."""
    coarse = cv2.resize(lightness, (12, 12), interpolation=cv2.INTER_AREA)
    spread = float(coarse.var())
    if spread < 1:
        return []
    mirrored = float(np.mean((coarse - coarse.mean()) * (coarse[:, ::-1] - coarse.mean()))) / spread
    return ["left and right alike"] if mirrored > 0.6 else ["left and right unlike"] if mirrored < 0 else []

"""Where two pictures match: mutual nearest patches, and a drawing of them.

Shapes: N patches on a row-major G x G grid over the squashed picture, T features of a patch, M matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.Image import Resampling

MIN_MARGIN = 0.05
"""Share of a match's similarity by which it must be above the next best one, of either patch, that is not beside it."""
MIN_SUPPORT = 2
"""Other matches that must lie beside a match in both pictures.

Measured on pictures of two kinds, matches in each pair (of N = 49) at these two: `right` have moved by one patch at
most. Style transfer keeps places (256 pairs of ../shared/data, alpha 0.3 / 1.0), and so do most of the versions that
filters make (300 moderate / 300 radical; these warp and crop). Unrelated: two paintings, 400 pairs of each row.

    encoder      pictures      right          wrong        unrelated, mean   95th percentile
    MobileNetV1  paintings     32.6 / 17.5    0.0 / 0.1    0.36              3
    descriptors  paintings     42.5 / 37.5    0.0 / 0.0    0.41              3
    descriptors  gallery       27.1 /  3.5    0.0 / 0.3    0.54              3

One measure for all encoders was hard to have: a similarity alone that leaves one match in an unrelated pair is 0.29
with MobileNetV1 and 0.77 with the descriptors; Lowe's ratio of distances (2004) 0.93 and 0.64. A margin without
support, 0.3, leaves 1.1 / 0.7 / 0.6 there, and 21.0 / 11.0 right with MobileNetV1. Of 16 mirrored paintings
MobileNetV1 matches 44.5 patches, all rightly, and the descriptors, whose gradients have a direction, 7.7 (6.8 right).
"""
MIN_LENGTH = 0.1
"""Of a patch's features less the picture's mean, in root mean squares of both pictures' features: shorter is flat.

Most patches of one colour have 0 to 0.04 with the descriptors; 0.26 is the least of 20,384 patches of paintings and
their versions, 0.46 with MobileNetV1. That gives an even colour 0.4 too, from its padded borders: what two blank
pictures share then fails to stand out (none of 49 match), unless they are the very same.
"""
_VIRIDIS = "440154 472d7b 3b528b 2c728e 21918c 28ae80 5ec962 addc30 fde725"  # van der Walt and Smith 2015 (CC0)
_COLOURS = np.array([list(bytes.fromhex(colour)) for colour in _VIRIDIS.split()])
WIDTH_PX, MAX_HEIGHT_PX = 1600, 1000
"""Of a drawing, and of the pictures in it, at most."""
_EDGE_PX = 32
_FOOT_PX, _FONT_PX, _SCALE_PX = 56, 26, (300, 14)
_GROUND, _INK = (242, 241, 238), (70, 68, 64)
_BOW = 0.26
"""How far lines bend, in heights: up where they begin on the left, else down, or those of one row would be one line."""
_FINE = 2
"""Lines and dots are drawn this many times larger, and then shrunk: Pillow's own have no smooth edges."""


Point = tuple[float, float]


class Match(NamedTuple):
    """Two patches, one in each picture, that are each other's nearest."""

    first: Point
    """Centre x, y in the first picture, 0..1 of its upright width and height."""
    second: Point
    """The same in the second."""
    similarity: float
    """Cosine of their features, each less the mean of its own picture, above 0 to 1."""


def match(first: np.ndarray, second: np.ndarray) -> list[Match]:
    """The mutual nearest patches of two pictures' tokens (N, T), strongest first; none where nothing stands out.

    The mean of each picture is taken off its patches, or palette and light would speak: so 33 and 19 patches were
    right after style transfer with MobileNetV1, and 29 and 14 with the mean of both. Among mutual nearest neighbours
    (as Amir et al. 2021, "Deep ViT Features as Dense Visual Descriptors", who call them best buddies after Dekel et
    al. 2015) those count that stand out (Lowe 2004, 7.1, on similarities) and that neighbours support (Bian et al.
    2017, GMS, 3). Mirrored, moved or cropped parts match too; a patch of even canvas is like its surroundings and
    matches none.
    """
    assert first.shape == second.shape, "tokens of one encoder"
    one, other = _directions(first, second)
    grid = _grid(len(one))
    beside = _beside(grid)
    similarity = one @ other.T
    nearest = similarity.argmax(1)
    rows = np.flatnonzero(similarity.argmax(0)[nearest] == np.arange(len(one)))
    columns = nearest[rows]
    best = similarity[rows, columns]
    next_best = np.maximum(
        np.where(beside[columns], -1, similarity[rows]).max(1), np.where(beside[rows], -1, similarity.T[columns]).max(1)
    )
    stands_out = (best > 0) & (best - next_best >= MIN_MARGIN * best)
    rows, columns, best = rows[stands_out], columns[stands_out], best[stands_out]
    support = (beside[rows][:, rows] & beside[columns][:, columns]).sum(1) - 1  # a match is beside itself
    order = np.argsort(-best, kind="stable")
    return [
        Match(_centre(rows[at], grid), _centre(columns[at], grid), float(min(best[at], 1)))
        for at in order
        if support[at] >= MIN_SUPPORT
    ]


def to_json(matches: Sequence[Match], num_patches: int) -> dict[str, Any]:
    """Matches for programs: lists of fractions and the side of the grid of `num_patches`."""
    rounded = [
        {
            "first": [round(place, 4) for place in found.first],
            "second": [round(place, 4) for place in found.second],
            "similarity": round(found.similarity, 4),
        }
        for found in matches
    ]
    return {"matches": rounded, "grid": _grid(num_patches)}


def draw(first: Image.Image, second: Image.Image, matches: Sequence[Match]) -> Image.Image:
    """Both upright pictures side by side, of one height, with a line for each match; RGB, 1600 px wide or less.

    Colours are viridis's from similarity 0 to 1, as the scale below shows; the strongest lie on top.
    """
    shapes = [picture.width / picture.height for picture in (first, second)]
    height = max(1, round(min((WIDTH_PX - 3 * _EDGE_PX) / sum(shapes), MAX_HEIGHT_PX)))
    panels = [
        picture.convert("RGB").resize((max(1, round(height * shape)), height), Resampling.LANCZOS)
        for picture, shape in zip((first, second), shapes, strict=True)
    ]
    lefts = (_EDGE_PX, 2 * _EDGE_PX + panels[0].width)
    sheet = Image.new("RGB", (lefts[1] + panels[1].width + _EDGE_PX, height + 2 * _EDGE_PX + _FOOT_PX), _GROUND)
    for panel, left in zip(panels, lefts, strict=True):
        sheet.paste(panel, (left, _EDGE_PX))
    lines = []
    for found in reversed(matches):
        start, end = (
            (_FINE * (left + x * panel.width), _FINE * (_EDGE_PX + y * height))
            for (x, y), left, panel in zip(found[:2], lefts, panels, strict=True)
        )
        lines.append(_curve(start, end, _FINE * _BOW * height * (found.first[0] - 0.5)))
    _draw_matches(sheet, lines, [_colour(found.similarity) for found in reversed(matches)])
    _draw_scale(sheet)
    return sheet


def _directions(*pictures: np.ndarray) -> list[np.ndarray]:
    """Features (N, T) of length 1 for each picture, less its mean; flat patches are zeros."""
    values = [tokens.astype(np.float32) for tokens in pictures]
    size = np.sqrt(np.mean([(tokens**2).sum(1) for tokens in values]))
    found = []
    for tokens in values:
        centred = tokens - tokens.mean(0)
        length = np.linalg.norm(centred, axis=1, keepdims=True)
        flat = length <= MIN_LENGTH * size
        found.append(np.where(flat, 0, centred / np.where(flat, 1, length)))
    return found


def _grid(num_patches: int) -> int:
    grid = isqrt(num_patches)
    assert grid * grid == num_patches, "patches fill a square grid"
    return grid


def _beside(grid: int) -> np.ndarray:
    """Which patches (N, N) touch each other, corners and themselves included."""
    places = np.stack(np.divmod(np.arange(grid * grid), grid), 1)
    near: np.ndarray = np.abs(places[:, None] - places).max(2) <= 1
    return near


def _centre(patch: int, grid: int) -> tuple[float, float]:
    return (int(patch) % grid + 0.5) / grid, (int(patch) // grid + 0.5) / grid


def _colour(similarity: float) -> tuple[int, int, int]:
    at = np.clip(similarity, 0, 1) * (len(_COLOURS) - 1)
    red, green, blue = (round(float(np.interp(at, range(len(_COLOURS)), channel))) for channel in _COLOURS.T)
    return red, green, blue


def _curve(start: Point, end: Point, bow: float) -> list[Point]:
    """A quadratic Bezier curve whose middle lies bow / 2 below that of the straight line."""
    way = np.linspace(0, 1, 49)
    x = start[0] + (end[0] - start[0]) * way
    y = start[1] + (end[1] - start[1]) * way + 2 * way * (1 - way) * bow
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _draw_matches(sheet: Image.Image, lines: list[list[Point]], colours: list[tuple[int, ...]]) -> None:
    """Lines within a dark seam, so that they are seen on any painting, and dots within a light one."""
    layer = Image.new("RGBA", (sheet.width * _FINE, sheet.height * _FINE), (0, 0, 0, 0))
    pen = ImageDraw.Draw(layer)
    for line, colour in zip(lines, colours, strict=True):
        pen.line(line, (20, 20, 20, 110), 6 * _FINE, joint="curve")
        pen.line(line, (*colour, 255), 3 * _FINE, joint="curve")
    for line, colour in zip(lines, colours, strict=True):
        for end in (line[0], line[-1]):
            pen.circle(end, 10 * _FINE, (20, 20, 20, 130))
            pen.circle(end, 9 * _FINE, (255, 255, 255, 255))
            pen.circle(end, 6.5 * _FINE, (*colour, 255))
    layer = layer.reduce(_FINE)
    sheet.paste(layer, (0, 0), layer)


def _draw_scale(sheet: Image.Image) -> None:
    """What the colours mean, below the pictures."""
    width, height = _SCALE_PX
    left, middle = (sheet.width - width) // 2 + 50, sheet.height - _EDGE_PX - _FOOT_PX // 2 + _EDGE_PX // 2
    steps = np.array([[_colour(at / (width - 1)) for at in range(width)]] * height, np.uint8)
    sheet.paste(Image.fromarray(steps), (left, middle - height // 2))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_PX)
    pen.text((left - 16, middle), "similarity 0", _INK, font, anchor="rm")
    pen.text((left + width + 16, middle), "1", _INK, font, anchor="lm")

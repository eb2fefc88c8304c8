"""Brushes and media, for the local stand-in of image generation: what a picture is painted, drawn or built with.

A picture is (S, S, 3) float32 RGB in 0..1, a field (S, S) float32; lengths are shares of the side S.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from artsim.stages.filters import Colour, blur, clip, luma, mix, noise, places, ramp, rgb, sample


class Draw(NamedTuple):
    """What a recipe may go by: the row's own generator, how far to go (0..1), the colours of its prompt, dark first."""

    rng: np.random.Generator
    strength: float
    colours: Sequence[Colour]


Recipe = Callable[[np.ndarray, Draw], np.ndarray]
Flow = tuple[np.ndarray, np.ndarray]
"""Fields (S, S) of the x and y parts of unit vectors that run along edges."""


def flow(picture: np.ndarray) -> Flow:
    """Where brush strokes should run: across the strongest gradient (structure tensor; Kyprianidis, Kang 2011)."""
    grey = blur(luma(picture), 0.003)
    along_x, along_y = (cv2.Sobel(grey, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    xx, yy, xy = (blur(part, 0.012) for part in (along_x**2, along_y**2, along_x * along_y))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy) + np.float32(np.pi / 2)
    return np.cos(angle), np.sin(angle)


def smear(array: np.ndarray, along: Flow, length: float) -> np.ndarray:
    """Average along a flow: three passes of three taps, each three times as far, stand for 27 taps."""
    x, y = places(len(array))
    for step in (length / 27, length / 9, length / 3):
        ahead, behind = (sample(array, x + step * s * along[0], y + step * s * along[1]) for s in (1, -1))
        array = (array + ahead + behind) / 3
    return array


def impasto(picture: np.ndarray, along: Flow, rng: np.random.Generator, share: float) -> np.ndarray:
    """Give the paint a relief of bristle marks, lit from the upper left."""
    bristles = smear(rng.standard_normal(picture.shape[:2], np.float32), along, 0.05)
    relief = bristles - np.roll(bristles, (2, 2), (0, 1))
    return clip(picture + 0.066 * share / (relief.std() + 1e-6) * relief[..., None])


def hand(picture: np.ndarray, draw: Draw) -> np.ndarray:
    """A light touch of the brush over everything."""
    along = flow(picture)
    return impasto(smear(picture, along, 0.02), along, draw.rng, 0.5)


def kuwahara(picture: np.ndarray, radius: float) -> np.ndarray:
    """Flatten within edges: each pixel takes the mean of its calmest quadrant (Kuwahara 1976)."""
    size = max(2, round(radius * len(picture)))
    grey = luma(picture)
    best, calmest = picture, np.full(grey.shape, np.inf, np.float32)
    for anchor in ((0, 0), (size, 0), (0, size), (size, size)):
        mean = cv2.blur(picture, (size + 1, size + 1), anchor=anchor)
        spread = cv2.blur(grey * grey, (size + 1, size + 1), anchor=anchor) - luma(mean) ** 2
        calmer = spread < calmest
        best, calmest = np.where(calmer[..., None], mean, best), np.where(calmer, spread, calmest)
    return best


def strokes(picture: np.ndarray, rng: np.random.Generator, width: float, length: float) -> np.ndarray:
    """Paint with short strokes along the edges, first those of the given size, then finer ones."""
    side = len(picture)
    along_x, along_y = flow(picture)
    canvas = np.ascontiguousarray((clip(blur(picture, width / 2)) * 255).astype(np.uint8))
    for scale in (1.0, 0.55):
        thick = max(2, round(width * scale * side))
        count = int(1.1 / (width * scale * length * scale))
        at = rng.integers(0, side, (count, 2))
        x, y = at[:, 0], at[:, 1]
        reach = length * scale * side / 2 * rng.uniform(0.6, 1.2, count)
        ends = np.stack([along_x[y, x] * reach, along_y[y, x] * reach], -1)
        paint = (picture[y, x] * 255 + rng.normal(0, 5, (count, 3))).clip(0, 255)
        starts, stops = (at - ends).round().astype(int).tolist(), (at + ends).round().astype(int).tolist()
        for start, stop, colour in zip(starts, stops, paint.tolist(), strict=True):
            cv2.line(canvas, start, stop, colour, thick, cv2.LINE_AA)
    return canvas.astype(np.float32) / 255


def dots(picture: np.ndarray, rng: np.random.Generator, radius: float, ground: Colour) -> np.ndarray:
    """Pointillism: dots of pure, slightly scattered colours over a toned ground."""
    side = len(picture)
    step = radius * side * 1.7
    steps = np.arange(step / 2, side, step)
    at = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2) + rng.normal(0, step / 4, (len(steps) ** 2, 2))
    at = rng.permutation(at.clip(0, side - 1).astype(int))
    paint = picture[at[:, 1], at[:, 0]] * 255
    scatter = rng.normal(0, 0.06, paint.shape) * (paint.mean(1, keepdims=True) + 40)
    paint = paint + (paint - paint.mean(1, keepdims=True)) * 0.4 + scatter
    canvas = np.ascontiguousarray((mix(blur(picture, 0.01), rgb(ground), 0.5) * 255).astype(np.uint8))
    sizes = (radius * side * rng.uniform(0.75, 1.1, len(at)) * 16).astype(int)
    for centre, size, colour in zip((at * 16).tolist(), sizes.tolist(), paint.clip(0, 255).tolist(), strict=True):
        cv2.circle(canvas, centre, size, colour, -1, cv2.LINE_AA, 4)  # 4: sixteenths of a pixel
    return canvas.astype(np.float32) / 255


def cells(side: int, rng: np.random.Generator, num_across: int, jitter: float) -> tuple[np.ndarray, np.ndarray]:
    """Voronoi cells around a jittered grid of points: labels (S, S) int32 from 0, distance (S, S) to the point."""
    steps = (np.arange(num_across) + 0.5) / num_across
    at = (
        np.stack(np.meshgrid(steps, steps), -1) + rng.uniform(-jitter, jitter, (num_across, num_across, 2)) / num_across
    )
    x, y = (at.clip(0, 0.9999) * side).astype(int).reshape(-1, 2).T
    canvas = np.ones((side, side), np.uint8)
    canvas[y, x] = 0
    distance, labels = cv2.distanceTransformWithLabels(canvas, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    return labels - 1, distance / side


def seams(labels: np.ndarray, width: float) -> np.ndarray:
    """A field that is 1 on the borders between cells and 0 inside."""
    border = np.zeros(labels.shape, np.uint8)
    border[:-1] |= labels[:-1] != labels[1:]
    border[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    thick = max(1, round(width * len(labels)))
    return cv2.GaussianBlur(cv2.dilate(border, np.ones((thick, thick), np.uint8)).astype(np.float32), (0, 0), 0.7)


def fill(picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Every cell in the mean colour of what it covers."""
    flat = labels.ravel()
    counts = np.maximum(np.bincount(flat), 1)
    means = [np.bincount(flat, picture[..., channel].ravel()) / counts for channel in range(3)]
    return np.stack(means, -1).astype(np.float32)[labels]


def mosaic(picture: np.ndarray, rng: np.random.Generator, num_across: int, grout: Colour) -> np.ndarray:
    """Stone tiles of slightly differing shades, set in grout."""
    labels, _ = cells(len(picture), rng, num_across, 0.28)
    shade = rng.normal(1, 0.07, int(labels.max()) + 1).astype(np.float32)[labels]
    return mix(fill(picture, labels) * shade[..., None], rgb(grout), seams(labels, 0.003))


def stained_glass(picture: np.ndarray, rng: np.random.Generator, num_across: int) -> np.ndarray:
    """Panes of glowing colour between leads."""
    labels, distance = cells(len(picture), rng, num_across, 0.45)
    panes = fill(picture, labels)
    grey = panes.mean(-1, keepdims=True)
    light = 1.15 - 3.0 * distance + 0.08 * noise(rng, len(picture), 40)
    return mix((grey + (panes - grey) * 1.7 + 0.06) * light[..., None], 0.05, seams(labels, 0.006))


def outlines(field: np.ndarray, radius: float, firmness: float) -> np.ndarray:
    """Ink lines of a lightness field: 0 is ink, 1 is paper (extended difference of Gaussians; Winnemoeller 2011)."""
    edge = blur(field, radius) - 0.97 * blur(field, radius * 1.6)
    return np.where(edge > 0.004, np.float32(1), 1 + np.tanh(firmness * (edge - 0.004))).astype(np.float32)


def pencil(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Graphite: a field of outlines and two layers of slanting hatches, 0..1."""
    grey = luma(picture)
    sketch = np.clip(grey / (blur(grey, 0.012) + 0.02), 0, 1) ** 2.5
    x, y = places(len(grey))
    wobble = 0.004 * noise(rng, len(grey), 14)
    for slant, limit in ((1.0, 0.62), (-0.7, 0.36)):
        lines = 0.5 + 0.5 * np.sin((x + slant * y + wobble) * 2 * np.pi * 95)
        sketch = sketch * (1 - np.clip((limit - grey) * 2.6, 0, 0.75) * lines)
    grain = 0.06 * rng.standard_normal(grey.shape, np.float32)
    return clip(sketch + grain * (1.1 - sketch))


def engraving(picture: np.ndarray, rng: np.random.Generator, num_lines: int) -> np.ndarray:
    """Copperplate: wavy lines that swell with the darkness, crossed in the shadows; a field, 0 is ink."""
    grey = clip((luma(picture) - 0.5) * 1.25 + 0.52)
    x, y = places(len(grey))
    bend = 0.02 * noise(rng, len(grey), 3) + 0.02 * blur(grey, 0.02)
    first = 0.5 + 0.5 * np.sin((y + 0.25 * x + bend) * 2 * np.pi * num_lines)
    second = 0.5 + 0.5 * np.sin((x - 0.35 * y + bend) * 2 * np.pi * num_lines)
    ink = np.clip((first - grey * 1.15) * 4, 0, 1)
    ink = np.maximum(ink, np.clip((second - grey * 2.2) * 4, 0, 1))
    return clip(1 - ink) * outlines(grey, 0.0025, 18)


def watercolour(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Thin washes: pooled pigment along soft edges, granulation, white paper in the lights."""
    x, y = places(len(picture))
    bleed = [0.006 * noise(rng, len(picture), 60) for _ in "xy"]
    wash = sample(kuwahara(picture, 0.012), x + bleed[0], y + bleed[1])
    density = 1 - 0.55 * np.abs(wash - blur(wash, 0.008)).max(-1, keepdims=True) * 4
    pigment = 1 + 0.04 * noise(rng, len(picture), 120)[..., None] + 0.12 * noise(rng, len(picture), 6)[..., None]
    thin = 1 - (1 - wash) * 0.75 * pigment
    return clip(thin * density)


def woodblock(picture: np.ndarray, num_tones: int, ink: Colour) -> np.ndarray:
    """Flat areas of few tones with dark outlines, like a print from several blocks."""
    flat = kuwahara(picture, 0.012)
    grey = luma(flat)
    printed = (np.floor(np.clip(grey * num_tones, 0, num_tones - 0.01)) + 0.5) / num_tones
    flat = clip(flat * ((printed + 0.05) / (grey + 0.05))[..., None])
    return mix(rgb(ink), flat, outlines(luma(picture), 0.0035, 25))


def paper(field: np.ndarray, rng: np.random.Generator, ink: Colour, ground: Colour) -> np.ndarray:
    """A drawing (field 0..1, 0 is ink) on stained paper."""
    stains = 1 + 0.05 * noise(rng, len(field), 4) + 0.02 * rng.standard_normal(field.shape, np.float32)
    return clip(ramp(field, (ink, ground)) * stains[..., None])


def contours(field: np.ndarray, num_levels: int) -> np.ndarray:
    """Lines of equal height of a field 0..1, one pixel or two wide; 1 on a line."""
    steps = np.floor(field * num_levels).astype(np.int32)
    return seams(steps, 0.002)


def grid(side: int, num_across: int) -> np.ndarray:
    """A thin square grid; 1 on a line."""
    x, y = places(side)
    return np.maximum(*(np.abs((axis * num_across) % 1 - 0.5) > 0.5 - 0.03 for axis in (x, y))).astype(np.float32)

"""Ways to put a scene on canvas: dabs, dots, facets, flat colour, halftone, glazes, sweeps of the arm, thrown paint.

H, W: height and width, px. Scenes and results are RGB float32, 0..1; sizes are thousandths of the scene's `unit`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from artsim.painting.scenes import Scene, bezier


class Brush(NamedTuple):
    """A painter's touch."""

    length: float  # of a stroke, 1/1000 unit
    width: float  # of a stroke, dot, line or facet, 1/1000 unit
    broken: float  # how far neighbouring strokes differ in colour, 0..1
    relief: float  # how thick the paint stands, 0..1
    line: float  # strength of contours, 0..1
    tilt: float  # how far strokes lean from the thing's own direction, radians
    curl: float  # how far strokes follow eddies of their own, radians
    gloom: float  # how much of the picture sinks into the dark, 0..1


def dabs(scene: Scene, brush: Brush) -> np.ndarray:
    """Separate strokes that follow the things, big ones first, small ones where there is detail."""
    angle = scene.angle + brush.tilt + brush.curl * scene.noise(1.6, octaves=2)
    paint = np.empty((scene.height, scene.width, 4), np.uint8)
    paint[..., :3] = np.clip(scene.color * 255, 0, 255)
    paint[..., 3] = 128
    everywhere = np.ones(scene.label.shape, np.float32)
    busy = np.clip(2 * _detail(scene), 0, 1)
    for scale, cover in ((2.2, 1.1 * everywhere), (1.0, 1.5 * everywhere), (0.55, 1.4 * busy)):
        scaled = brush._replace(length=brush.length * scale, width=brush.width * scale)
        _strokes(paint, scene, angle, scaled, cover)
    return _impasto(paint[..., :3], paint[..., 3], angle, brush.relief, scene)


def _detail(scene: Scene) -> np.ndarray:
    """How much there is to see near each pixel, 0..1."""
    detail = cv2.GaussianBlur(_edges(scene.label, 1), (0, 0), 0.008 * scene.unit)
    return detail / max(float(detail.max()), 1e-6)


def _strokes(paint: np.ndarray, scene: Scene, angle: np.ndarray, brush: Brush, cover: np.ndarray) -> None:
    """Lay strokes on paint (H, W, 4) uint8, RGB and height, about `cover` (H, W) of them over each place."""
    rng, unit = scene.rng, scene.unit / 1000
    most = float(cover.max())
    count = int(most * cover.size / (brush.length * brush.width * unit**2))
    x, y = rng.integers(scene.width, size=count), rng.integers(scene.height, size=count)
    keep = cover[y, x] >= most * rng.random(count)
    x, y, count = x[keep], y[keep], int(keep.sum())
    blur = cv2.GaussianBlur(scene.color, (0, 0), max(0.5, 0.2 * brush.width * unit))
    color = vary(blur[y, x], scene, brush.broken)
    height = rng.integers(60, 230, (count, 1))
    ink = np.concatenate([np.clip(color * 255, 0, 255), height], axis=1).tolist()
    turn = angle[y, x] + rng.normal(0, 0.16, count)
    reach = brush.length * unit * rng.uniform(0.3, 0.62, count)
    step = np.stack([np.cos(turn), np.sin(turn)], 1) * reach[:, None]
    center = np.stack([x, y], 1)
    start, end = ((center + sign * step) * 8 for sign in (-1, 1))
    widths = np.maximum(1, brush.width * unit * rng.uniform(0.7, 1.15, count)).round().astype(int).tolist()
    ends = np.concatenate([start, end], axis=1).round().astype(int).tolist()
    for (x0, y0, x1, y1), rgbh, width in zip(ends, ink, widths, strict=True):
        cv2.line(paint, (x0, y0), (x1, y1), rgbh, width, cv2.LINE_AA, 3)


def vary(color: np.ndarray, scene: Scene, broken: float) -> np.ndarray:
    """Break colours (N, 3) up: each strays a little in lightness and towards another colour of the palette."""
    rng = scene.rng
    inks = np.stack(scene.palette)[rng.integers(8, size=len(color))]
    share = broken * 0.45 * rng.uniform(0, 1, (len(color), 1)) ** 2
    lightness = 1 + broken * 0.3 * rng.normal(0, 0.5, (len(color), 1))
    return np.clip((color + share * (inks - color)) * lightness + broken * rng.normal(0, 0.02, color.shape), 0, 1)


def _impasto(rgb: np.ndarray, height: np.ndarray, angle: np.ndarray, relief: float, scene: Scene) -> np.ndarray:
    """Light thick paint from the upper left: ridges between strokes, and the marks that bristles leave along them."""
    bristle = _along(scene.rng.random(height.shape, dtype=np.float32), angle)
    bumps = cv2.GaussianBlur(height, (0, 0), 1.0).astype(np.float32) / 255 * 0.9 + bristle * 0.7
    slope = cv2.Sobel(bumps, cv2.CV_32F, 1, 0) + cv2.Sobel(bumps, cv2.CV_32F, 0, 1)
    light = 1 + relief * (np.clip(slope * 0.2, -0.3, 0.3) + 0.2 * (bristle - 0.5))
    return np.clip(rgb.astype(np.float32) / 255 * light[..., None], 0, 1)


def _along(noise: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Noise drawn out along a field of directions (line integral convolution, Cabral and Leedom 1993), by doubling."""
    cols, rows = (grid.astype(np.float32) for grid in np.meshgrid(*map(np.arange, noise.shape[::-1])))
    right, down = np.cos(angle, dtype=np.float32), np.sin(angle, dtype=np.float32)
    for step in (1, 2, 3, 6):  # moves on to 1, 3, 6 and 12 px: 16 samples along 22 px
        cols += step * right
        rows += step * down
        noise = (noise + cv2.remap(noise, cols, rows, cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT)) / 2
    return np.clip((noise - 0.5) * 2 + 0.5, 0, 1)


def glaze(scene: Scene, brush: Brush) -> np.ndarray:
    """Smooth layers: soft edges, a faint touch, and light that picks one place out of the dark."""
    soft = cv2.GaussianBlur(scene.color, (0, 0), 0.0022 * scene.unit)
    touch = _along(scene.rng.random(soft.shape[:2], dtype=np.float32), scene.angle + brush.tilt) - 0.5
    mottle = 0.045 * scene.noise(6) + 0.10 * brush.relief * touch + 0.02 * scene.noise(40, octaves=1)
    strokes = np.dstack([soft * 255, np.full(soft.shape[:2], 128)]).clip(0, 255).astype(np.uint8)
    _strokes(strokes, scene, scene.angle + brush.tilt, brush, np.full(soft.shape[:2], 0.9))
    share = min(1.0, 1.2 * brush.relief) * (1 - np.clip(2.2 * _detail(scene), 0, 0.85))
    image = soft + share[..., None] * (strokes[..., :3].astype(np.float32) / 255 - soft)
    image *= (1 + mottle)[..., None]
    if brush.line:
        image *= 1 - brush.line * 0.6 * cv2.GaussianBlur(_edges(scene.label, 1), (0, 0), 1.1)[..., None]
    side = -0.16 if np.cos(scene.habits.light) < 0 else 0.16
    far = ((scene.x - 0.5 - side) / 0.5) ** 2 + ((scene.y - 0.42) / 0.55) ** 2
    light = 1 - brush.gloom * (1 - np.exp(-far * 0.9)) * 0.9
    lit = image * light[..., None]
    lit += (1 - light)[..., None] * scene.palette.dark * 0.16
    contrast = 1 + 0.35 * brush.gloom
    return np.clip((lit - 0.35) * contrast + 0.35, 0, 1)


def flat(scene: Scene, brush: Brush) -> np.ndarray:
    """Plain colours side by side, with contours that swell and thin."""
    image = cv2.GaussianBlur(scene.color, (0, 0), 0.8)
    tone = image.mean(axis=2, keepdims=True)
    steps = 9 - 4 * brush.line
    image = image * (0.35 + 0.65 * (np.floor(tone * steps) + 0.5) / steps / np.maximum(tone, 0.02))
    image *= (1 + 0.05 * brush.broken * scene.noise(14) + 0.03 * scene.noise(3))[..., None]
    if brush.relief:
        touch = _along(scene.rng.random(tone.shape[:2], dtype=np.float32), scene.angle + brush.tilt)
        image *= (1 + 0.22 * brush.relief * (touch - 0.5))[..., None]
    return np.clip(_contour(image, scene, brush), 0, 1)


def _edges(label: np.ndarray, width: int) -> np.ndarray:
    edge: np.ndarray = np.zeros(label.shape, np.uint8)
    edge[:, 1:] |= label[:, 1:] != label[:, :-1]
    edge[1:] |= label[1:] != label[:-1]
    if width > 1:
        edge = cv2.dilate(edge, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
    return edge.astype(np.float32)


def _contour(image: np.ndarray, scene: Scene, brush: Brush) -> np.ndarray:
    thick = max(1, round(brush.width * scene.unit / 1000 * brush.line))
    ink = cv2.GaussianBlur(_edges(scene.label, thick), (0, 0), 0.9 + 0.2 * thick)
    ink = np.clip((ink - 0.42 + 0.12 * scene.noise(7)) * 3, 0, 1) * np.float32(min(1.0, brush.line * 1.2))
    return image + ink[..., None] * (scene.palette.dark * 0.55 - image)


def _cells(x: np.ndarray, y: np.ndarray, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel a number that stands for the nearest of some points (N,), and its distance, px; both (H, W)."""
    away = np.ones((scene.height, scene.width), np.uint8)
    away[y, x] = 0
    distance, label = cv2.distanceTransformWithLabels(away, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    return label, distance


def dots(scene: Scene, brush: Brush) -> np.ndarray:
    """Round dots of unmixed colour, side by side on a light ground."""
    rng, step = scene.rng, max(3.0, brush.width * scene.unit / 1000)
    image = scene.color * 0.75 + 0.2
    for layer in range(3):
        size = step * (1.5, 1.0, 1.0)[layer]
        rows, cols = np.mgrid[0 : scene.height : size, 0 : scene.width : size]
        y = np.clip(rows + rng.uniform(0, size, rows.shape), 0, scene.height - 1).astype(int).ravel()
        x = np.clip(cols + rng.uniform(0, size, cols.shape), 0, scene.width - 1).astype(int).ravel()
        label, distance = _cells(x, y, scene)
        pure = scene.color[y, x]
        grey = pure.mean(axis=1, keepdims=True)
        radius = size * rng.uniform(0.4, 0.62, (len(x), 1))
        points = np.empty((label.max() + 1, 4), np.float32)
        color = vary(grey + (pure - grey) * (1.15 + 0.5 * brush.broken), scene, brush.broken)
        points[label[y, x]] = np.concatenate([color, radius], axis=1)
        nearest = points[label]
        cover = np.clip(nearest[..., 3] - distance + 0.5, 0, 1)[..., None]
        image += cover * (nearest[..., :3] - image)
    return np.clip(image, 0, 1)


def facets(scene: Scene, brush: Brush) -> np.ndarray:
    """Planes that each show the thing from another place, shaded from edge to edge."""
    rng = scene.rng
    rows, cols = np.indices((scene.height, scene.width), np.float32)
    label = np.zeros((scene.height, scene.width), np.int32)
    axes = brush.tilt + np.array([0.0, 0.9, 1.6, 2.5])
    for _ in range(5 if brush.width > 90 else 6 if brush.width > 60 else 7):
        middle = _centers(label, rows, cols)
        turn = rng.choice(axes, len(middle)) + rng.normal(0, 0.12, len(middle))
        normal = np.stack([np.cos(turn), np.sin(turn)], 1).astype(np.float32)
        offset = (middle * normal).sum(axis=1) + rng.normal(0, 0.02, len(middle)) * scene.unit
        label = 2 * label + (normal[label, 0] * cols + normal[label, 1] * rows > offset[label])
    return np.clip(_planes(scene, brush, label.astype(np.int32), (rows, cols)), 0, 1)


def _centers(label: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    flat_label = label.ravel()
    count = np.maximum(np.bincount(flat_label), 1)
    sums = [np.bincount(flat_label, weights=grid.ravel()) / count for grid in (cols, rows)]
    return np.stack(sums, axis=1).astype(np.float32)


def _planes(scene: Scene, brush: Brush, label: np.ndarray, grid: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    rng, (rows, cols) = scene.rng, grid
    middle = _centers(label, rows, cols)
    count = len(middle)
    shift = (rng.normal(0, 0.45, (count, 2)) * brush.length * scene.unit / 1000).astype(np.float32)
    from_x, from_y = cols + shift[:, 0][label], rows + shift[:, 1][label]
    image: np.ndarray = cv2.remap(scene.color, from_x, from_y, cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT)
    turn = rng.choice([0.6, 2.2, -0.9], count) + brush.tilt
    right, down = np.cos(turn).astype(np.float32), np.sin(turn).astype(np.float32)
    across = (cols - middle[:, 0][label]) * right[label] + (rows - middle[:, 1][label]) * down[label]
    ramp = np.clip(across / (0.11 * scene.unit), -1, 1)
    image *= (
        1 + 0.3 * brush.relief * ramp + rng.normal(0, 0.10 * brush.broken + 0.03, count).astype(np.float32)[label]
    )[..., None]
    inks = np.stack(scene.palette)[rng.integers(8, size=count)].astype(np.float32)
    tint = (rng.random(count) < 0.3 * brush.broken).astype(np.float32) * 0.6
    image += tint[label][..., None] * (inks[label] - image)
    touch = _along(rng.random(label.shape, dtype=np.float32), turn.astype(np.float32)[label])
    image *= (1 + 0.16 * (touch - 0.5))[..., None]
    line = cv2.GaussianBlur(_edges(label, 2), (0, 0), 0.9) * np.clip(0.55 + 0.4 * scene.noise(4), 0, 1)
    return image + (line * brush.line)[..., None] * (scene.palette.dark * 0.6 - image)


def halftone(scene: Scene, brush: Brush) -> np.ndarray:
    """Few strong printed colours, a screen of dots in the middle tones, thick outlines."""
    image = flat(scene, brush._replace(line=0.0, relief=0.0))
    step = max(4.0, brush.width * scene.unit / 1000)
    cos, sin = np.cos(brush.tilt), np.sin(brush.tilt)
    x, y = scene.x * scene.width / step, scene.y * scene.height / step
    screen = 0.5 + 0.25 * (np.cos(2 * np.pi * (x * cos + y * sin)) + np.cos(2 * np.pi * (y * cos - x * sin)))
    tone = cv2.GaussianBlur(image.mean(axis=2), (0, 0), step / 2)
    printed = np.clip((screen - np.clip(tone * 1.15, 0.18, 0.95)) * 6 + 0.5, 0, 1)[..., None]
    ink = np.where(scene.label[..., None] % 2 == 0, scene.palette.accent, scene.palette.water)
    paper = np.clip(image * 0.5 + 0.48 * np.round(image * 2.4 + 0.2) / 2.4, 0, 1)
    return np.clip(_contour(paper + 0.75 * printed * (ink - paper), scene, brush), 0, 1).astype(np.float32)


def sweeps(scene: Scene, brush: Brush) -> np.ndarray:
    """Great strokes of the arm over broken ground; each bristle leaves its own track."""
    rng = scene.rng
    ground = dabs(scene, brush._replace(length=brush.length * 0.6, width=brush.width * 0.45))
    paint = np.dstack([ground * 255, np.full(ground.shape[:2], 128)]).astype(np.uint8)
    inks = np.stack(scene.palette)
    for _ in range(9 + round(13 * scene.habits.density)):
        start = scene.at(*rng.normal(0.5, 0.28, 2))
        turn = scene.habits.light + brush.tilt + rng.normal(0, 0.35 + brush.curl)
        reach = rng.uniform(0.2, 0.75) * scene.unit * np.array([np.cos(turn), np.sin(turn)])
        bend = rng.normal(0, 0.10 + 0.2 * brush.curl, (2, 2)) * scene.unit
        path = bezier(
            [start - reach / 2, start - reach / 6 + bend[0], start + reach / 6 + bend[1], start + reach / 2], 20
        )
        _sweep(paint, path, inks[int(rng.integers(8))], rng.uniform(0.4, 1.6) * brush.width * scene.unit / 400, scene)
    return _impasto(paint[..., :3], paint[..., 3], scene.angle, brush.relief, scene)


def _sweep(paint: np.ndarray, path: np.ndarray, ink: np.ndarray, width: float, scene: Scene) -> None:
    rng = scene.rng
    ahead = np.gradient(path, axis=0)
    normal = np.stack([-ahead[:, 1], ahead[:, 0]], 1) / np.maximum(np.linalg.norm(ahead, axis=1), 1e-6)[:, None]
    count = max(4, int(width / 2.2))
    for place in rng.permutation(np.linspace(-0.5, 0.5, count)):
        first, last = int(rng.integers(0, 3)), int(rng.integers(12, 21))
        track = (path + normal * place * width)[first:last]
        color = np.clip(ink * (1 + rng.normal(0, 0.09)) * 255, 0, 255).tolist()
        points = [np.round(track * 8).astype(np.int32)]
        cv2.polylines(
            paint, points, False, [*color, int(rng.integers(80, 250))], int(rng.integers(2, 5)), cv2.LINE_AA, 3
        )


def drips(scene: Scene, brush: Brush) -> np.ndarray:
    """Paint thrown in loops, with splashes."""
    rng = scene.rng
    paint = np.dstack([scene.color * 255, np.full(scene.label.shape, 128)]).clip(0, 255).astype(np.uint8)
    inks = np.stack(scene.palette)[[6, 7, 0, 3, 5, 1]]
    for loop in range(34 + round(40 * scene.habits.density)):
        color = np.clip(inks[loop % (2 + scene.habits.kind % 5)] * rng.uniform(0.85, 1.1) * 255, 0, 255).tolist()
        color.append(int(rng.integers(140, 250)))
        knots = np.cumsum(rng.normal(0, 0.13, (9, 2)), axis=0) + rng.uniform(0.1, 0.9, 2)
        path = cv2.resize(knots.astype(np.float32), (2, 90), interpolation=cv2.INTER_CUBIC) * [
            scene.width,
            scene.height,
        ]
        pulse = 0.35 + np.abs(np.sin(np.linspace(0, rng.uniform(3, 12), 90) + rng.uniform(0, 6)))
        widths = np.maximum(1, pulse * brush.width * scene.unit / 1000 * rng.uniform(0.25, 1)).round().astype(int)
        points = np.round(path * 8).astype(int).tolist()
        for start, end, width in zip(points, points[1:], widths.tolist(), strict=False):
            cv2.line(paint, start, end, color, width, cv2.LINE_AA, 3)
        for spot in path[rng.integers(90, size=9)] + rng.normal(0, 0.03, (9, 2)) * scene.unit:
            radius = int(rng.exponential(0.35) * brush.width * scene.unit / 1000 * 8) + 6
            cv2.circle(paint, np.round(spot * 8).astype(int).tolist(), radius, color, -1, cv2.LINE_AA, 3)
    return _impasto(paint[..., :3], paint[..., 3], scene.angle, brush.relief, scene)


ENGINES: dict[str, Callable[[Scene, Brush], np.ndarray]] = {
    "dabs": dabs,
    "glaze": glaze,
    "flat": flat,
    "dots": dots,
    "facets": facets,
    "halftone": halftone,
    "sweeps": sweeps,
    "drips": drips,
}

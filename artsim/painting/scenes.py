"""What a made-up painting shows before any brush touches it: colours, directions, and which thing is where.

H, W: height and width of the scene, px. Colours are RGB float32, 0..1. Places are shares of width and height, sizes are
shares of `unit`, the side of the square that has the scene's area; both so that a scene fits any format.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np


class Palette(NamedTuple):
    """What a painter has mixed, by what it is for; each (3,)."""

    sky: np.ndarray
    glow: np.ndarray
    far: np.ndarray
    land: np.ndarray
    leaf: np.ndarray
    water: np.ndarray
    dark: np.ndarray
    accent: np.ndarray


class Habits(NamedTuple):
    """How a painter composes."""

    horizon: float  # share of the height that lies above it
    light: float  # direction that light comes from, radians; -pi/2 is straight above
    density: float  # 0 sparse .. 1 crowded
    kind: int  # which tree, hat, vessel
    modelling: float  # 0 flat shapes .. 1 round ones


class Scene:
    """Colours with the direction in which a brush would follow them, and which thing each pixel belongs to."""

    def __init__(self, size: tuple[int, int], palette: Palette, habits: Habits, rng: np.random.Generator) -> None:
        width, height = size
        self.palette, self.habits, self.rng = palette, habits, rng
        self.width, self.height, self.unit = width, height, float(np.sqrt(width * height))
        self.x = np.linspace(0, 1, width, dtype=np.float32)[None, :]
        self.y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
        self.color = np.empty((height, width, 3), np.float32)
        self.color[:] = palette.land
        self.angle = np.zeros((height, width), np.float32)
        self.label = np.zeros((height, width), np.int32)
        self._labels = 0

    def noise(self, cells: float, stretch: float = 1.0, octaves: int = 3) -> np.ndarray:
        """Smooth noise of mean 0 and deviation about 1, (H, W); `stretch` > 1 draws it out sideways."""
        finest = cells * 2 ** (octaves - 1) * 4 / self.unit  # four samples to a bump are enough until the end
        size = (max(2, round(self.width * min(1.0, finest))), max(2, round(self.height * min(1.0, finest))))
        total = np.zeros(size[::-1], np.float32)
        for octave in range(octaves):
            rows = int(np.clip(round(cells * 2**octave * self.height / self.unit), 2, size[1]))
            cols = int(np.clip(round(cells * 2**octave * self.width / self.unit / stretch), 2, size[0]))
            grid = self.rng.standard_normal((rows, cols), dtype=np.float32)
            total += cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC) * 0.55**octave
        return cv2.resize(total, (self.width, self.height), interpolation=cv2.INTER_LINEAR)

    def curve(self, bumps: float, octaves: int = 4) -> np.ndarray:
        """A rough line of height about -1..1 over the width, (W,)."""
        total = np.zeros(self.width, np.float32)
        for octave in range(octaves):
            knots = self.rng.uniform(-1, 1, max(3, round(bumps * 2**octave))).astype(np.float32)
            total += cv2.resize(knots[None], (self.width, 1), interpolation=cv2.INTER_CUBIC)[0] * 0.5**octave
        return total

    def below(self, line: np.ndarray, top: np.ndarray, bottom: np.ndarray, angle: float = 0.0) -> None:
        """Cover all that lies below a line (W,), a share of the height, with colours that run from top to bottom."""
        first = int(np.clip(line.min() * self.height - 1, 0, self.height - 1))
        rows = slice(first, self.height)
        depth = self.y[rows] - line[None, :].astype(np.float32)
        cover = np.clip(depth * self.height, 0, 1)
        shade = np.sqrt(np.clip(depth / max(1 - float(line.min()), 0.05), 0, 1))
        self._blend(rows, cover, top + shade[..., None] * (bottom - top))
        inside = depth > 0
        self._labels += 1
        self.label[rows][inside] = self._labels
        slope = np.arctan(np.gradient(line) * self.height)[None, :] + angle
        np.copyto(self.angle[rows], slope, where=inside, casting="same_kind")

    def _blend(self, rows: slice, cover: np.ndarray, color: np.ndarray) -> None:
        """Lay a colour over some rows; it is overwritten, which saves time."""
        color -= self.color[rows]
        color *= cover[..., None]
        self.color[rows] += color

    def fill(self, points: np.ndarray, color: np.ndarray, relief: float = 1.0, angle: float | None = None) -> None:
        """Fill a polygon (N, 2), px, and model it as if it bulged towards the eye and the light fell on it."""
        low = np.maximum(np.floor(points.min(axis=0)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 2, [self.width, self.height])
        if (high - low < 2).any():
            return
        window = np.s_[low[1] : high[1], low[0] : high[0]]
        mask = np.zeros((high - low)[::-1], np.uint8)
        cv2.fillPoly(mask, [np.round((points - low) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        cover = (mask.astype(np.float32) / 255)[..., None]
        bulge = self._bulge(mask) if relief else None
        lit = self._lit(bulge, relief * self.habits.modelling) if bulge else 1.0
        self.color[window] += cover * (color * lit - self.color[window])
        inside = mask > 127
        self._labels += 1
        self.label[window][inside] = self._labels
        if angle is not None:
            self.angle[window][inside] = angle
        elif bulge:
            self.angle[window][inside] = np.arctan2(bulge[1], -bulge[2])[inside]

    def _bulge(self, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """A soft heap in a mask's shape, 0..1, its slopes to the right and down, and its softness in its own grid."""
        shrink = max(1.0, max(mask.shape) / 64)  # so that the cost does not grow with the shape
        small = (max(2, round(mask.shape[1] / shrink)), max(2, round(mask.shape[0] / shrink)))
        heap: np.ndarray = cv2.resize(mask, small, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        size = max(1.0, min(small) * 0.22)
        heap = cv2.GaussianBlur(heap, (0, 0), size, borderType=cv2.BORDER_CONSTANT)
        right, down = cv2.Sobel(heap, cv2.CV_32F, 1, 0), cv2.Sobel(heap, cv2.CV_32F, 0, 1)
        whole = cv2.resize(cv2.merge([heap, right, down]), mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return whole[..., 0], whole[..., 1], whole[..., 2], size

    def _lit(self, bulge: tuple[np.ndarray, np.ndarray, np.ndarray, float], relief: float) -> np.ndarray:
        heap, right, down, size = bulge
        slope = -(right * np.cos(self.habits.light) + down * np.sin(self.habits.light)) * size * 0.32
        return (1 + relief * np.clip(slope + 0.25 * (heap - 0.55), -0.62, 0.55))[..., None]

    def dim(self, center: np.ndarray, rx: float, ry: float) -> None:
        """Lay a soft shadow on the ground; radii in units. Flat painters hardly do."""
        reach = np.array([rx, ry]) * self.unit
        low = np.maximum(np.floor(center - reach).astype(int), 0)
        high = np.minimum(np.ceil(center + reach).astype(int) + 1, [self.width, self.height])
        if (high - low < 1).any():
            return
        across, down = (np.arange(low[axis], high[axis], dtype=np.float32) - center[axis] for axis in (0, 1))
        away = (across[None, :] / reach[0]) ** 2 + (down[:, None] / reach[1]) ** 2
        depth = np.clip(1.15 - away, 0, 1) * 0.55 * (0.15 + 0.85 * self.habits.modelling)
        self.color[low[1] : high[1], low[0] : high[0]] *= (1 - depth)[..., None].astype(np.float32)

    def shade(self, foot: np.ndarray, size: float) -> None:
        """The shadow that something throws on the ground, away from the light; size in units."""
        away = np.array([-np.cos(self.habits.light), 0.1]) * size * self.unit * 0.6
        self.dim(foot + away, size * 1.1, size * 0.24)

    def specks(self, points: np.ndarray, sizes: np.ndarray, colors: np.ndarray) -> None:
        """Many small leaves: places (N, 2) px, lengths (N,) in units, colours (N, 3). They get no contour."""
        turns = self.rng.integers(0, 180, len(points)).tolist()
        axes = np.maximum(1, np.outer(sizes * self.unit, [1.0, 0.6]).round()).astype(int).tolist()
        for place, size, turn, color in zip(points.astype(int).tolist(), axes, turns, colors.tolist(), strict=True):
            cv2.ellipse(self.color, place, size, turn, 0, 360, color, -1)

    def at(self, x: float, y: float) -> np.ndarray:
        """A place in px, from shares of width and height."""
        return np.array([x * self.width, y * self.height])

    def oval(self, center: np.ndarray, rx: float, ry: float, turn: float = 0.0, rough: float = 0.0) -> np.ndarray:
        """Outline (N, 2) of an ellipse with radii in units, its rim uneven by `rough`."""
        turns = np.linspace(0, 2 * np.pi, 36, endpoint=False)
        radius = 1 + rough * np.interp(turns, np.linspace(0, 2 * np.pi, 10), np.resize(self.rng.uniform(-1, 1, 9), 10))
        x, y = rx * self.unit * radius * np.cos(turns), ry * self.unit * radius * np.sin(turns)
        cos, sin = np.cos(turn), np.sin(turn)
        return center + np.stack([x * cos - y * sin, x * sin + y * cos], axis=1)

    def ribbon(self, path: np.ndarray, widths: np.ndarray) -> np.ndarray:
        """Outline of a band along a path (N, 2) px, with a width in units at each point."""
        ahead = np.gradient(path, axis=0)
        normal = (
            np.stack([-ahead[:, 1], ahead[:, 0]], axis=1) / np.maximum(np.linalg.norm(ahead, axis=1), 1e-6)[:, None]
        )
        side = normal * (widths * self.unit / 2)[:, None]
        return np.concatenate([path + side, (path - side)[::-1]])

    def mix(self, first: np.ndarray, second: np.ndarray, spread: float = 0.5) -> np.ndarray:
        """A colour somewhere between two, a little lighter or darker each time."""
        share = self.rng.uniform(0, spread)
        return np.clip(first * (1 - share) + second * share + self.rng.uniform(-0.04, 0.04), 0, 1)

    def glow(self, x: float, y: float, radius: float, strength: float) -> None:
        """Light up the surroundings of a place, as a low sun or a lamp does; radius in units."""
        dx, dy = ((self.x - x) * self.width)[:, ::4], ((self.y - y) * self.height)[::4]
        coarse = strength * np.exp(-(dx**2 + dy**2) / np.float32(2 * (radius * self.unit) ** 2))
        light = cv2.resize(coarse, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        self._blend(slice(None), light, np.broadcast_to(self.palette.glow * 1.06, self.color.shape).copy())


def bezier(points: list[np.ndarray], count: int = 24) -> np.ndarray:
    """A smooth path (count, 2) from the first of 3 or 4 points to the last."""
    t = np.linspace(0, 1, count)[:, None]
    while len(points) > 1:
        points = [a + (b - a) * t for a, b in pairwise(points)]
    return points[0]


def rounded(corners: np.ndarray) -> np.ndarray:
    """A closed outline (N, 2) with its corners cut twice (Chaikin 1974), (4 N, 2)."""
    for _ in range(2):
        ahead = np.roll(corners, -1, axis=0)
        corners = np.stack([0.75 * corners + 0.25 * ahead, 0.25 * corners + 0.75 * ahead], axis=1).reshape(-1, 2)
    return corners

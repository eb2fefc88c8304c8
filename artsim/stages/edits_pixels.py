"""What people do to a picture: cut, code, blur, turn, recolour, rearrange.

An edit takes a picture (H, W, 3) uint8 RGB, its strength and a generator, from which every random choice comes, and
gives another such picture, of whatever size. Sigma and other lengths are shares of the longer side.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from artsim.images import decode_jpeg, encode_jpeg
from artsim.stages.filters import clip, mix, turn_hue

Rng = np.random.Generator
Pixels = Callable[[np.ndarray, int, Rng], np.ndarray]

_STROKE_PX = 21
"""Length of the strokes that restyle draws, for pictures of some 450 px."""


def crop(picture: np.ndarray, percent: int, rng: Rng) -> np.ndarray:
    """A part with so many per cent of width and height, from anywhere."""
    height, width = (max(1, round(side * percent / 100)) for side in picture.shape[:2])
    top, left = (
        int(rng.integers(whole - part + 1)) for whole, part in zip(picture.shape, (height, width), strict=False)
    )
    return picture[top : top + height, left : left + width]


def jpeg(picture: np.ndarray, quality: int, rng: Rng) -> np.ndarray:
    """As if saved as JPEG of this quality."""
    return decode_jpeg(encode_jpeg(picture, quality))


def blur(picture: np.ndarray, thousandths: int, rng: Rng) -> np.ndarray:
    """Gaussian blur; the standard deviation in thousandths of the longer side."""
    return cv2.GaussianBlur(picture, (0, 0), max(thousandths / 1000 * max(picture.shape), 0.1))


def noise(picture: np.ndarray, deviation: int, rng: Rng) -> np.ndarray:
    """Normal noise of this standard deviation, of 255 levels, in every pixel and channel by itself."""
    added = picture + deviation * rng.standard_normal(picture.shape, np.float32)
    return added.round().clip(0, 255).astype(np.uint8)


def greyscale(picture: np.ndarray, strength: int, rng: Rng) -> np.ndarray:
    """Lightness alone (Rec. 601)."""
    return cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def hue(picture: np.ndarray, degrees: int, rng: Rng) -> np.ndarray:
    """All hues turned by this angle, one way or the other; lightness stays but where a colour leaves what RGB holds."""
    return _to_bytes(turn_hue(_to_floats(picture), degrees * _sign(rng)))


def flip(picture: np.ndarray, strength: int, rng: Rng) -> np.ndarray:
    """Left and right exchanged."""
    return picture[:, ::-1]


def rotate(picture: np.ndarray, degrees: int, rng: Rng) -> np.ndarray:
    """Turned, one way or the other: by a right angle as it is, else enlarged until no corner is empty."""
    if degrees % 90 == 0:
        return np.rot90(picture, degrees // 90 * _sign(rng))
    height, width = picture.shape[:2]
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    scale = max((width * cos + height * sin) / width, (width * sin + height * cos) / height)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees * _sign(rng), scale)
    return cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def shuffle(picture: np.ndarray, grid: int, rng: Rng) -> np.ndarray:
    """Cut into grid x grid patches that change places, none staying where it was: the same paint, no composition."""
    height, width = (max(1, side // grid) for side in picture.shape[:2])
    picture = cv2.resize(picture, (grid * width, grid * height), interpolation=cv2.INTER_AREA)
    patches = picture.reshape(grid, height, grid, width, 3).swapaxes(1, 2).reshape(-1, height, width, 3)
    order = rng.permutation(len(patches))
    moved = np.empty_like(patches)
    moved[order] = patches[np.roll(order, 1)]  # one cycle through all places
    return moved.reshape(grid, grid, height, width, 3).swapaxes(1, 2).reshape(picture.shape)


def restyle(picture: np.ndarray, percent: int, rng: Rng) -> np.ndarray:
    """Another hand: strokes smoothed away and others drawn, colours moved to another palette; things stay in place.

    Lab means and spreads are moved as by Reinhard et al. 2001, "Color transfer between images", to drawn values.
    """
    smooth = picture
    for _ in range(2):
        smooth = cv2.bilateralFilter(smooth, 9, 45, 6)
    lab = cv2.cvtColor(_to_floats(smooth), cv2.COLOR_RGB2Lab)
    colours = lab[..., 1:] - lab[..., 1:].mean((0, 1))
    turn, towards = np.radians(rng.uniform([90, 0], [270, 360]))
    cos, sin = np.cos(turn), np.sin(turn)
    colours = colours @ np.array([[cos, -sin], [sin, cos]], np.float32) * np.float32(rng.uniform(0.7, 1.5))
    lab[..., 1:] = colours + np.float32(18) * np.array([np.cos(towards), np.sin(towards)], np.float32)
    lab[..., 0] = 50 + (lab[..., 0] - lab[..., 0].mean()) * rng.uniform(0.8, 1.1) + 4 * _strokes(lab.shape[:2], rng)
    return _to_bytes(mix(_to_floats(picture), clip(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB)), percent / 100))


def _strokes(shape: tuple[int, int], rng: Rng) -> np.ndarray:
    """Strokes in one direction, as a field (H, W) float32 of mean 0 and deviation 1 or so."""
    angle = rng.uniform(0, np.pi)
    reach = _STROKE_PX // 2
    ends = [round(reach + side * reach * along) for side in (-1, 1) for along in (np.cos(angle), np.sin(angle))]
    kernel = cv2.line(np.zeros((_STROKE_PX, _STROKE_PX), np.float32), ends[:2], ends[2:], 1.0, 3)
    field = cv2.filter2D(rng.standard_normal(shape, np.float32), -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    return field / np.sqrt((kernel**2).sum())


def _sign(rng: Rng) -> int:
    return int(rng.choice((-1, 1)))


def _to_floats(picture: np.ndarray) -> np.ndarray:
    return np.float32(1 / 255) * picture


def _to_bytes(picture: np.ndarray) -> np.ndarray:
    return (picture * 255).round().astype(np.uint8)


PIXELS: dict[str, Pixels] = {
    "crop": crop,
    "jpeg": jpeg,
    "blur": blur,
    "noise": noise,
    "greyscale": greyscale,
    "hue": hue,
    "flip": flip,
    "rotate": rotate,
    "shuffle": shuffle,
    "restyle": restyle,
}
"""The edits of this module by the name that the settings give them."""

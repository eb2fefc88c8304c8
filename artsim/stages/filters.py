"""Colour, light and geometry, for the local stand-in of image generation.

A picture is (S, S, 3) float32 RGB in 0..1, a field (S, S) float32; lengths and places are shares of the side S.
Every random choice comes from the generator that is handed in.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

Colour = tuple[int, int, int]

_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])  # NTSC, 1953


def rgb(colour: Colour) -> np.ndarray:
    """A colour as (3,) float32 in 0..1."""
    return np.array(colour, np.float32) / 255


def mix(first: np.ndarray, second: np.ndarray | float, share: np.ndarray | float) -> np.ndarray:
    """Two pictures, or a picture and a colour, blended; share 0..1 of the second, a number or a field (S, S)."""
    weight = share[..., None] if isinstance(share, np.ndarray) else share
    return first + (second - first) * weight


def clip(picture: np.ndarray) -> np.ndarray:
    """The picture within 0..1."""
    return np.clip(picture, 0, 1, dtype=np.float32)


def luma(picture: np.ndarray) -> np.ndarray:
    """Lightness field 0..1 (Rec. 601 weights)."""
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


def blur(array: np.ndarray, radius: float) -> np.ndarray:
    """Gaussian blur; the standard deviation is a share of the side."""
    return cv2.GaussianBlur(array, (0, 0), max(radius * len(array), 0.3), borderType=cv2.BORDER_REFLECT)


def places(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Fields x (from the left) and y (from the top), both 0..1."""
    steps = np.linspace(0, 1, side, dtype=np.float32)
    x, y = np.meshgrid(steps, steps)
    return x, y


def noise(rng: np.random.Generator, side: int, cells: int) -> np.ndarray:
    """A smooth random field about -1..1 with so many bumps across."""
    coarse = rng.uniform(-1, 1, (cells + 3, cells + 3)).astype(np.float32)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def equalise(field: np.ndarray, share: float) -> np.ndarray:
    """The field with its tones spread evenly over 0..1, by a share of the way (histogram equalisation)."""
    even = cv2.equalizeHist((clip(field) * 255).astype(np.uint8)).astype(np.float32) / 255
    return mix(field, even, share)


def turn_hue(picture: np.ndarray, degrees: float, saturation: float = 1.0) -> np.ndarray:
    """Rotate all hues by an angle and scale the saturation; lightness stays (a rotation of I and Q in YIQ)."""
    cos, sin = np.cos(np.radians(degrees)) * saturation, np.sin(np.radians(degrees)) * saturation
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return clip(cv2.transform(picture, np.linalg.inv(_YIQ) @ turn @ _YIQ))


def ramp(field: np.ndarray, colours: Sequence[Colour]) -> np.ndarray:
    """A picture from a field 0..1: the colours, evenly spaced, from dark to light."""
    stops = np.linspace(0, 255, len(colours))
    table = [np.interp(np.arange(256), stops, channel) / 255 for channel in np.transpose(colours)]
    return np.stack(table, -1).astype(np.float32)[(clip(field) * 255).astype(np.uint8)]


def tint(picture: np.ndarray, colours: Sequence[Colour], share: float) -> np.ndarray:
    """Draw a picture's colours towards a ramp from a near-black through the colours to a near-white."""
    darkest, lightest = np.array(colours[0]) * 0.18, 255 - (255 - np.array(colours[-1])) * 0.2
    stops = [tuple(darkest.astype(int)), *colours, tuple(lightest.astype(int))]
    return mix(picture, ramp(equalise(luma(picture), 0.4), stops), share)


def tone(picture: np.ndarray, gamma: float, contrast: float = 1.0) -> np.ndarray:
    """Lighten (gamma below 1) or darken, then stretch around the middle."""
    return clip((np.power(clip(picture), gamma) - 0.5) * contrast + 0.5)


def slant_light(picture: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Light that falls from one side: that side warmer and brighter, the other darker and cooler."""
    x, y = places(len(picture))
    angle = rng.uniform(0, 2 * np.pi)
    field = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) + 0.25 * noise(rng, len(picture), 2)
    gain = np.exp(field[..., None] * strength * np.array([3.2, 2.6, 1.9], np.float32))
    return clip(picture * gain)


def spot_light(picture: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """A pool of warm light; the rest falls back into the dark."""
    x, y = places(len(picture))
    centre_x, centre_y = rng.uniform(0.25, 0.75, 2)
    pool = np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / 0.09)
    gain = (1 - 0.85 * strength) + 1.6 * strength * pool
    return clip(picture * gain[..., None] * np.array([1.06, 1.0, 0.9], np.float32))


def glow(picture: np.ndarray, share: float) -> np.ndarray:
    """Let bright places bleed into what is around them (screen blending of a blurred copy)."""
    halo = blur(picture * luma(picture)[..., None], 0.025)
    return clip(1 - (1 - picture) * (1 - share * halo))


def vignette(picture: np.ndarray, share: float) -> np.ndarray:
    """Darken towards the corners."""
    x, y = places(len(picture))
    fall = 1 - share * np.clip(((x - 0.5) ** 2 + (y - 0.5) ** 2) * 2.4 - 0.15, 0, 1)
    return picture * fall[..., None]


def sample(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The picture read at other places; it is mirrored beyond its edges."""
    at_x, at_y = ((place * (len(picture) - 1)).astype(np.float32) for place in (x, y))
    return cv2.remap(picture, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def ripple(picture: np.ndarray, rng: np.random.Generator, amount: float, cells: int) -> np.ndarray:
    """Shift everything by a smooth random field; amount is the largest shift."""
    x, y = places(len(picture))
    shift_x, shift_y = (amount * noise(rng, len(picture), cells) for _ in "xy")
    return sample(picture, x + shift_x, y + shift_y)


def swirl(picture: np.ndarray, rng: np.random.Generator, turns: float) -> np.ndarray:
    """Twist the picture around a place near its middle."""
    x, y = places(len(picture))
    centre_x, centre_y = rng.uniform(0.3, 0.7, 2)
    away_x, away_y = x - np.float32(centre_x), y - np.float32(centre_y)
    angle = turns * 2 * np.pi * np.exp(-(away_x**2 + away_y**2) / 0.07)
    cos, sin = np.cos(angle), np.sin(angle)
    return sample(picture, centre_x + away_x * cos - away_y * sin, centre_y + away_x * sin + away_y * cos)


def window(picture: np.ndarray, corner: np.ndarray, side: float) -> np.ndarray:
    """A square part of the picture from its upper left corner (x, y), enlarged to the whole canvas."""
    (left, top), length = (corner * len(picture)).astype(int), round(side * len(picture))
    part = picture[top : top + length, left : left + length]
    return clip(cv2.resize(part, picture.shape[1::-1], interpolation=cv2.INTER_CUBIC))


def reframe(picture: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Look from a slightly other place: each corner moves inwards by up to `amount` of the side (a perspective)."""
    side = np.float32(len(picture) - 1)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], np.float32)
    seen = corners + inwards * rng.uniform(0, amount, (4, 2)).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(corners * side, seen * side)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(picture, matrix, picture.shape[1::-1], flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def blob(rng: np.random.Generator, side: int, size: float) -> np.ndarray:
    """A soft-edged irregular patch as a field 0..1, somewhere near the middle."""
    x, y = places(side)
    centre_x, centre_y = rng.uniform(0.25, 0.75, 2)
    distance = np.hypot(x - centre_x, y - centre_y) + 0.25 * size * noise(rng, side, 5)
    return np.clip((size - distance) / (0.15 * size), 0, 1).astype(np.float32)

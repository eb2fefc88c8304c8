"""What a picture is shown in: seen from the side, framed, with a watermark, in a window on a screen, among others.

Edits as in edits_pixels.py.
"""

from __future__ import annotations

import cv2
import numpy as np

from artsim.images import crop_box
from artsim.stages.edits_pixels import Pixels, Rng

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WALLS = ((226, 222, 214), (198, 200, 202), (236, 234, 230), (150, 146, 140))
_FRAMES = ((176, 136, 60), (92, 62, 40), (48, 40, 36), (206, 198, 184))
_WORDS = ("museum", "oil on canvas", "share", "collection", "search", "about the artist", "download", "next", "prints")
_SCREEN_RATIO = 16 / 10


def perspective(picture: np.ndarray, percent: int, rng: Rng) -> np.ndarray:
    """Seen from one side: the far edge is so many per cent shorter, and a wall fills what gets free."""
    height, width = picture.shape[:2]
    near = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    first = int(rng.integers(4))  # the far edge runs from this corner to the next
    seen = near.copy()
    for corner, other in ((first, (first + 1) % 4), ((first + 1) % 4, first)):
        seen[corner] += (near[other] - near[corner]) * percent / 200
        opposite = near[(corner + (-1 if corner == first else 1)) % 4]
        seen[corner] += (opposite - near[corner]) * percent / 100  # and it is farther away
    size = np.array([width - 1, height - 1], np.float32)
    matrix = cv2.getPerspectiveTransform(near * size, seen * size)
    wall = _WALLS[rng.integers(len(_WALLS))]
    left, top = np.floor(seen.min(0) * size).astype(int)
    right, bottom = np.ceil(seen.max(0) * size).astype(int) + 1
    flat = cv2.warpPerspective(picture, matrix, (width, height), borderMode=cv2.BORDER_CONSTANT, borderValue=wall)
    return crop_box(flat, (left, top, right - left, bottom - top))


def frame(picture: np.ndarray, percent: int, rng: Rng) -> np.ndarray:
    """In a wooden or gilded frame, whose bars are so many per cent of the shorter side wide."""
    wide = max(1, round(min(picture.shape[:2]) * percent / 100))
    colour = np.array(_FRAMES[rng.integers(len(_FRAMES))], np.float32)
    height, width = (side + 2 * wide for side in picture.shape[:2])
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    down, across = np.minimum(rows, height - 1 - rows), np.minimum(columns, width - 1 - columns)
    depth = np.minimum(np.minimum(down, across), wide)  # px from the outer edge
    lit = (rows < height // 2) & (down <= across) | (columns < width // 2) & (across < down)  # light from upper left
    steps = np.arange(wide + 1, dtype=np.float32) / wide
    profile = 0.8 + 0.25 * np.sin(steps * np.pi) - 0.3 * (steps > 0.9)
    shades = np.array([0.85, 1.05], np.float32)[:, None, None] * profile[:, None] * colour
    framed = shades.round().clip(0, 255).astype(np.uint8)[lit.astype(np.int8), depth]
    framed[wide:-wide, wide:-wide] = picture
    return framed


def watermark(picture: np.ndarray, percent: int, rng: Rng) -> np.ndarray:
    """White words across the whole picture, this opaque."""
    height, width = picture.shape[:2]
    side = int(np.hypot(height, width)) + 1
    mask = np.zeros((side, side), np.uint8)
    scale, step = side / 640, max(8, side // 7)
    for line, bottom in enumerate(range(step // 2, side, step)):
        start = -int(rng.integers(step)) - line % 2 * step
        cv2.putText(mask, "SAMPLE  " * 6, (start, bottom), _FONT, scale, 255, max(1, round(2.5 * scale)), cv2.LINE_AA)
    turned = cv2.warpAffine(mask, cv2.getRotationMatrix2D((side / 2, side / 2), 30, 1), (side, side))
    top, left = (side - height) // 2, (side - width) // 2
    share = turned[top : top + height, left : left + width, None] * np.float32(percent / 100 / 255)
    return (picture + (255 - picture.astype(np.float32)) * share).round().astype(np.uint8)


def screenshot(picture: np.ndarray, percent: int, rng: Rng) -> np.ndarray:
    """In a window on a screen: as large as fits in so many per cent of the page's width and height, text around it."""
    width = max(64, *picture.shape[:2])
    height = round(width / _SCREEN_RATIO)
    screen = np.full((height, width, 3), rng.integers(30, 120, 3), np.uint8)
    margin, bar = width // 40, height // 9
    _window(screen, (margin, margin, width - 2 * margin, height - 2 * margin), bar)
    page = (2 * margin, margin + bar, width - 4 * margin, height - 2 * margin - bar)
    fits = min(page[2] * percent / 100 / picture.shape[1], page[3] * percent / 100 / picture.shape[0])
    size = max(1, round(picture.shape[1] * fits)), max(1, round(picture.shape[0] * fits))
    shown = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if fits < 1 else cv2.INTER_LINEAR)
    left = page[0] + int(rng.integers(page[2] - shown.shape[1] + 1))
    top = page[1] + (page[3] - shown.shape[0]) // 2
    _text(screen, page, rng)
    around = crop_box(screen, (left - 4, top - 2, shown.shape[1] + 8, shown.shape[0] + 4))
    around[:] = 255
    screen[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    return screen


def _window(screen: np.ndarray, box: tuple[int, int, int, int], bar: int) -> None:
    """A window with a title bar and an address, drawn into the screen."""
    left, top, width, height = box
    cv2.rectangle(screen, (left, top), (left + width, top + height), (255, 255, 255), -1)
    cv2.rectangle(screen, (left, top), (left + width, top + bar), (218, 220, 224), -1)
    radius, middle = max(2, bar // 6), top + bar // 2
    for index, colour in enumerate(((236, 106, 94), (244, 190, 80), (98, 198, 84))):
        cv2.circle(screen, (left + (3 * index + 3) * radius, middle), radius, colour, -1, cv2.LINE_AA)
    address = (left + width // 5, middle - 2 * radius), (left + width - 3 * radius, middle + 2 * radius)
    cv2.rectangle(screen, *address, (250, 250, 250), -1)


def _text(screen: np.ndarray, page: tuple[int, int, int, int], rng: Rng) -> None:
    """Lines of words all over the page."""
    region = crop_box(screen, page)
    step = max(8, len(region) // 12)
    for bottom in range(step, len(region), step):
        words = "  ".join(str(word) for word in rng.choice(_WORDS, 8))
        cv2.putText(region, words, (2, bottom), _FONT, step / 40, (70, 70, 74), 1, cv2.LINE_AA)


def collage(picture: np.ndarray, others: list[np.ndarray], rng: Rng) -> np.ndarray:
    """Four pictures in two rows, this one at any place; the three others are cut to its proportions."""
    height, width = (max(2, side) // 2 for side in picture.shape[:2])
    tiles = [_cover(tile, width, height) for tile in (picture, *others)]
    a, b, c, d = (tiles[at] for at in rng.permutation(4))
    return np.concatenate([np.concatenate([a, b], axis=1), np.concatenate([c, d], axis=1)])


def _cover(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """The middle of a picture, in the proportions of width and height, at that size."""
    scale = min(picture.shape[1] / width, picture.shape[0] / height)
    wide, high = (max(1, round(side * scale)) for side in (width, height))
    left, top = (picture.shape[1] - wide) // 2, (picture.shape[0] - high) // 2
    return cv2.resize(crop_box(picture, (left, top, wide, high)), (width, height), interpolation=cv2.INTER_AREA)


SCENES: dict[str, Pixels] = {
    "perspective": perspective,
    "frame": frame,
    "watermark": watermark,
    "screenshot": screenshot,
}
"""The edits of this module by the name that the settings give them; collage needs other pictures too."""

"""Pictures and captions -> frozen features, by measurement: the stand-ins for a vision encoder and a text tower."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from typing import ClassVar, NamedTuple

import cv2
import numpy as np

from artsim.config import EmbedConfig
from artsim.schemas import Batch, digest64

SQUARE_PX = 224
GRID = 7
NUM_ORIENTATIONS = 8
NUM_HUES = 12
CELLS = 14
_MIRRORED = -np.arange(NUM_ORIENTATIONS) % NUM_ORIENTATIONS
_LAB_MIDDLE, _LAB_RANGE, _LAB_SPREAD = np.array([[50, 0, 0], [40, 30, 30], [20, 10, 10]], np.float32)

# Share of each block in the squared length of `pooled`, and the length below which a block is faint and counts less
# (so that the noise of an empty canvas is not blown up to full size). Structure leads, because versions keep it and
# change the palette: alone, fine gradients find 4 in 5 strongly altered paintings again and colour finds none.
BLOCKS = {
    "fine_gradients": (0.32, 0.10),
    "mid_gradients": (0.16, 0.10),
    "lightness": (0.18, 1.00),
    "edges": (0.18, 0.50),
    "texture": (0.08, 0.50),
    "colour_layout": (0.04, 20.0),
    "hues": (0.02, 0.10),
    "lightnesses": (0.01, 0.10),
    "chromas": (0.01, 0.10),
}


class EmbedImage:
    """Measure the content box of a picture: gradients, light, texture and colour on a grid of patches.

    The box is squashed to 224 x 224 px whatever its shape, so that proportions cannot give a pair away.

    Reads  image (B,) JPEG bytes of a square; box (B, 4) int32, left, top, width, height of the content in px.
    Adds   pooled (B, 512) float32 of length 1 or less, made for cosine similarity; early (B, 76) float32, mean, then
           standard deviation, of 38 numbers over 14 x 14 cells: how the picture is made and not what is where, equal
           to those of its mirror image (Huang and Belongie 2017 take an early layer's); with config.tokens also
           tokens (B, 49, 80) float16, a row-major 7 x 7 grid of patches of 32 px, values of the order of 1;
           error (B,) None or `corrupt: ...`, `truncated: ...`, `empty: ...`; the features of such a row are zeros.
    """

    version: ClassVar[int] = 2
    determinism: ClassVar[str] = "exact"
    pooled_size: ClassVar[int] = 512
    early_size: ClassVar[int] = 2 * 38
    num_tokens: ClassVar[int] = GRID * GRID
    token_size: ClassVar[int] = 80

    def __init__(self, config: EmbedConfig) -> None:
        self.config = config
        cv2.setNumThreads(1)  # a worker is given one core; OpenCV would take all that the machine has

    def __call__(self, batch: Batch) -> Batch:
        num_rows = len(batch["image"])
        pooled = np.zeros((num_rows, self.pooled_size), np.float32)
        early = np.zeros((num_rows, self.early_size), np.float32)
        tokens = np.zeros((num_rows, self.num_tokens, self.token_size), np.float16)
        error = np.full(num_rows, None, object)
        for row, (data, box) in enumerate(zip(batch["image"], batch["box"], strict=True)):
            try:
                square = _squash(_decode(data), box)
            except ValueError as exception:
                error[row] = str(exception)
                continue
            maps = _measure(square)
            pooled[row], early[row] = _pool(maps), _manner(maps)
            if self.config.tokens:
                tokens[row] = _patches(maps)
        features = {"pooled": pooled, "early": early} | ({"tokens": tokens} if self.config.tokens else {})
        return batch | features | {"error": error}


class EmbedCaption:
    """Hash the words and pairs of neighbouring words of a caption (Weinberger et al. 2009, signed feature hashing).

    Reads  caption (B,) str.
    Adds   pooled (B, 512) float32 of length 1; error (B,) None or `empty: ...`, then pooled is zeros.
    """

    version: ClassVar[int] = 1
    determinism: ClassVar[str] = "exact"
    pooled_size: ClassVar[int] = 512

    def __init__(self, config: EmbedConfig) -> None:
        self.config = config

    def __call__(self, batch: Batch) -> Batch:
        pooled = np.zeros((len(batch["caption"]), self.pooled_size), np.float32)
        error = np.full(len(pooled), None, object)
        for row, caption in enumerate(batch["caption"]):
            words = re.findall(r"\w+", (caption or "").lower())
            if words:
                pooled[row] = self._hash(Counter(words + [f"{a} {b}" for a, b in pairwise(words)]))
            else:
                error[row] = "empty: the caption has no words"
        return batch | {"pooled": pooled, "error": error}

    def _hash(self, counts: Counter[str]) -> np.ndarray:
        vector = np.zeros(self.pooled_size, np.float32)
        for term, count in counts.items():
            digest = digest64(term)
            vector[digest % self.pooled_size] += (1 + np.log(count)) * (1 if digest >> 63 else -1)
        return vector / max(float(np.linalg.norm(vector)), 1e-6)


class _Maps(NamedTuple):
    """What is measured of a picture before it is summed over cells; H is 112 px where nothing else is said."""

    lab: np.ndarray  # (H, H, 3) CIE Lab
    relative: np.ndarray  # (H, H) lightness against its surroundings, in local standard deviations
    edges: np.ndarray  # (H, H) strength of the gradient, Lab units per px
    gradients: list[np.ndarray]  # (H, H, 8), then at H/2 and H/4: share of the local contrast at each orientation
    bands: list[np.ndarray]  # (H, H), H/2, H/4: amplitude of the details that the next level lacks, Lab units
    hues: np.ndarray  # (H/2, H/2, 12) membership of soft hue bins, less where there is little chroma
    chroma: np.ndarray  # (H/2, H/2)


def _decode(data: bytes | None) -> np.ndarray:
    """Pixels (H, W, 3) uint8 BGR; raises ValueError that starts with a reason."""
    if not data:
        raise ValueError("corrupt: no bytes")
    if data.startswith(b"\xff\xd8") and not data.endswith(b"\xff\xd9"):  # OpenCV fills what is missing with grey
        raise ValueError("truncated: the JPEG has no end marker")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as exception:
        raise ValueError(f"corrupt: {exception.err}") from exception
    if pixels is None:
        raise ValueError(f"corrupt: OpenCV cannot decode these {len(data)} bytes")
    return pixels


def _squash(pixels: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The content alone as (224, 224, 3) uint8; raises ValueError that starts with a reason.

    One axis after the other, because INTER_AREA antialiases only where both axes shrink.
    """
    left, top, width, height = (int(value) for value in box)
    if width < 1 or height < 1:
        raise ValueError(f"empty: the box {[left, top, width, height]} holds no pixels")
    if min(left, top) < 0 or left + width > pixels.shape[1] or top + height > pixels.shape[0]:
        raise ValueError(f"corrupt: the box {[left, top, width, height]} leaves a picture of shape {pixels.shape[:2]}")
    square = pixels[top : top + height, left : left + width]
    for old, size in ((width, (SQUARE_PX, height)), (height, (SQUARE_PX, SQUARE_PX))):
        square = cv2.resize(square, size, interpolation=cv2.INTER_AREA if old > SQUARE_PX else cv2.INTER_LINEAR)
    return square


def _measure(square: np.ndarray) -> _Maps:
    """All maps of a picture. Half of 224 px hides brush grain, JPEG noise and how far the box was shrunk."""
    lab = cv2.cvtColor(cv2.pyrDown(square).astype(np.float32) / 255, cv2.COLOR_BGR2Lab)
    pyramid = [lab]
    for _ in range(3):
        pyramid.append(cv2.pyrDown(pyramid[-1]))
    gradients, edges = zip(*(_gradients(level) for level in pyramid[:3]), strict=True)
    bands = [np.abs(a - cv2.pyrUp(b)).mean(-1) for a, b in pairwise(pyramid)]
    red, yellow = pyramid[1][..., 1], pyramid[1][..., 2]
    chroma = np.hypot(red, yellow)
    angles = np.arange(NUM_HUES, dtype=np.float32) * np.float32(2 * np.pi / NUM_HUES)
    cosines = (red[..., None] * np.cos(angles) + yellow[..., None] * np.sin(angles)) / np.maximum(chroma, 1)[..., None]
    # The eighth power leaves a bin about as wide as the distance to its neighbours; 20 is a clearly visible chroma.
    hues = np.maximum(cosines, 0) ** 8 * np.minimum(chroma / 20, 1)[..., None]
    return _Maps(lab, _relative(lab[..., 0]), edges[0], list(gradients), bands, hues, chroma)


def _gradients(lab: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orientation energies (H, W, 8) over local contrast, and gradient strength (H, W), of a picture in Lab.

    Orientation k is a gradient along k * 180 / 8 degrees. It is read from the structure tensor of all three channels
    (Di Zenzo 1986), so an edge between two colours of one lightness counts. Dividing by the contrast around it
    (Dalal and Triggs 2005) makes it independent of light; contrast below 0.6 per px counts as flat.
    """
    dx, dy = (cv2.Sobel(lab, cv2.CV_32F, 1 - axis, axis, ksize=3, scale=1 / 8) for axis in (0, 1))
    even, odd = (dx * dx - dy * dy).sum(-1), 2 * (dx * dy).sum(-1)
    strength = np.sqrt((dx * dx + dy * dy).sum(-1))
    squared = np.hypot(even, odd) + np.float32(1e-9)
    around = np.sqrt(cv2.GaussianBlur(squared, (0, 0), len(lab) / 8))
    angles = 2 * np.pi / NUM_ORIENTATIONS * np.arange(NUM_ORIENTATIONS, dtype=np.float32)
    share = (even / squared)[..., None] * np.cos(angles) + (odd / squared)[..., None] * np.sin(angles)
    return np.maximum(share, 0) ** 2 * (np.sqrt(squared) / (around + np.float32(0.6)))[..., None], strength


def _relative(lightness: np.ndarray) -> np.ndarray:
    """Lightness (H, W) less the mean around it, over the deviation around it: what is left when the lamp is moved."""
    sigma = len(lightness) / 8
    mean = cv2.GaussianBlur(lightness, (0, 0), sigma)
    variance = cv2.GaussianBlur(lightness * lightness, (0, 0), sigma) - mean * mean
    return (lightness - mean) / (np.sqrt(np.maximum(variance, 0)) + 2)


def _pool(maps: _Maps) -> np.ndarray:
    """One vector (512,) of a picture: every block centred, brought to its length in BLOCKS and joined."""
    texture = np.stack([np.log(_cells(band, 4) + np.float32(0.5)) for band in maps.bands[:2]])
    blocks = {
        "fine_gradients": _centred(_cells(maps.gradients[0], 4)),
        "mid_gradients": _centred(_cells(maps.gradients[1], 4)),
        "lightness": _centred(_cells(maps.relative, 10)),
        "edges": _centred(np.sqrt(_cells(maps.edges, 8))),
        "texture": texture - texture.mean((1, 2), keepdims=True),
        "colour_layout": _cells(maps.lab, 4)[..., 1:],
        "hues": _centred(np.sqrt(maps.hues.mean((0, 1)))),
        "lightnesses": _centred(_histogram(maps.lab[::2, ::2, 0], 100, 8)),
        "chromas": _centred(_histogram(maps.chroma, 70, 8)),
    }
    return np.concatenate([_scaled(block.reshape(-1), *BLOCKS[name]) for name, block in blocks.items()])


def _patches(maps: _Maps) -> np.ndarray:
    """Features (49, 80) of the patches. The factors bring every kind to a spread of about one half."""
    lab, spread = _cells(maps.lab, GRID), _spread(maps.lab)
    details = [np.log(_cells(band, GRID) + np.float32(0.5)) for band in (*maps.bands, maps.edges)]
    columns = [
        3 * _inside(_cells(maps.gradients[0], 2 * GRID)),  # 32: 8 orientations in each quarter of the patch
        3 * _cells(maps.gradients[1], GRID),  # 8
        3 * _cells(maps.gradients[2], GRID),  # 8
        _inside(_cells(maps.relative, 4 * GRID)[..., None]),  # 16: a 4 x 4 thumbnail of the relative lightness
        (lab - _LAB_MIDDLE) / _LAB_RANGE,  # 3
        spread / _LAB_SPREAD,  # 3
        2 * np.sqrt(_cells(maps.hues, GRID).reshape(GRID, GRID, -1, 2).sum(-1)),  # 6
        np.stack([detail - detail.mean() for detail in details], -1),  # 4: busier or calmer than the picture is
    ]
    return np.concatenate(columns, -1).reshape(GRID * GRID, -1)


def _manner(maps: _Maps) -> np.ndarray:
    """Mean and deviation (76,) over cells of colour, contrast, and the gradients' share of each orientation and scale.

    Orientations that are each other's mirror image count as one: 8 become 5.
    """
    lab, details = _cells(maps.lab, CELLS), [np.log(_cells(band, CELLS) + np.float32(0.5)) for band in maps.bands]
    spread = np.sqrt(np.maximum(_cells(maps.lab * maps.lab, CELLS) - lab * lab, 0))
    gradients = [_cells(gradient, CELLS) for gradient in maps.gradients]
    columns = [
        lab,  # 3
        spread,  # 3
        np.stack([*details, np.log(_cells(maps.edges, CELLS) + np.float32(0.5)), _cells(maps.chroma, CELLS)], -1),  # 5
        np.sqrt(_cells(maps.hues, CELLS)),  # 12
        *((gradient + gradient[..., _MIRRORED])[..., : NUM_ORIENTATIONS // 2 + 1] for gradient in gradients),  # 15
    ]
    numbers = np.concatenate(columns, -1).reshape(CELLS * CELLS, -1)
    return np.concatenate([numbers.mean(0), numbers.std(0)])


def _cells(values: np.ndarray, grid: int) -> np.ndarray:
    """Means (grid, grid) or (grid, grid, C) over equal cells of a map."""
    return cv2.resize(values, (grid, grid), interpolation=cv2.INTER_AREA)


def _inside(cells: np.ndarray) -> np.ndarray:
    """Cells (7 n, 7 n, C) as the features (7, 7, n n C) of the patch that they lie in."""
    side, channels = len(cells) // GRID, cells.shape[-1]
    return cells.reshape(GRID, side, GRID, side, channels).swapaxes(1, 2).reshape(GRID, GRID, -1)


def _spread(lab: np.ndarray) -> np.ndarray:
    """Standard deviation (7, 7, 3) inside each patch."""
    return np.sqrt(np.maximum(_cells(lab * lab, GRID) - _cells(lab, GRID) ** 2, 0))


def _histogram(values: np.ndarray, top: float, bins: int) -> np.ndarray:
    """Square roots of the shares (bins,) of values in 0..top, each shared by the two nearest bins (Hellinger)."""
    position = np.clip(values / top, 0, 1)[..., None] * np.float32(bins - 1)
    return np.sqrt(np.maximum(1 - np.abs(position - np.arange(bins, dtype=np.float32)), 0).mean((0, 1)))


def _centred(block: np.ndarray) -> np.ndarray:
    """Without its mean, which all pictures share and which would pull all cosines towards 1."""
    return block - block.mean()


def _scaled(block: np.ndarray, share: float, faint: float) -> np.ndarray:
    return block * np.float32(np.sqrt(share) / (np.linalg.norm(block) + faint))

"""Pictures -> what their files and frames tell without a look at what they show: cues that could give a pair away."""

from __future__ import annotations

import io
from typing import ClassVar

import cv2
import imagehash
import numpy as np
from PIL import Image

from artsim.config import CuesConfig
from artsim.images import DecodeError, open_content
from artsim.schemas import Batch

_SIDE_PX = 64
_LIGHTNESSES = np.linspace(0, 100, 5, dtype=np.float32)
_COLOURS = np.linspace(-60, 60, 7, dtype=np.float32)
"""Centres of the bins along L, and along a and b. What lies beyond 60 belongs to the outermost bin."""

# Annex K of ITU-T T.81: the tables of quality 50 of the IJG's library, of luminance and of chrominance. Their sums do
# not depend on the order in which a program names the 64 coefficients.
_LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29),
    *(51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121),
    *(120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (17, 18, 24, 47, 18, 21, 26, 66, 24, 26, 56, 99, 47, 66, 99, *[99] * 49)
_QUALITIES = np.arange(1, 101)


class MeasureCues:
    """Measure what a pair of pictures may share besides its likeness: file, frame, colours and a perceptual hash.

    Paintings are measured as `resized` holds them: at the quality of letterbox.jpeg_quality, bars and all, and not as
    their owners' files were.

    Reads  image (B,) JPEG bytes of a square; box (B, 4) int32, left, top, width, height of the content in px.
    Adds   num_bytes (B,) int64, of the file; jpeg_quality (B,) 1..100, as jpeg_quality gives it;
           aspect (B,) float32, width over height of the box; histogram (B, 245) float32 of length 1, as
           colour_histogram gives it; phash (B,) 16 hexadecimal digits of the content, as of a file in `artworks`;
           error (B,) None or `corrupt: ...`, `truncated: ...`, `empty: ...`; such a row has no numbers.
    """

    version: ClassVar[int] = 1
    determinism: ClassVar[str] = "exact"

    def __init__(self, config: CuesConfig) -> None:
        self.config = config
        cv2.setNumThreads(1)  # a worker is given one core; OpenCV would take all that the machine has

    def __call__(self, batch: Batch) -> Batch:
        num_rows = len(batch["image"])
        added: Batch = {name: np.full(num_rows, None, object) for name in ("jpeg_quality", "phash", "error")}
        added |= {"num_bytes": np.zeros(num_rows, np.int64), "aspect": np.zeros(num_rows, np.float32)}
        added["histogram"] = np.zeros((num_rows, len(_LIGHTNESSES) * len(_COLOURS) ** 2), np.float32)
        for row, (data, box) in enumerate(zip(batch["image"], batch["box"], strict=True)):
            try:
                content = open_content(data, box)
            except DecodeError as error:
                added["error"][row] = str(error)
                continue
            added["num_bytes"][row], added["aspect"][row] = len(data), box[2] / box[3]
            added["jpeg_quality"][row] = jpeg_quality(data)
            added["histogram"][row] = colour_histogram(np.asarray(content))
            added["phash"][row] = str(imagehash.phash(content))
        return batch | added


def jpeg_quality(data: bytes) -> int | None:
    """The IJG quality 1..100 whose quantisation tables have the mean of this file's; None for what is no JPEG.

    Exact for what Pillow and other programs on libjpeg wrote. Programs with tables of their own (Photoshop) get the
    quality that is coarse alike. Both tables count, one alone where the picture is grey.
    """
    with Image.open(io.BytesIO(data)) as image:
        tables = getattr(image, "quantization", None)
    if not tables:
        return None
    found = [float(np.mean(table)) for table in list(tables.values())[:2]]
    distance = np.sum([abs(_MEANS[index] - mean) for index, mean in enumerate(found)], axis=0)
    return int(_QUALITIES[len(_QUALITIES) - 1 - distance[::-1].argmin()])


def _means(table: tuple[int, ...]) -> np.ndarray:
    """Mean coefficient (100,) of a table at each quality (jcparam.c: jpeg_quality_scaling, jpeg_add_quant_table)."""
    scale = np.where(_QUALITIES < 50, 5000 // _QUALITIES, 200 - 2 * _QUALITIES)
    scaled: np.ndarray = ((np.array(table) * scale[:, None] + 50) // 100).clip(1, 255).mean(1)
    return scaled


_MEANS = (_means(_LUMINANCE), _means(_CHROMINANCE))


def colour_histogram(pixels: np.ndarray) -> np.ndarray:
    """Square roots of the shares (245,) float32 of colours in CIE Lab, 5 x 7 x 7 bins; pixels (H, W, 3) uint8 RGB.

    Each pixel is shared by the nearest bins along each axis, so that a small change of colour is a small change of
    shares. The roots have length 1, and the dot product of two is their Bhattacharyya coefficient.
    """
    small = cv2.resize(pixels, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2Lab).reshape(-1, 3)
    shares = [_soft(lab[:, axis], centres) for axis, centres in enumerate((_LIGHTNESSES, _COLOURS, _COLOURS))]
    histogram = np.einsum("pi,pj,pk->ijk", *shares, optimize=True) / len(lab)
    return np.sqrt(histogram).reshape(-1).astype(np.float32)


def _soft(values: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """How much of each value (P,) belongs to each bin (P, bins): linear between two centres, 1 in all."""
    position = (values.clip(centres[0], centres[-1]) - centres[0]) / (centres[1] - centres[0])
    shares: np.ndarray = np.maximum(1 - np.abs(position[:, None] - np.arange(len(centres), dtype=np.float32)), 0)
    return shares

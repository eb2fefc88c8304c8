"""Pictures -> the same, edited as people do, or framed otherwise: what robustness and shortcuts are measured on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

import cv2
import numpy as np

from artsim.config import EditConfig, GalleryConfig
from artsim.gallery import paint
from artsim.images import crop_box, decode_jpeg, encode_jpeg
from artsim.schemas import Batch, row_seed
from artsim.stages.edits_framing import FRAMES, Framed, Shape, on_black
from artsim.stages.edits_pixels import PIXELS
from artsim.stages.edits_scenes import SCENES, collage

NUM_BESIDE = 6
_BESIDE = GalleryConfig(max_side_px=224, seed=20_260_000)
"""Pictures for collages are made by code, or a work that is taken out of a root would still show beside others. The
seed is one that no gallery to train on has."""


class Edit:
    """Do to each picture what its row names, at a reduced side, and put it back on a black square.

    What the numbers mean: crop and screenshot, per cent of width and height; jpeg, the quality; blur, thousandths of
    the longer side; noise, levels of 255; hue and rotate, degrees; perspective and frame, per cent of a side;
    watermark, per cent of opacity; shuffle, patches across; restyle, per cent of the way.

    Reads  id, edit (B,), of versions level and variant too; image (B,) JPEG bytes of a square; box (B, 4) int32.
    Adds   image (B,) JPEG bytes of a square of config.size or the old side, whichever is less; None where the row
           failed; box (B, 4) int32, what an encoder should see of it; error (B,) None or `corrupt: ...`.
    """

    version: ClassVar[int] = 1
    determinism: ClassVar[str] = "exact"

    def __init__(self, config: EditConfig, seed: int, shapes: Mapping[str, Shape]) -> None:
        """`shapes`: width and height in px of the content of paintings, whose bars others get for bars-swapped."""
        cv2.setNumThreads(1)  # a worker has one core; results do not depend on it
        self.config, self.seed = config, seed
        self._shapes = sorted(shapes.items())

    def __call__(self, batch: Batch) -> Batch:
        num_rows = len(batch["edit"])
        images, errors = np.full(num_rows, None, object), np.full(num_rows, None, object)
        boxes = np.zeros((num_rows, 4), np.int32)
        keys = [batch[name] for name in ("id", "level", "variant", "edit") if name in batch]
        before: bytes | None = None
        for row, (data, box) in enumerate(zip(batch["image"], batch["box"], strict=True)):
            try:
                if data != before:  # rows of one picture lie side by side
                    square, before = decode_jpeg(data), data
            except OSError as error:
                errors[row] = f"corrupt: {error}"
                continue
            rng = np.random.default_rng(row_seed(self.seed, *(key[row] for key in keys)))
            edited, boxes[row] = self._edit(square, box, (batch["id"][row], batch["edit"][row]), rng)
            images[row] = encode_jpeg(edited, self.config.jpeg_quality)
        return batch | {"image": images, "box": boxes, "error": errors}

    def _edit(self, square: np.ndarray, box: np.ndarray, name: tuple[str, str], rng: np.random.Generator) -> Framed:
        painting, edit = name
        size = min(self.config.size, len(square))
        content = _reduced(crop_box(square, box), size)
        if edit in FRAMES:
            return FRAMES[edit](content, size, self._other(painting, rng), rng)
        kind, _, strength = edit.partition("-")
        if kind == "collage":
            beside = [self._beside[at] for at in rng.permutation(NUM_BESIDE)[:3]]
            return on_black(collage(content, beside, rng), size)
        return on_black((PIXELS | SCENES)[kind](content, int(strength or 0), rng), size)

    def _other(self, painting: str, rng: np.random.Generator) -> Shape:
        """The shape of another painting; of this one where it is alone."""
        num, at = len(self._shapes), int(rng.integers(len(self._shapes)))
        if self._shapes[at][0] == painting and num > 1:
            at = (at + int(rng.integers(1, num))) % num
        return self._shapes[at][1]

    @cached_property
    def _beside(self) -> list[np.ndarray]:
        return [decode_jpeg(paint(index, _BESIDE).image) for index in range(NUM_BESIDE)]


def _reduced(content: np.ndarray, size: int) -> np.ndarray:
    """The content with `size` px on its longer side; what is smaller stays."""
    longest = max(content.shape[:2])
    if longest <= size:
        return content
    height, width = (max(1, round(side * size / longest)) for side in content.shape[:2])
    return cv2.resize(content, (width, height), interpolation=cv2.INTER_AREA)

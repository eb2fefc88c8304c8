"""Squares -> small pictures of the painting alone, for lists and pages."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from PIL.Image import Resampling

from artsim.config import ThumbnailConfig
from artsim.images import DecodeError, encode_jpeg, open_content
from artsim.schemas import Batch


class Thumbnail:
    """Cut the painting out of its black square and shrink it.

    Reads  image (B,) JPEG bytes of a square; box (B, 4) int32, left, top, width, height of the content in px.
    Adds   image (B,) JPEG bytes whose longer side measures config.size px, or less where the square is smaller, and
           None where the row failed; error (B,) str or None.
    """

    version: ClassVar[int] = 1
    determinism: ClassVar[str] = "exact"

    def __init__(self, config: ThumbnailConfig) -> None:
        self.config = config

    def __call__(self, batch: Batch) -> Batch:
        num_rows = len(batch["image"])
        images, errors = np.full(num_rows, None, object), np.full(num_rows, None, object)
        for row, (data, box) in enumerate(zip(batch["image"], batch["box"], strict=True)):
            try:
                images[row] = self._shrink(data, box)
            except DecodeError as error:
                errors[row] = str(error)
        return batch | {"image": images, "error": errors}

    def _shrink(self, data: bytes | None, box: np.ndarray) -> bytes:
        content = open_content(data, box)
        scale = min(1.0, self.config.size / max(content.size))
        width, height = (max(1, round(side * scale)) for side in content.size)
        return encode_jpeg(content.resize((width, height), Resampling.LANCZOS), self.config.jpeg_quality)

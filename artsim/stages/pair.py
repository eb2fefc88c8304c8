"""Versions as found -> rows of `prompts` and `generated`, for a data set whose pairs exist already."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from artsim import images
from artsim.config import GenerateConfig
from artsim.images import DecodeError
from artsim.prompts import GIVEN
from artsim.schemas import Batch


class TakePrompt:
    """Keep what a version was asked for, where the table of pairs says it.

    Reads  prompt (B,) str or None.
    Adds   prompt (B,) str, empty where nothing is known; approach (B,) "given".
    """

    version: ClassVar[int] = 1
    determinism: ClassVar[str] = "exact"

    def __call__(self, batch: Batch) -> Batch:
        prompts = [prompt or "" for prompt in batch["prompt"]]
        return batch | {"prompt": np.array(prompts, object), "approach": np.full(len(prompts), GIVEN, object)}


class TakeVersion:
    """Fit a version into the square that generated pictures have.

    Reads  image (B,) bytes, encoded as found.
    Adds   image (B,) JPEG bytes of a square of config.size, None where the row failed; box (B, 4) int32, left, top,
           width, height of the content in px; error (B,) str or None.
    """

    version: ClassVar[int] = 1
    determinism: ClassVar[str] = "exact"

    def __init__(self, config: GenerateConfig, max_pixels: int) -> None:
        self.config = config
        self.max_pixels = max_pixels

    def __call__(self, batch: Batch) -> Batch:
        num_rows = len(batch["image"])
        squares, errors = np.full(num_rows, None, object), np.full(num_rows, None, object)
        boxes = np.zeros((num_rows, 4), np.int32)
        for row, data in enumerate(batch["image"]):
            try:
                image = images.decode(data, self.max_pixels)
            except DecodeError as error:
                errors[row] = str(error)
                continue
            square, boxes[row] = images.letterbox(image, self.config.size)
            squares[row] = images.encode_jpeg(square, self.config.jpeg_quality)
        return batch | {"image": squares, "box": boxes, "error": errors}

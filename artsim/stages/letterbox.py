"""Paintings as found -> black squares of fixed size that hold the whole painting."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from PIL.Image import Image, fromarray, merge

from artsim import images
from artsim.config import LetterboxConfig
from artsim.images import DecodeError, Extent, Resize
from artsim.schemas import Batch

DCT_MARGIN = 1.5
"""How many times the largest square's side a scaled painting must measure: the PSNR of content is 40 dB or more then.

With 1.1 it went down to 32 dB (287 paintings, squares of 512 px).
"""


class Letterbox:
    """Fit a painting into a black square without changing its proportions (thesis, preprocessing).

    Reads  image (B,) bytes, encoded as found.
    Adds   for each of config.sizes: image_1024 (B,) JPEG bytes, None where the row failed; box_1024 (B, 4) int32,
           left, top, width, height of the content in px. And error (B,) str or None.

    Every size is made from the decoded original, not from a larger square: those are the thesis's pixels. With
    config.dct_scaling it is made from a JPEG decoded at half its size or less, where that leaves LANCZOS enough. With
    config.resampler "torch" a value may be 2 of 255 levels off Pillow's.
    """

    version: ClassVar[int] = 1
    determinism: ClassVar[str] = "exact"

    def __init__(self, config: LetterboxConfig, max_pixels: int) -> None:
        self.config = config
        self.max_pixels = max_pixels
        self._resize: Resize = images.lanczos if config.resampler == "pillow" else torch_lanczos()

    def __call__(self, batch: Batch) -> Batch:
        num_rows, sizes = len(batch["image"]), self.config.sizes
        added: Batch = {f"image_{size}": np.full(num_rows, None, object) for size in sizes}
        added |= {f"box_{size}": np.zeros((num_rows, 4), np.int32) for size in sizes}
        added["error"] = np.full(num_rows, None, object)
        for row, data in enumerate(batch["image"]):
            try:
                image, extent = self._decode(data)
            except DecodeError as error:
                added["error"][row] = str(error)
                continue
            for size in sizes:
                square, added[f"box_{size}"][row] = images.letterbox(image, size, extent, self._resize)
                added[f"image_{size}"][row] = images.encode_jpeg(square, self.config.jpeg_quality)
        return batch | added

    def _decode(self, data: bytes) -> tuple[Image, Extent]:
        if self.config.dct_scaling:
            return images.decode_scaled(data, self.max_pixels, math.ceil(DCT_MARGIN * max(self.config.sizes)))
        image = images.decode(data, self.max_pixels)
        return image, image.size


def torch_lanczos() -> Resize:
    """Torch's LANCZOS: the arithmetic of Pillow-SIMD, whose weights have 16 bits, on vectors where there is AVX2."""
    import torch  # seconds and 0.2 GB, for those who ask for it
    from torch.nn import functional

    def lanczos(image: Image, size: tuple[int, int], extent: Extent) -> Image:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]  # a view, not colour by colour: that is slow
        # Told of the scale, torch rounds the size down: hence a hair more of it.
        across, down = (math.nextafter(side / length, math.inf) for side, length in zip(size, extent, strict=True))
        try:
            resized = functional.interpolate(pixels, scale_factor=(down, across), mode="lanczos", antialias=True)
        except RuntimeError as error:  # torch has no error of its own for a CPU that lacks memory
            if "allocate memory" in str(error):
                raise MemoryError(str(error)) from error
            raise
        return merge("RGB", [fromarray(plane) for plane in resized[0].numpy()])

    return lanczos

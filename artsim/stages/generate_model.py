"""Image-to-image generation with SDXL's refiner: rows in, versions out, with the card kept busy in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch

from artsim.config import GenerateConfig
from artsim.images import crop_box, decode_jpeg, encode_jpeg
from artsim.schemas import Batch, row_seed
from artsim.stages import EngineError
from artsim.stages.diffusion import Refiner, Text
from artsim.stages.vision import DEVICE

BLACK = 8  # of 255: what is nowhere brighter counts as black, what JPEG adds included


@dataclass
class _Run:
    """One call: what has been made so far, shared by the rows of a painting (by id) or of a prompt."""

    batch: Batch
    seeds: np.ndarray
    squares: dict[str, Future[np.ndarray]]
    errors: np.ndarray
    versions: dict[int, Future[bytes]] = field(default_factory=dict)
    latents: dict[str, torch.Tensor] = field(default_factory=dict)
    text: dict[str, Text] = field(default_factory=dict)

    def square(self, row: int) -> np.ndarray:
        """The painting's square (S, S, 3) uint8; waits for its decoding. OSError where nothing decodes."""
        return self.squares[self.batch["id"][row]].result()

    def is_black(self, version: np.ndarray, row: int) -> bool:
        """Whether a version (S, S, 3) is black within its box, where the painting is not."""
        before, after = (crop_box(square, self.batch["box"][row]) for square in (self.square(row), version))
        return bool(after.max() <= BLACK < before.max())


class GenerateWithModel:
    """Repaint each letterboxed square after its prompt (thesis, generation): some steps of diffusion from its latents.

    The whole square is repainted; then everything outside the box is black again. Noise comes from the row's seed.
    Reads  id, level, variant, prompt (B,); image (B,) JPEG bytes, a square of config.size; box (B, 4) int32.
    Adds   seed (B,) int64; image (B,) JPEG bytes of the same square, black outside the box; None as image where error
           says `corrupt: ...` (nothing decodes) or `black_image: ...` (black or no numbers, in float32 too).
    Raises EngineError where the card fails, OutOfMemoryError where it does not hold a single row.
    """

    version: ClassVar[int] = 1
    determinism: ClassVar[str] = "sampled"

    def __init__(self, config: GenerateConfig, seed: int) -> None:
        self.config = config
        self.seed = seed
        self._refiner = Refiner(config)
        most = config.workers.micro_batch_size
        self._micro_batch_size = min(most, self._refiner.num_rows_that_fit()) if DEVICE.type == "cuda" else most
        self._threads = ThreadPoolExecutor(max(2, int(config.workers.num_cpus)))

    def __call__(self, batch: Batch) -> Batch:
        run = self._start(batch)
        for strength, rows in self._micro_batches(batch["level"]):
            spoiled = self._paint(run, self._readable(run, rows), strength)
            for row in self._paint(run, spoiled, strength, again=True):
                run.errors[row] = "black_image: the model's picture is black or holds no numbers, in float32 too"
        images = np.full(len(run.seeds), None, object)
        for row, version in run.versions.items():
            images[row] = version.result()
        return batch | {"seed": run.seeds, "image": images, "error": run.errors}

    def _start(self, batch: Batch) -> _Run:
        """Seeds of all rows, and each painting once on its way through the decoding threads."""
        keys = zip(batch["id"], batch["level"], batch["variant"], strict=True)
        seeds = np.array([row_seed(self.seed, *key, "generate") for key in keys], np.int64)
        paintings = dict(zip(batch["id"], batch["image"], strict=True))
        squares = {name: self._threads.submit(decode_jpeg, data) for name, data in paintings.items()}
        return _Run(batch, seeds, squares, np.full(len(seeds), None, object))

    def _micro_batches(self, levels: Sequence[str]) -> Iterator[tuple[float, list[int]]]:
        """Strength and rows of each micro-batch: rows of one strength take the same number of steps."""
        groups: dict[float, list[int]] = {}
        for row, level in enumerate(levels):
            groups.setdefault(self.config.strength("moderate" if level == "moderate" else "radical"), []).append(row)
        for strength, rows in groups.items():
            size = self._micro_batch_size
            yield from ((strength, rows[at : at + size]) for at in range(0, len(rows), size))

    def _readable(self, run: _Run, rows: list[int]) -> list[int]:
        """The rows whose painting decodes; the others get their error."""
        readable = []
        for row in rows:
            try:
                run.square(row)
            except OSError as error:
                run.errors[row] = f"corrupt: {error}"
            else:
                readable.append(row)
        return readable

    def _paint(self, run: _Run, rows: list[int], strength: float, again: bool = False) -> list[int]:
        """Paint rows, as many at a time as the card holds, and return those that came out black or without numbers."""
        spoiled = []
        while rows:
            part = rows[: self._micro_batch_size]
            failed = self._paint_if_it_fits(run, part, strength, again)
            if failed is None:
                self._micro_batch_size = len(part) // 2
                torch.cuda.empty_cache()
            else:
                spoiled += failed
                rows = rows[len(part) :]
        return spoiled

    def _paint_if_it_fits(self, run: _Run, rows: list[int], strength: float, again: bool) -> list[int] | None:
        try:
            return self._paint_together(run, rows, strength, again)
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise
            return None  # what it held is given back only when the exception is gone
        except RuntimeError as error:
            raise EngineError(f"the diffusion model failed ({error}): another process must try these rows") from error

    def _paint_together(self, run: _Run, rows: list[int], strength: float, again: bool) -> list[int]:
        text, latents = self._text(run, rows), self._latents(run, rows, again)
        painted = self._refiner.paint(latents, text, run.seeds[rows].tolist(), strength)
        versions, finite = self._refiner.decode(painted, again)
        spoiled = []
        for row, version, is_finite in zip(rows, versions, finite, strict=True):
            if is_finite and not run.is_black(version, row):
                job = self._threads.submit(_encode, version, run.batch["box"][row], self.config.jpeg_quality)
                run.versions[row] = job
            else:
                spoiled.append(row)
        return spoiled

    def _text(self, run: _Run, rows: list[int]) -> list[Text]:
        prompts = [run.batch["prompt"][row] for row in rows]
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in run.text]
        if new:
            run.text |= zip(new, self._refiner.text(new), strict=True)
        return [run.text[prompt] for prompt in prompts]

    def _latents(self, run: _Run, rows: list[int], again: bool) -> torch.Tensor:
        """Latents (B, C, h, w) of the rows' paintings, each made once; again: all anew, the autoencoder in float32."""
        known = {} if again else run.latents
        new = {run.batch["id"][row]: row for row in rows if run.batch["id"][row] not in known}
        if new:
            seeds = [row_seed(self.seed, name, "latents") for name in new]
            squares = np.stack([run.square(row) for row in new.values()])
            known |= zip(new, self._refiner.encode(squares, seeds, again).split(1), strict=True)
        return torch.cat([known[run.batch["id"][row]] for row in rows])


def _encode(version: np.ndarray, box: np.ndarray, quality: int) -> bytes:
    """JPEG bytes of a version (S, S, 3) whose bars are black again."""
    square = np.zeros_like(version)
    crop_box(square, box)[:] = crop_box(version, box)
    return encode_jpeg(square, quality)

"""What the stages around vision models share: what of a picture is shown, and rows through a model, a few at a time.

Shapes: B rows, H height, W width.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from PIL.Image import Resampling
from transformers import AutoImageProcessor
from transformers.utils.logging import disable_progress_bar

from artsim.checkpoints import CheckpointError
from artsim.config import ModelConfig, Workers
from artsim.images import DecodeError
from artsim.stages import EngineError

disable_progress_bar()  # of loading weights from a disk, once for every worker

T = TypeVar("T")

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def dtype_of(model: ModelConfig) -> torch.dtype:
    """Of weights and activations; auto is bfloat16 on a GPU and float32 on a CPU."""
    name = {"cuda": "bfloat16", "cpu": "float32"}[DEVICE.type] if model.dtype == "auto" else model.dtype
    dtype: torch.dtype = getattr(torch, name)
    return dtype


@contextmanager
def loading(model: ModelConfig) -> Iterator[None]:
    """Say in one sentence why a folder cannot be loaded as what it is asked to be; raises CheckpointError."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(f"{model.id} cannot be loaded: {reason}") from error


class Preprocessor:
    """From pictures to what a vision model takes, with the sizes, mean and deviation that its own folder names."""

    def __init__(self, folder: Path) -> None:
        # Transformers' other back end needs torchvision, and resizes to slightly different pixels than CLIP's own code.
        self._processor: Any = AutoImageProcessor.from_pretrained(folder, backend="pil")
        self._crops = bool(getattr(self._processor, "do_center_crop", False))
        size = self._processor.crop_size if self._crops else self._processor.size
        self.side = int(size.height or size.shortest_edge)
        self._scale = self._processor.rescale_factor if self._processor.do_rescale else 1.0
        mean, deviation = (0, 0, 0), (1, 1, 1)
        if self._processor.do_normalize:
            mean, deviation = self._processor.image_mean, self._processor.image_std
        self._mean, self._deviation = (
            torch.tensor(values, dtype=torch.float32, device=DEVICE).view(3, 1, 1) for values in (mean, deviation)
        )
        self._check()

    def squash(self, image: Image.Image) -> np.ndarray:
        """A picture of any proportions on the encoder's square, bicubic and antialiased: (H, W, 3) uint8."""
        return np.asarray(image.resize((self.side, self.side), Resampling.BICUBIC))

    def own(self, image: Image.Image) -> np.ndarray:
        """What the model's own image processor cuts out of a picture: (H, W, 3) uint8.

        An odd rest is halved as torchvision's CenterCrop does, on which CLIP was trained; transformers is 1 px off.
        """
        raw = {"do_center_crop": False, "do_rescale": False, "do_normalize": False}
        values = self._processor(image, **raw, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
        top, left = (round((length - self.side) / 2) if self._crops else 0 for length in values.shape[:2])
        cut: np.ndarray = values[top : top + self.side, left : left + self.side] if self._crops else values
        return cut.astype(np.uint8, copy=False)

    def tensor(self, pictures: Sequence[np.ndarray], dtype: torch.dtype) -> torch.Tensor:
        """Pictures (H, W, 3) uint8, scaled and normalised on the device: (B, 3, H, W)."""
        values = torch.from_numpy(np.stack(pictures)).to(DEVICE).permute(0, 3, 1, 2)
        return ((values * self._scale - self._mean) / self._deviation).to(dtype)

    def _check(self) -> None:
        """Some processors do more with values than scale and normalise; then the device must not do it for them."""
        values = np.arange(self.side * self.side * 3).reshape(self.side, self.side, 3).astype(np.uint8)
        theirs = self._processor(values, do_resize=False, do_center_crop=False, return_tensors="np")["pixel_values"]
        if not np.allclose(self.tensor([values], torch.float32).cpu(), theirs, atol=1e-4):
            raise ValueError(f"{type(self._processor).__name__} does more to pixels than scale and normalise them")


class MicroBatches:
    """Rows through a model, a few at a time: threads prepare the next rows while the device works on these.

    `size` starts at workers.micro_batch_size. Where the device's memory does not hold so many rows it is halved, and
    stays so.
    """

    def __init__(self, workers: Workers) -> None:
        self.size = workers.micro_batch_size
        self._threads = ThreadPoolExecutor(max(1, round(workers.num_cpus)))

    def prepare(self, make: Callable[..., T], columns: Iterable[Any], errors: np.ndarray) -> Iterator[tuple[int, T]]:
        """What threads make of each row of some columns, with its number; a DecodeError goes to `errors` instead."""
        futures = deque(self._threads.submit(make, *row) for row in zip(*columns, strict=True))
        for row in range(len(futures)):
            try:
                made = futures.popleft().result()
            except DecodeError as error:
                errors[row] = str(error)
            else:
                yield row, made

    def run(
        self, rows: Iterator[tuple[int, T]], compute: Callable[[list[T]], tuple[torch.Tensor, ...]]
    ) -> Iterator[tuple[list[int], tuple[np.ndarray, ...]]]:
        """The numbers of the rows of each micro-batch, and what `compute` made of them.

        Results are fetched from a card only when it has its next micro-batch. Raises OutOfMemoryError where a single
        row does not fit, and EngineError where anything else goes wrong on the device.
        """
        waiting: deque[tuple[int, T]] = deque()
        started: tuple[list[int], tuple[torch.Tensor, ...]] | None = None
        while True:
            waiting.extend(islice(rows, max(0, self.size - len(waiting))))
            now = list(islice(waiting, self.size))
            try:
                result = compute([item for _, item in now]) if now else ()
                fetched = _fetch(*started) if started else None
            except torch.OutOfMemoryError:
                if len(now) <= 1:
                    raise
                self.size = len(now) // 2
                continue
            except RuntimeError as error:
                raise EngineError(f"{type(error).__name__}: {error}") from error
            if fetched:
                yield fetched
            if not now:
                return
            for _ in now:
                waiting.popleft()
            started = [row for row, _ in now], result


def _fetch(rows: list[int], result: tuple[torch.Tensor, ...]) -> tuple[list[int], tuple[np.ndarray, ...]]:
    return rows, tuple(tensor.cpu().numpy() for tensor in result)

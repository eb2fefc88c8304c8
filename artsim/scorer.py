"""How alike pictures are: the pipeline's own steps and a trained head, on one machine.

Shapes: B pictures, D width of an embedding, N patches in a row-major square grid, T width of a patch's features.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from artsim import UserError
from artsim.calibration import Calibration
from artsim.config import EmbedConfig, LetterboxConfig, Workers
from artsim.correspondence import Match, match
from artsim.models import CALIBRATION, fetch
from artsim.schemas import Batch
from artsim.siamese import Head, ModelError, load_model
from artsim.stages import embed_image_stage
from artsim.stages.letterbox import Letterbox


class PictureError(UserError, ValueError):
    """A picture that cannot be scored; the message names it and says why."""


class Seen(NamedTuple):
    """What is known of pictures; rows of those that cannot be read are zeros."""

    embeddings: np.ndarray
    """(B, D) float32 of length 1"""
    tokens: np.ndarray
    """(B, N, T) float16"""
    errors: list[str | None]
    """`reason: message` of each picture that cannot be read, the reason one of schemas.REASONS"""


class Scorer:
    """A trained head behind the features that it was trained on.

    On a CPU pictures go through one by one, so that a picture's answer has the same bits whatever it is looked at with
    (it costs a tenth at most: a CPU gains little from batches). On a GPU they go through together, and an embedding
    may differ by the rounding of its arithmetic, as between any two sizes of a batch.
    """

    def __init__(
        self,
        head: Head,
        info: dict[str, Any],
        calibration: Calibration | None = None,
        max_pixels: int | None = None,
    ) -> None:
        """`max_pixels` of a picture, if fewer than those allowed where the model was trained."""
        self.info = info
        self.calibration = calibration
        """What the similarities mean; None where the model was not evaluated, or before that was measured."""
        self.max_pixels = min(max_pixels or info["max_pixels"], info["max_pixels"])
        self.recipe: str = info["fingerprint"]
        """Fingerprint of what the model was trained from."""
        self.name: str = info["name"]
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.head = head.to(self._device)
        self._letterbox = Letterbox(LetterboxConfig(**info["letterbox"]), self.max_pixels)
        self._size = int(info["embed"]["size"])
        workers = Workers(micro_batch_size=1) if self._device.type == "cpu" else Workers()
        embed = EmbedConfig(**info["embed"] | {"tokens": True, "workers": workers})
        self._embed = embed_image_stage(embed)(embed)

    @classmethod
    def load(cls, model: str, max_pixels: int | None = None) -> Scorer:
        """The scorer of a model folder, local or a URL; ModelError where it is broken."""
        with fetch(model) as folder:
            head, info = load_model(folder)
            calibration = _load_calibration(folder, model)
        if head.config.caption_fusion:
            raise ModelError(f"{model}: was trained with caption_fusion; two pictures alone cannot be compared with it")
        try:
            return cls(head, info, calibration, max_pixels)
        except (KeyError, ValueError) as error:
            raise ModelError(f"{model}: config.json does not say how features were made ({error})") from error

    def compare(self, first: tuple[str, bytes], second: tuple[str, bytes]) -> float:
        """Cosine similarity of two pictures (name, encoded bytes), -1..1; PictureError where one cannot be read."""
        one, other = self.embed([first, second])
        return float(one @ other)

    def embed(self, pictures: Sequence[tuple[str, bytes]]) -> np.ndarray:
        """Embeddings (B, D) float32 of length 1; PictureError names the first picture that cannot be read."""
        return self.read(pictures).embeddings

    def read(self, pictures: Sequence[tuple[str, bytes]]) -> Seen:
        """Look at pictures that have names; PictureError names the first that cannot be read."""
        seen = self.look([image for _, image in pictures])
        for (name, _), error in zip(pictures, seen.errors, strict=True):
            if error is not None:
                raise PictureError(f"{name}: {error}")
        return seen

    def match(self, first: np.ndarray, second: np.ndarray) -> list[Match]:
        """Where two pictures match by their tokens (N, T); ModelError where patches are of squares with their bars."""
        if self.info["embed"].get("preprocessing") == "model":
            raise ModelError(
                f"{self.name}: its encoder sees pictures with black bars (embed.preprocessing = model), so that its "
                "patches are not places in them: embed and train with embed.preprocessing = content for a map"
            )
        return match(first, second)

    def look(self, images: Sequence[bytes], run: Callable[..., Iterable[Any]] = map) -> Seen:
        """Look at encoded pictures (B,). `run` makes them squares: an executor's `map` makes several at a time."""
        boxed = list(run(self._square, images))
        broken = np.array([*(row["error"][0] for row in boxed), None], object)[:-1]
        readable = np.array([error is None for error in broken], bool)
        sizes = {"image": np.zeros(0, object), "box": np.zeros((0, 4), np.int32)}
        square = {
            name: np.concatenate([none, *(row[f"{name}_{self._size}"] for row in boxed if row["error"][0] is None)])
            for name, none in sizes.items()
        }
        features = self._embed(square)
        errors = broken.copy()
        errors[readable] = features["error"]
        sound = np.array([error is None for error in errors], bool)
        tokens = np.zeros((len(images), *features["tokens"].shape[1:]), np.float16)
        tokens[readable] = features["tokens"]
        embeddings = np.zeros((len(images), self.head.sizes.pooled_size), np.float32)
        embeddings[sound] = self._project(features["pooled"], features["tokens"])[sound[readable]]
        return Seen(embeddings, tokens, errors.tolist())

    def _square(self, image: bytes) -> Batch:
        return self._letterbox({"image": np.array([image, None], object)[:-1]})

    @torch.no_grad()
    def _project(self, pooled: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """What the head makes of features, (B, D) float32."""
        size = 1 if self._device.type == "cpu" else max(1, len(pooled))
        parts = [np.zeros((0, self.head.sizes.pooled_size), np.float32)]
        for start in range(0, len(pooled), size):
            some = [torch.from_numpy(column[start : start + size]).to(self._device) for column in (pooled, tokens)]
            parts.append(self.head(some[0], some[1] if self.head.sizes.token_size else None).cpu().numpy())
        return np.concatenate(parts)


def _load_calibration(folder: Path, model: str) -> Calibration | None:
    path = folder / CALIBRATION
    try:
        return Calibration.from_json(json.loads(path.read_bytes())) if path.exists() else None
    except ValueError as error:
        raise ModelError(f"{model}: {CALIBRATION} is broken ({error}): run jobs/evaluate.py --overwrite") from error

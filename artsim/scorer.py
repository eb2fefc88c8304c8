"""How alike two pictures are: the pipeline's own steps and a trained head, on one machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from artsim import UserError
from artsim.calibration import Calibration
from artsim.config import EmbedConfig, LetterboxConfig
from artsim.models import CALIBRATION, fetch
from artsim.schemas import Batch
from artsim.siamese import Head, ModelError, load_model
from artsim.stages import embed_image_stage
from artsim.stages.letterbox import Letterbox


class PictureError(UserError, ValueError):
    """A picture that cannot be scored; the message names it and says why."""


class Seen(NamedTuple):
    """What was seen of B pictures."""

    embeddings: np.ndarray
    """(B, D) float32 of length 1; zeros where the picture cannot be read"""
    tokens: np.ndarray
    """(B, N, T) float16; zeros where the picture cannot be read"""
    errors: list[str | None]
    """(B,) why a picture cannot be read"""


class Scorer:
    """A trained head behind the features that it was trained on."""

    def __init__(self, head: Head, info: dict[str, Any], calibration: Calibration | None = None) -> None:
        self._head = head
        self.calibration = calibration
        """What the similarities mean; None where the model was not evaluated, or before that was measured."""
        self._letterbox = Letterbox(LetterboxConfig(**info["letterbox"]), info["max_pixels"])
        embed = EmbedConfig(**info["embed"] | {"tokens": True})
        self._embed = embed_image_stage(embed)(embed)
        self._size = int(info["embed"]["size"])
        self.recipe: str = info["fingerprint"]
        """Fingerprint of what the model was trained from."""

    @classmethod
    def load(cls, model: str) -> Scorer:
        """The scorer of a model folder, local or a URL; ModelError where it is broken."""
        with fetch(model) as folder:
            head, info = load_model(folder)
            calibration = _load_calibration(folder, model)
        if head.config.caption_fusion:
            raise ModelError(f"{model}: was trained with caption_fusion; two pictures alone cannot be compared with it")
        try:
            return cls(head, info, calibration)
        except (KeyError, ValueError) as error:
            raise ModelError(f"{model}: config.json does not say how features were made ({error})") from error

    def compare(self, first: tuple[str, bytes], second: tuple[str, bytes]) -> float:
        """Cosine similarity of two pictures (name, encoded bytes), -1..1; PictureError where one cannot be read."""
        one, other = self.embed([first, second])
        return float(one @ other)

    def embed(self, pictures: list[tuple[str, bytes]]) -> np.ndarray:
        """Embeddings (B, D) float32 of length 1; PictureError names the first picture that cannot be read."""
        names, images = zip(*pictures, strict=True)
        boxed = self._letterbox({"image": np.array(images, object)})
        _raise_first(names, boxed)
        square = {"image": boxed[f"image_{self._size}"], "box": boxed[f"box_{self._size}"]}
        features = self._embed(square)
        _raise_first(names, features)
        tokens = torch.from_numpy(features["tokens"]) if self._head.sizes.token_size else None
        with torch.no_grad():
            return self._head(torch.from_numpy(features["pooled"]), tokens).numpy()

    def look(self, images: list[bytes]) -> Seen:
        """Embeddings and patch tokens of encoded pictures; one that cannot be read does not stop the others."""
        boxed = self._letterbox({"image": np.array([*images, None], object)[:-1]})
        features = self._embed({"image": boxed[f"image_{self._size}"], "box": boxed[f"box_{self._size}"]})
        errors = [one or other for one, other in zip(boxed["error"], features["error"], strict=True)]
        tokens = torch.from_numpy(features["tokens"]) if self._head.sizes.token_size else None
        with torch.no_grad():
            embeddings = self._head(torch.from_numpy(features["pooled"]), tokens).numpy()
        embeddings[[error is not None for error in errors]] = 0
        return Seen(embeddings, features["tokens"], errors)


def _load_calibration(folder: Path, model: str) -> Calibration | None:
    path = folder / CALIBRATION
    try:
        return Calibration.from_json(json.loads(path.read_bytes())) if path.exists() else None
    except ValueError as error:
        raise ModelError(f"{model}: {CALIBRATION} is broken ({error}): run jobs/evaluate.py --overwrite") from error


def _raise_first(names: tuple[str, ...], batch: Batch) -> None:
    for name, error in zip(names, batch["error"], strict=True):
        if error is not None:
            raise PictureError(f"{name}: {error}")

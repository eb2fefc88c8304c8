"""Pictures and captions -> frozen features of any Hugging Face vision model and, where it has one, its text tower.

Shapes: B rows, N patches, D width of the pooled features, T width of a patch's features, E channels of the early layer,
H height, W width.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from math import isqrt
from typing import Any, ClassVar

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from artsim.checkpoints import CheckpointError, fetch, has_text_tower
from artsim.config import EmbedConfig, ModelConfig
from artsim.images import DecodeError, open_content, open_square
from artsim.schemas import Batch
from artsim.stages.vision import DEVICE, MicroBatches, Preprocessor, dtype_of, loading

_NO_NUMBERS = "invalid_output: the model's features hold values that are no numbers"


class EmbedImageWithModel:
    """Show pictures to a vision model, a transformer or a convolutional network, and keep what it answers.

    With config.preprocessing "content" it sees what lies in the box, squashed to its square, so that neither bars nor
    proportions can give a pair away; with "model" the whole square, as the model's own image processor shows it.

    Reads  image (B,) JPEG bytes of a square; box (B, 4) int32, left, top, width, height of the content in px.
    Adds   pooled (B, D) float32: the features shared with the text tower, else the pooler's, else the class token or
           the mean of the patches;
           early (B, 2E) float32: mean, then standard deviation, of each channel of an early layer over the patches;
           with config.tokens also tokens (B, N, T) float16, a row-major square grid of patches: the last hidden state
           without class token and registers;
           error (B,) None or `corrupt: ...`, `truncated: ...`, `empty: ...`; the features of such a row are zeros.
    Raises CheckpointError where the weights cannot be had or are not all there.

    The early layer ends the first quarter of the network: the 3rd of 12 blocks of CLIP B/32 (E = 768), and of
    MobileNetV1's 26 convolutions the 6th (E = 128, 56 x 56 px). Mean and deviation of its channels say how a picture
    is made and not what is where (Huang and Belongie 2017, section 3; Gatys et al. 2016 take all second moments).
    """

    version: ClassVar[int] = 2
    determinism: ClassVar[str] = "sampled"

    def __init__(self, config: EmbedConfig) -> None:
        self.config = config
        self.model, self._has_pooler = _load(config.model, unused="text_model")
        self._seen = threading.local()  # by the thread that asks: a server may ask in several
        _early_layer(self.model, config.model.id).register_forward_hook(self._keep)
        with loading(config.model):
            self._preprocessor = Preprocessor(fetch(config.model, weights=()))
        self._batches = MicroBatches(config.workers)
        self.side = self._preprocessor.side
        pooled, early, tokens, _ = self.encode([np.zeros((self.side, self.side, 3), np.uint8)])
        self.pooled_size, self.num_tokens, self.token_size = pooled.shape[1], tokens.shape[1], tokens.shape[2]
        self.early_size = early.shape[1]

    def __call__(self, batch: Batch) -> Batch:
        num_rows = len(batch["image"])
        pooled = np.zeros((num_rows, self.pooled_size), np.float32)
        early = np.zeros((num_rows, self.early_size), np.float32)
        tokens = np.zeros((num_rows, self.num_tokens, self.token_size), np.float16)
        error = np.full(num_rows, None, object)
        pictures = self._batches.prepare(self._look, (batch["image"], batch["box"]), error)
        for rows, (vectors, statistics, patches, finite) in self._batches.run(pictures, self.encode):
            error[rows] = [None if sound else _NO_NUMBERS for sound in finite]
            pooled[rows] = np.where(finite[:, None], vectors, 0)
            early[rows] = np.where(finite[:, None], statistics, 0)
            if self.config.tokens:
                tokens[rows] = np.where(finite[:, None, None], patches, 0)
        features = {"pooled": pooled, "early": early} | ({"tokens": tokens} if self.config.tokens else {})
        return batch | features | {"error": error}

    @torch.inference_mode()
    def encode(self, pictures: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """pooled (B, D) and early (B, 2E) float32, tokens (B, N, T) float16, and whether all are numbers (B,).

        On the device. Pictures are (H, W, 3) uint8 of the encoder's size.
        """
        pixels = self._preprocessor.tensor(pictures, self.model.dtype)
        answer = getattr(self.model, "get_image_features", self.model)(pixel_values=pixels)
        pooled, tokens = _features(answer.last_hidden_state, answer.pooler_output if self._has_pooler else None)
        pooled, tokens = pooled.float(), tokens.float()
        early: torch.Tensor = self._seen.__dict__.pop("early")
        finite = pooled.isfinite().all(1) & early.isfinite().all(1) & tokens.isfinite().flatten(1).all(1)
        return pooled, early, tokens.clamp(-65504, 65504).half(), finite  # the range of float16

    def _keep(self, layer: torch.nn.Module, inputs: Any, output: Any) -> None:
        """Of the early layer's answer only the statistics are kept: it may be many times the size of the tokens."""
        patches = _patches(output[0] if isinstance(output, tuple) else output).float()
        self._seen.early = torch.cat([patches.mean(1), patches.std(1, correction=0)], 1)

    def _look(self, data: bytes | None, box: np.ndarray) -> np.ndarray:
        if self.config.preprocessing == "model":
            return self._preprocessor.own(open_square(data))
        return self._preprocessor.squash(open_content(data, box))


class EmbedCaptionWithModel:
    """Show captions to the text tower of a vision model: CLIP's and SigLIP's kind.

    What is longer than the tower has positions (CLIP: 77 tokens) is cut at the end by the tokenizer. Every caption is
    padded to that length, as SigLIP was trained, so that it does not matter which captions share a micro-batch.

    Reads  caption (B,) str.
    Adds   pooled (B, D) float32 in the space of EmbedImageWithModel's; error (B,) None or `empty: ...`, then pooled is
           zeros.
    Raises CheckpointError where the model has no text tower, or as EmbedImageWithModel.
    """

    version: ClassVar[int] = 1
    determinism: ClassVar[str] = "sampled"

    def __init__(self, config: EmbedConfig) -> None:
        if not has_text_tower(config.model):
            raise CheckpointError(
                f"{config.model.id} has no text tower to embed captions with: leave that table out, or name a model "
                "that has one, such as openai/clip-vit-base-patch32"
            )
        self.model, _ = _load(config.model, unused="vision_model")
        with loading(config.model):
            self._tokenizer: Any = AutoTokenizer.from_pretrained(fetch(config.model, weights=()))
        self._num_positions = min(
            self.model.config.text_config.max_position_embeddings, self._tokenizer.model_max_length
        )
        self._batches = MicroBatches(config.workers)
        self.pooled_size = self.encode(["a painting"])[0].shape[1]

    def __call__(self, batch: Batch) -> Batch:
        pooled = np.zeros((len(batch["caption"]), self.pooled_size), np.float32)
        error = np.full(len(pooled), None, object)
        captions = self._batches.prepare(_text, (batch["caption"],), error)
        for rows, (vectors, finite) in self._batches.run(captions, self.encode):
            error[rows] = [None if sound else _NO_NUMBERS for sound in finite]
            pooled[rows] = np.where(finite[:, None], vectors, 0)
        return batch | {"pooled": pooled, "error": error}

    @torch.inference_mode()
    def encode(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """pooled (B, D) float32 and whether all are numbers (B,), on the device."""
        inputs = self._tokenizer(
            list(captions),
            padding="max_length",
            truncation=True,
            max_length=self._num_positions,
            return_tensors="pt",
        )
        pooled = self.model.get_text_features(**inputs.to(DEVICE)).pooler_output.float()
        return pooled, pooled.isfinite().all(1)


def _load(model: ModelConfig, unused: str) -> tuple[Any, bool]:
    """A model on the device without its other tower, and whether it has a pooler that was trained."""
    folder = fetch(model)
    with loading(model):
        encoder, report = AutoModel.from_pretrained(folder, dtype=dtype_of(model), output_loading_info=True)
    # Transformers makes up what a checkpoint lacks. A classifier's has no pooler: random weights would pool.
    missing = set(report["missing_keys"])
    lost = sorted(name for name in missing if "pooler" not in name)
    if lost:
        raise CheckpointError(f"{model.id} lacks {len(lost)} weights of {type(encoder).__name__}, such as {lost[0]}")
    if hasattr(encoder, unused):
        setattr(encoder, unused, None)
    return encoder.to(DEVICE).eval().requires_grad_(False), not missing


def _features(hidden: torch.Tensor, pooled: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """pooled (B, D) and tokens (B, N, T) of a last hidden state, (B, T, H, W) or (B, tokens, T)."""
    tokens = _patches(hidden)
    if pooled is None:
        pooled = hidden[:, 0] if hidden.ndim == 3 and tokens.shape[1] < hidden.shape[1] else tokens.mean(1)
    return pooled.flatten(1), tokens


def _patches(hidden: torch.Tensor) -> torch.Tensor:
    """The patches (B, N, T) alone of a hidden state, (B, T, H, W) or (B, tokens, T)."""
    if hidden.ndim == 4:
        return hidden.flatten(2).transpose(1, 2)
    return hidden[:, -(isqrt(hidden.shape[1]) ** 2) :]  # class token and registers lie before the square of patches


def _early_layer(model: torch.nn.Module, name: str) -> torch.nn.Module:
    """The layer that ends the first quarter of a network: of its outermost list of layers, or the longest of those."""
    lists = [(path.count("."), -len(part), part) for path, part in model.named_modules() if _is_list(part)]
    if not lists:
        raise CheckpointError(f"{name}: a {type(model).__name__} has no list of layers to take early features from")
    layers = min(lists, key=lambda found: found[:2])[2]
    return layers[max(0, len(layers) // 4 - 1)]


def _is_list(part: torch.nn.Module) -> bool:
    return isinstance(part, torch.nn.ModuleList) and len(part) > 0


def _text(caption: str | None) -> str:
    if not caption or not caption.strip():
        raise DecodeError("empty", "the caption has no words")
    return caption

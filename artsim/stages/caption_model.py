"""Pictures -> captions with BLIP-2, a frozen vision encoder and language model joined by a few query tokens.

Shapes: B rows, L tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from transformers import AutoTokenizer, Blip2ForConditionalGeneration

from artsim.checkpoints import CheckpointError, fetch
from artsim.config import CaptionConfig
from artsim.images import open_content
from artsim.schemas import Batch
from artsim.stages.vision import DEVICE, MicroBatches, Preprocessor, dtype_of, loading


class CaptionWithModel:
    """Let BLIP-2 (Li et al. 2023) say what lies in a painting's box: greedily, without a prompt of words.

    Captions are short and of like length, so a whole micro-batch is written in step and little work is wasted on rows
    that have ended.

    Reads  image (B,) JPEG bytes; box (B, 4) int32, left, top, width, height of the content in px.
    Adds   caption (B,) str on one line; error (B,) None or `corrupt: ...`, `truncated: ...`, `empty: ...`, and then
           the caption is None.
    Raises CheckpointError where the weights cannot be had, or are of another kind.
    """

    version: ClassVar[int] = 1
    determinism: ClassVar[str] = "sampled"

    def __init__(self, config: CaptionConfig) -> None:
        folder = fetch(config.model)
        with loading(config.model):
            self._preprocessor = Preprocessor(folder)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            model: Any = Blip2ForConditionalGeneration.from_pretrained(folder, dtype=dtype_of(config.model))
        settings = model.config
        if settings.image_token_index is None or not settings.use_decoder_only_language_model:
            raise CheckpointError(
                f"{config.model.id} at {config.model.revision}: captions need a BLIP-2 whose language model is a "
                "decoder (OPT) and whose config.json names image_token_index; older revisions lack it"
            )
        self.model = model.to(DEVICE).eval().requires_grad_(False)
        self.generation = {"max_new_tokens": config.max_new_tokens, "do_sample": False, "num_beams": 1}
        self._prompt_length = settings.num_query_tokens + 1  # the picture, then the token that begins a text
        self._batches = MicroBatches(config.workers)

    def __call__(self, batch: Batch) -> Batch:
        num_rows = len(batch["image"])
        captions, errors = np.full(num_rows, None, object), np.full(num_rows, None, object)
        pictures = self._batches.prepare(self._look, (batch["image"], batch["box"]), errors)
        for rows, (tokens,) in self._batches.run(pictures, self.write):
            texts = self._tokenizer.batch_decode(tokens, skip_special_tokens=True)
            for row, text in zip(rows, texts, strict=True):
                captions[row] = " ".join(text.split()) or None
                if not captions[row]:
                    errors[row] = "empty: the model wrote nothing"
        return batch | {"caption": captions, "error": errors}

    @torch.inference_mode()
    def write(self, pictures: Sequence[np.ndarray]) -> tuple[torch.Tensor]:
        """New tokens (B, L) of pictures (H, W, 3) uint8 of the encoder's size, on the device."""
        pixels = self._preprocessor.tensor(pictures, self.model.dtype)
        tokens: torch.Tensor = self.model.generate(pixel_values=pixels, **self.generation)
        return (tokens[:, self._prompt_length :],)

    def _look(self, data: bytes | None, box: np.ndarray) -> np.ndarray:
        return self._preprocessor.squash(open_content(data, box))

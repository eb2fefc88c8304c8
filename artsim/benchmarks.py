"""What the real models' stages reach on this machine, beside the plain way of calling the same model. No Ray in here.

A benchmark makes its own pictures and, with random_weights, its own checkpoint of full size: nothing is downloaded.
"""

from __future__ import annotations

import io
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch.utils.flop_counter import FlopCounterMode

from artsim import images, random_weights
from artsim.config import Config, GalleryConfig, LetterboxConfig, ModelConfig, Section
from artsim.gallery import paint
from artsim.schemas import Batch
from artsim.stages import caption_stage, embed_image_stage, generate_stage, prompt_stage
from artsim.stages.letterbox import Letterbox

Report = dict[str, Any]
THESIS_BATCH = 6


class ModelBench(Section):
    """A stage over rows that it has not seen, several times, after one call that warms it up."""

    num_rows: int = Field(64, ge=1, description="rows of a call, of as many paintings or half as many for generate")
    num_runs: int = Field(3, ge=1)
    random_weights: bool = Field(False, description="a checkpoint of the real size, made here; no download")
    tiny: bool = Field(False, description="with random_weights, of a size that a test has time for")
    against: str = Field("", description="generate: thesis or plain; caption: one_at_a_time; empty: ours alone")


def bench_caption(options: ModelBench, config: Config) -> Report:
    """Captions of exactly max_new_tokens tokens each, if the weights are random; else as long as the model likes."""
    with tempfile.TemporaryDirectory() as folder:
        caption = config.caption
        if options.random_weights:
            made = random_weights.random_blip2(Path(folder), options.tiny)
            caption = caption.model_copy(update={"model": _local(caption.model, made)})
        stage = caption_stage(caption)(caption)
        if options.random_weights:
            stage.generation["min_new_tokens"] = caption.max_new_tokens
        ours = _measure(options, lambda batch: stage(batch), _pictures(options, config))
        tokens = {"tokens_per_s": round(ours["rows_per_s"] * caption.max_new_tokens, 1)}
        if options.against == "one_at_a_time":
            ours |= _beside(ours, options, lambda batch: [stage(_row(batch, at)) for at in range(len(batch["id"]))], config)
        return {"name": "caption"} | ours | (tokens if options.random_weights else {})


def bench_prompt(options: ModelBench, config: Config) -> Report:
    """Prompts, and the tokens that were written for them."""
    with tempfile.TemporaryDirectory() as folder:
        prompt = config.prompt
        if options.random_weights:
            model = random_weights.random_llama(Path(folder) / "llama", options.tiny)
            tokenizer = random_weights.random_tokenizer(Path(folder) / "clip")
            update = {"model": _local(prompt.model, model), "tokenizer": _local(prompt.tokenizer, tokenizer)}
            prompt = prompt.model_copy(update=update)
        stage = prompt_stage(prompt)(prompt, config.seed)
        written: list[int] = []

        def call(batch: Batch) -> None:
            written.append(int(stage(batch)["num_tokens"].sum()))

        report = _measure(options, call, _captions(options))
        return {"name": "prompt"} | report | {"image_tokens_per_row": round(statistics.mean(written) / options.num_rows)}


def bench_embed(options: ModelBench, config: Config) -> Report:
    """Pictures from their JPEGs to features, and the encoder alone from decoded pixels."""
    with tempfile.TemporaryDirectory() as folder:
        embed = config.embed
        if options.random_weights:
            made = random_weights.random_clip(Path(folder), options.tiny)
            embed = embed.model_copy(update={"model": _local(embed.model, made)})
        stage = embed_image_stage(embed)(embed)
        report = _measure(options, lambda batch: stage(batch), _pictures(options, config))
        side = stage.side
        pixels = [np.zeros((side, side, 3), np.uint8)] * options.num_rows
        decoded = _measure(options, lambda _: stage.encode_all(pixels), {})
        return {"name": "embed"} | report | {"decoded_rows_per_s": decoded["rows_per_s"]}


def bench_generate(options: ModelBench, config: Config) -> Report:
    """Versions, both levels of each painting; `against` calls diffusers on the same rows in the same run."""
    with tempfile.TemporaryDirectory() as folder:
        generate = config.generate
        if options.random_weights:
            model = random_weights.random_refiner(Path(folder) / "refiner", options.tiny)
            vae = random_weights.random_vae(Path(folder) / "vae", options.tiny)
            update = {"model": _local(generate.model, model), "vae": _local(generate.vae, vae)}
            generate = generate.model_copy(update=update)
        stage = generate_stage(generate)(generate, config.seed)
        batch = _versions(options, config)
        report = _measure(options, lambda rows: stage(rows), batch)
        report |= {"images_per_gpu_hour": round(3600 * report["rows_per_s"])}
        return {"name": "generate"} | report

"""What the real models' stages reach on this machine, beside the plain way of calling the same model. No Ray in here.

A benchmark makes its own pictures and, with random_weights, its own checkpoint of the real size: nothing is downloaded.
"""

from __future__ import annotations

import io
import math
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch.utils.flop_counter import FlopCounterMode

from artsim.checkpoints import fetch
from artsim.config import Config, GalleryConfig, GenerateConfig, LetterboxConfig, ModelConfig, Section
from artsim.gallery import paint
from artsim.images import decode_jpeg
from artsim.schemas import Batch
from artsim.stages import caption_stage, embed_image_stage, generate_stage, prompt_stage
from artsim.stages.letterbox import Letterbox

Report = dict[str, Any]
Call = Callable[[Batch], object]

THESIS_BATCH_SIZE = 6
MATRIX_SIDE = {"cuda": 8192, "cpu": 1024}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class ModelBench(Section):
    """A stage over the same rows several times, after a call that warms it up."""

    num_rows: int = Field(64, ge=2, description="rows of a call")
    num_runs: int = Field(3, ge=1)
    random_weights: bool = Field(False, description="a checkpoint of the real architecture made here; no download")
    tiny: bool = Field(False, description="random_weights of a size that a CPU has time for")


class CaptionBench(ModelBench):
    """BLIP-2 in micro-batches."""

    against: Literal["", "one_at_a_time"] = Field("", description="the loop over pictures that the thesis had")


class GenerateBench(ModelBench):
    """SDXL's refiner, image to image."""

    against: Literal["", "thesis", "plain", "float32"] = Field(
        "",
        description="diffusers' own call: thesis (fp16, batch 6, CPU offload), plain (our batch and dtype); float32: "
        "not how fast, but how far its bfloat16 and ours are from it",
    )


def bench_caption(options: CaptionBench, config: Config) -> Report:
    """Captions; with random weights each of exactly max_new_tokens tokens."""
    with tempfile.TemporaryDirectory() as folder:
        caption = config.caption
        if options.random_weights:
            from artsim.random_weights import random_blip2

            caption = caption.model_copy(update={"model": _local(random_blip2(Path(folder), options.tiny))})
        stage = caption_stage(caption)(caption)
        if options.random_weights:
            stage.generation["min_new_tokens"] = caption.max_new_tokens
        batch = _pictures(options, config)
        report = _measure("caption", stage, batch, options)
        if options.against:
            report |= _beside(stage, partial(_one_at_a_time, stage), batch, options)
        length = caption.max_new_tokens
        return report | {"max_new_tokens": length, "tokens_per_s": _rounded(report["ours"] * length)}


def bench_embed(options: ModelBench, config: Config) -> Report:
    """Pictures from their JPEGs to features, and the encoder alone, from decoded pixels."""
    with tempfile.TemporaryDirectory() as folder:
        embed = config.embed
        if options.random_weights:
            from artsim.random_weights import random_clip

            embed = embed.model_copy(update={"model": _local(random_clip(Path(folder), options.tiny))})
        stage = embed_image_stage(embed)(embed)
        report = _measure("embed", stage, _pictures(options, config), options)
        size = embed.workers.micro_batch_size
        pixels = [np.zeros((stage.side, stage.side, 3), np.uint8)] * size
        seconds = _seconds(lambda _: stage.encode(pixels)[0].cpu(), {}, options.num_runs)
        return report | {"decoded_rows_per_s": _rounded(size / statistics.median(seconds))}


def bench_prompt(options: ModelBench, config: Config) -> Report:
    """Prompts, and the tokens that the engine writes for them; what it reads is mostly the same and does not count."""
    matrix = matrix_rate()  # before the engine takes the card's memory
    with tempfile.TemporaryDirectory() as folder:
        prompt = config.prompt
        if options.random_weights:
            from artsim.random_weights import random_clip, random_llama

            model, tokenizer = (
                random_llama(Path(folder) / "llama", options.tiny),
                random_clip(Path(folder) / "clip", True),
            )
            prompt = prompt.model_copy(update={"model": _local(model), "tokenizer": _local(tokenizer)})
        stage, num_weights = prompt_stage(prompt)(prompt, config.seed), _num_weights(prompt.model)
        # New rows for each call: the engine keeps what it has read.
        calls = iter(range(options.num_runs + 1))
        seconds = _seconds(lambda _: stage(_captions(options, next(calls))), {}, options.num_runs)
        rate = options.num_rows / statistics.median(seconds)
        tokens = stage.num_written / options.num_rows / (options.num_runs + 1)
        report = {"name": "prompt", "unit": "rows/s", "device": _device_name(), "ours": _rounded(rate)}
        report |= {"tokens_per_row": _rounded(tokens), "tokens_per_s": _rounded(rate * tokens)}
        report |= {"num_rows": options.num_rows, "peak_gb": _rounded(_peak_bytes() / 1e9)}
        return report | _matrix_share(rate, 2 * num_weights * tokens, matrix)


def bench_generate(options: GenerateBench, config: Config) -> Report:
    """Versions of both levels, from JPEG to JPEG."""
    with tempfile.TemporaryDirectory() as folder:
        generate = config.generate
        if options.random_weights:
            from artsim.random_refiner import random_refiner, random_vae

            model = random_refiner(Path(folder) / "refiner", options.tiny)
            vae = random_vae(Path(folder) / "vae", options.tiny)
            generate = generate.model_copy(update={"model": _local(model), "vae": _local(vae)})
        batch = _versions(options, config)
        if options.against == "float32":
            return _errors(generate, batch)
        stage = generate_stage(generate)(generate, config.seed)
        report = _measure("generate", stage, batch, options)
        if options.against:
            report |= _beside(stage, _diffusers(generate, options.against == "thesis"), batch, options)
        return report | {"images_per_gpu_hour": round(3600 * report["ours"])}


def _one_at_a_time(stage: Call, batch: Batch) -> None:
    for part in _parts(batch, 1):
        stage(part)


def _diffusers(config: GenerateConfig, as_thesis: bool) -> Call:
    """The pipeline called as anyone would: PIL pictures in, PIL pictures out, JPEGs in the loop."""
    dtype = torch.float32 if DEVICE == "cpu" else torch.float16 if as_thesis else torch.bfloat16
    pipe = _pipeline(config, dtype)
    if as_thesis and DEVICE == "cuda":
        pipe.enable_model_cpu_offload()
    else:
        pipe.to(DEVICE)
    size = THESIS_BATCH_SIZE if as_thesis else config.workers.micro_batch_size

    def call(batch: Batch) -> None:
        for part in _parts(batch, size):
            for version in _paint_plainly(pipe, config, part):
                version.save(io.BytesIO(), "JPEG", quality=config.jpeg_quality)

    return call


def _pipeline(config: GenerateConfig, dtype: torch.dtype) -> Any:
    from diffusers import AutoencoderTiny, StableDiffusionXLImg2ImgPipeline

    pipe: Any = StableDiffusionXLImg2ImgPipeline.from_pretrained(
        config.model.id, torch_dtype=dtype, variant="fp16" if _has_variant(config.model.id) else None
    )
    pipe.vae = AutoencoderTiny.from_pretrained(config.vae.id, torch_dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _paint_plainly(pipe: Any, config: GenerateConfig, batch: Batch, **options: Any) -> list[Image.Image]:
    painted: list[Image.Image] = pipe(
        prompt=batch["prompt"].tolist(),
        image=[Image.open(io.BytesIO(data)).convert("RGB") for data in batch["image"]],
        strength=config.moderate_strength,
        num_inference_steps=config.num_inference_steps,
        guidance_scale=config.guidance_scale,
        **options,
    ).images
    return painted


def _parts(batch: Batch, size: int) -> list[Batch]:
    return [{name: column[at : at + size] for name, column in batch.items()} for at in range(0, len(batch["id"]), size)]


def _errors(config: GenerateConfig, batch: Batch) -> Report:
    """Relative L2 error of the pixels in bfloat16, ours and plain diffusers', against its float32: of the same noise.

    Nothing is encoded as JPEG. Published weights have files of half precision, which ours takes: compare random ones.
    """
    from artsim.stages.diffusion import Refiner

    half = config.model_copy(update={"model": config.model.model_copy(update={"dtype": "bfloat16"})})
    parts = _parts(batch, config.workers.micro_batch_size)

    def plain(dtype: torch.dtype) -> np.ndarray:
        pipe = _pipeline(config, dtype).to(DEVICE)
        painted = []
        for part in parts:
            generators = [torch.Generator("cpu").manual_seed(row) for row in range(len(part["id"]))]
            painted += _paint_plainly(pipe, config, part, generator=generators)
        return np.stack([np.asarray(picture) for picture in painted])

    def ours() -> np.ndarray:
        refiner, painted = Refiner(half), []
        for part in parts:
            squares, seeds = np.stack([decode_jpeg(data) for data in part["image"]]), range(len(part["id"]))
            text = refiner.text(part["prompt"].tolist())
            latents = refiner.paint(refiner.encode(squares, seeds), text, seeds, config.moderate_strength)
            painted.append(refiner.decode(latents)[0])
        return np.concatenate(painted)

    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # products of matrices have it off by default
        exact = plain(torch.float32).astype(float)
    found = {"ours": ours(), "reference": plain(torch.bfloat16)}
    errors = {name: float(np.linalg.norm(pixels - exact) / np.linalg.norm(exact)) for name, pixels in found.items()}
    report = {"name": "generate", "unit": "relative L2 error against float32", "device": _device_name()}
    run = {name: _rounded(error) for name, error in errors.items()}
    run["ratio"] = _rounded(errors["ours"] / errors["reference"])
    return report | run | {"runs": [run], "against": "float32", "num_rows": len(exact)}


def _has_variant(folder: str) -> bool:
    return any(Path(folder).glob("unet/*.fp16.safetensors"))


def _measure(name: str, stage: Call, batch: Batch, options: ModelBench) -> Report:
    """Rows per second, peak memory, and the share of the device's own matrix rate."""
    seconds = statistics.median(_seconds(stage, batch, options.num_runs))
    rows_per_s = options.num_rows / seconds
    with FlopCounterMode(display=False) as counter:
        stage(batch)
    report = {"name": name, "unit": "rows/s", "device": _device_name(), "ours": _rounded(rows_per_s)}
    report |= {"num_rows": options.num_rows, "peak_gb": _rounded(_peak_bytes() / 1e9)}
    return report | _matrix_share(rows_per_s, counter.get_total_flops() / options.num_rows, matrix_rate())


def _matrix_share(rows_per_s: float, operations_per_row: float, matrix: float) -> Report:
    share = {"tflop_per_row": _rounded(operations_per_row / 1e12), "matrix_tflops": _rounded(matrix / 1e12)}
    return share | {"share_of_matrix_rate": _rounded(rows_per_s * operations_per_row / matrix)}


def _num_weights(model: ModelConfig) -> int:
    """Weights of a model, each of which a token is multiplied with and added once."""
    from safetensors import safe_open

    total = 0
    for file in fetch(model).rglob("*.safetensors"):
        with safe_open(file, framework="numpy") as weights:
            total += sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return total


def _beside(ours: Call, reference: Call, batch: Batch, options: CaptionBench | GenerateBench) -> Report:
    """Both in turns, whoever was second going first: the median of the runs' ratios."""
    runs = []
    reference(batch)
    for number in range(options.num_runs):
        sides = {"ours": ours, "reference": reference}
        took = {name: _once(sides[name], batch) for name in sorted(sides, reverse=number % 2 == 1)}
        runs.append({name: _rounded(options.num_rows / seconds) for name, seconds in took.items()})
        runs[-1]["ratio"] = _rounded(took["reference"] / took["ours"])
    medians = {name: _rounded(statistics.median(run[name] for run in runs)) for name in ("ours", "reference", "ratio")}
    return {"against": options.against, **medians, "runs": runs}


def _seconds(call: Call, batch: Batch, num_runs: int) -> list[float]:
    call(batch)
    return [_once(call, batch) for _ in range(num_runs)]


def _once(call: Call, batch: Batch) -> float:
    began = time.perf_counter()
    call(batch)
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def matrix_rate(seconds: float = 1.0) -> float:
    """Operations per second of large square matrix products, in the dtype that "auto" takes."""
    side, dtype = MATRIX_SIDE[DEVICE], torch.bfloat16 if DEVICE == "cuda" else torch.float32
    matrix = torch.randn(side, side, device=DEVICE, dtype=dtype)
    _once(lambda _: matrix @ matrix, {})
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        _once(lambda _: [matrix @ matrix for _ in range(4)], {})
        count += 4
    return count * 2 * side**3 / (time.perf_counter() - began)


def _peak_bytes() -> int:
    if DEVICE == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _device_name() -> str:
    return torch.cuda.get_device_name() if DEVICE == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def _pictures(options: ModelBench, config: Config) -> Batch:
    """num_rows squares of paintings made by code: id, image, box."""
    size = config.generate.size
    paintings = [paint(index, GalleryConfig(max_side_px=size)) for index in range(min(16, options.num_rows))]
    images = np.array([painting.image for painting in paintings], object)
    boxed = Letterbox(LetterboxConfig(sizes=(size,)), config.source.max_pixels)({"image": images})
    at = np.arange(options.num_rows) % len(paintings)
    ids = np.array([f"Bench/{row}" for row in range(options.num_rows)], object)
    return {"id": ids, "image": boxed[f"image_{size}"][at], "box": boxed[f"box_{size}"][at]}


def _versions(options: ModelBench, config: Config) -> Batch:
    """Both levels of half as many paintings, each with a prompt of its own."""
    rows = np.arange(options.num_rows)
    batch = {name: column[rows // 2] for name, column in _pictures(options, config).items()}
    levels = np.where(rows % 2, "radical", "moderate").astype(object)
    prompts = np.array([f"the scene number {row} in navy and gold, soft light" for row in rows], object)
    return batch | {"level": levels, "variant": np.zeros(len(rows), np.int32), "prompt": prompts}


def _captions(options: ModelBench, call: int) -> Batch:
    """Rows that a prompt is written for, others in each call."""
    rows = range(call * options.num_rows, (call + 1) * options.num_rows)
    texts = {
        "id": [f"Bench/nobody_work-{row}" for row in rows],
        "level": ["moderate" if row % 2 else "radical" for row in rows],
        "genre": ["Impressionism"] * options.num_rows,
        "artist": ["nobody"] * options.num_rows,
        "title": [f"work-{row}" for row in rows],
        "caption": [f"a painting of {row} boats on a river at dawn" for row in rows],
    }
    batch: Batch = {name: np.array(column, object) for name, column in texts.items()}
    return batch | {"variant": np.zeros(options.num_rows, np.int32)}


def _local(folder: Path) -> ModelConfig:
    return ModelConfig(id=str(folder))


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")

"""SDXL's image-to-image refiner on one device, in pieces: a stage shares text and latents between its rows.

B batch, H W side of the square in px, h w side of the latents (H / 8), C latent channels, N tokens, D text width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoModel, StableDiffusionXLImg2ImgPipeline
from diffusers.utils import is_accelerate_available

from artsim import checkpoints
from artsim.config import GenerateConfig
from artsim.stages.vision import DEVICE, dtype_of

Text = tuple[torch.Tensor, torch.Tensor]
"""A prompt as the UNet reads it: hidden states (1, N, D) and the pooled embedding (1, D)."""

USABLE = 0.9  # of a card's free memory: the rest is lost between blocks
VARIANT = "fp16"  # how repositories name their files of half the size


class Refiner:
    """What the pipeline's call does for a batch, cut where rows can share work; its own sampler does the steps.

    The autoencoder may be any of SDXL's latent space; `precise` runs it in float32. Noise is drawn on the CPU, in
    float32 and then rounded: a row's noise depends on its seed alone, not on device, precision or batch.
    """

    def __init__(self, config: GenerateConfig) -> None:
        self.config = config
        self.device, self.dtype = DEVICE, dtype_of(config.model)
        self.pipe = _load(config, self.dtype)
        self.pipe.to(self.device)
        self.pipe.set_progress_bar_config(disable=True)
        self._upcasts = bool(self.pipe.vae.config.force_upcast)
        self.pipe.vae.register_to_config(force_upcast=False)  # _cast_vae does it: not to and fro in every call
        self.pipe.vae.enable_slicing()  # one picture alone fills a card, and then memory does not cap the batch
        for model in (self.pipe.unet, self.pipe.vae):
            model.to(memory_format=torch.channels_last)  # the layout of tensor cores' convolutions
        with torch.inference_mode():
            _, self._negative, _, self._negative_pooled = self.pipe.encode_prompt("", device=self.device)

    @torch.inference_mode()
    def text(self, prompts: Sequence[str]) -> list[Text]:
        """The embeddings of some prompts."""
        hidden, _, pooled, _ = self.pipe.encode_prompt(
            list(prompts), device=self.device, do_classifier_free_guidance=False
        )
        return list(zip(hidden.split(1), pooled.split(1), strict=True))

    @torch.inference_mode()
    def encode(self, squares: np.ndarray, seeds: Sequence[int], precise: bool = False) -> torch.Tensor:
        """Latents (B, C, h, w) of squares (B, H, W, 3) uint8 RGB; the seeds are for an autoencoder that samples."""
        dtype = self._cast_vae(precise or self._upcasts)
        pixels = torch.from_numpy(squares).to(self.device).permute(0, 3, 1, 2).float() / 255
        latents = self.pipe.prepare_latents(
            self.pipe.image_processor.normalize(pixels),
            timestep=None,
            batch_size=len(seeds),
            num_images_per_prompt=1,
            dtype=dtype,
            device=self.device,
            generator=_generators(seeds),
            add_noise=False,
        )
        return latents.to(self.dtype)

    @torch.inference_mode()
    def paint(self, latents: torch.Tensor, text: Sequence[Text], seeds: Sequence[int], strength: float) -> torch.Tensor:
        """Latents (B, C, h, w) of the versions that follow the prompts: strength * num_inference_steps steps."""
        hidden, pooled = (torch.cat(part) for part in zip(*text, strict=True))
        return self.pipe(
            image=latents,
            prompt_embeds=hidden,
            pooled_prompt_embeds=pooled,
            negative_prompt_embeds=self._negative.expand_as(hidden),
            negative_pooled_prompt_embeds=self._negative_pooled.expand_as(pooled),
            strength=strength,
            num_inference_steps=self.config.num_inference_steps,
            guidance_scale=self.config.guidance_scale,
            generator=_generators(seeds),
            output_type="latent",
        ).images

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor, precise: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Squares (B, H, W, 3) uint8 RGB of latents, and which of them (B,) had nothing but numbers on the way."""
        vae = self.pipe.vae
        dtype = self._cast_vae(precise or (self._upcasts and self.dtype == torch.float16))  # as the pipeline's call
        decoded = vae.decode(latents.to(dtype) / vae.config.scaling_factor, return_dict=False)[0].float()
        finite = latents.isfinite().flatten(1).all(1) & decoded.isfinite().flatten(1).all(1)
        pixels = self.pipe.image_processor.denormalize(decoded.nan_to_num()) * 255
        return pixels.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy(), finite.cpu().numpy()

    def num_rows_that_fit(self) -> int:
        """How many rows the UNet's steps have room for in the card's free memory, measured on one; one at least.

        The autoencoder takes one picture after the other, so its memory does not grow with the rows. Workers that
        share a card each count all that is free.
        """
        square, one_step = np.zeros((1, self.config.size, self.config.size, 3), np.uint8), 1.5
        strength = min(1.0, one_step / self.config.num_inference_steps)
        latents, text = self.encode(square, [0]), self.text([""])
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        painted = self.paint(latents, text, [0], strength)
        num_bytes = torch.cuda.max_memory_allocated() - before
        self.decode(painted)  # its kernels take their memory before the rest is called free
        torch.cuda.empty_cache()
        return max(1, int(USABLE * torch.cuda.mem_get_info()[0] / num_bytes))

    def _cast_vae(self, precise: bool) -> torch.dtype:
        """Put the autoencoder into float32 or the pipeline's precision, and say which."""
        dtype = torch.float32 if precise else self.dtype
        torch.nn.Module.to(self.pipe.vae, dtype)  # diffusers' own `to` writes a warning each time
        return dtype


def _load(config: GenerateConfig, dtype: torch.dtype) -> Any:
    folder, variant = _fetch_pipeline(config, dtype)
    options = {"dtype": dtype, "low_cpu_mem_usage": is_accelerate_available()}
    if config.vae.id:
        vae = checkpoints.fetch(config.vae, [["diffusion_pytorch_model.safetensors"]])
        options["vae"] = AutoModel.from_pretrained(str(vae), **options)
    return StableDiffusionXLImg2ImgPipeline.from_pretrained(
        folder, variant=variant, use_safetensors=True, add_watermarker=False, **options
    )


def _fetch_pipeline(config: GenerateConfig, dtype: torch.dtype) -> tuple[Path, str | None]:
    """The pipeline's folder and the variant of its files: half precision where that is enough and there."""
    order = (None, VARIANT) if dtype == torch.float32 else (VARIANT, None)
    patterns = {variant: weight_files(variant, own_vae=not config.vae.id) for variant in order}
    folder = checkpoints.fetch(config.model, list(patterns.values()))
    return folder, next(variant for variant in order if any(folder.glob(patterns[variant][0])))


def weight_files(variant: str | None, own_vae: bool) -> list[str]:
    """Patterns of the files that one variant of a pipeline is loaded from, and of no other file; the UNet's first."""
    ending = f"model.{variant}.safetensors" if variant else "model.safetensors"
    return [f"{part}/*{ending}" for part in ("unet", "text_encoder*", *(["vae"] if own_vae else []))]


def _generators(seeds: Sequence[int]) -> list[torch.Generator]:
    return [torch.Generator("cpu").manual_seed(int(seed)) for seed in seeds]

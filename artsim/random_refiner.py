"""SDXL's image-to-image refiner with random weights: to measure a card that has no network, and for tests.

Nothing is downloaded. A picture that such a model makes is noise, but it costs what the real one costs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    EulerDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from artsim.random_weights import clip_tokenizer

SEED = 0

# Stability-AI/generative-models, configs/inference/sd_xl_refiner.yaml (model_channels 384, channel_mult 1 2 4 4,
# attention_resolutions 4 2, transformer_depth 4, num_head_channels 64, context_dim 1280, adm_in_channels 2560), put
# into diffusers' words by the rules of its create_unet_diffusers_config.
REFINER_UNET: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (384, 768, 1536, 1536),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": (6, 12, 24, 24),  # numbers of heads, whatever the name says
    "transformer_layers_per_block": 4,
    "cross_attention_dim": 1280,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2560,
}
# open_clip, model_configs/ViT-bigG-14.json: the text tower, in transformers' words.
REFINER_TEXT: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}
# The first_stage_config and scale_factor of the same sd_xl_refiner.yaml; upcasting as diffusers' SDXL guide tells.
REFINER_VAE: dict[str, Any] = {
    "sample_size": 1024,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "scaling_factor": 0.13025,
    "force_upcast": True,
}
# As in diffusers' download_from_original_stable_diffusion_ckpt for SDXL.
SCHEDULER: dict[str, Any] = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
_TINY_UNET = REFINER_UNET | {
    "sample_size": 16,
    "block_out_channels": (16, 32, 32, 32),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": (1, 2, 2, 2),
    "transformer_layers_per_block": 1,
    "cross_attention_dim": 32,
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 32 + 5 * 8,  # pooled text; two sizes, two corners and the aesthetic score
}
_TINY_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": 32,
    "hidden_act": "gelu",
}
_TINY_VAE = REFINER_VAE | {"sample_size": 64, "block_out_channels": (8, 8, 8, 8), "norm_num_groups": 4}
_TINY_TAESD = {
    "encoder_block_out_channels": (8, 8, 8, 8),
    "decoder_block_out_channels": (8, 8, 8, 8),
    "num_encoder_blocks": (1, 1, 1, 1),
    "num_decoder_blocks": (1, 1, 1, 1),
}


def random_refiner(folder: Path, tiny: bool = False) -> Path:
    """Save a refiner pipeline with random weights of the real one's sizes, float16 (6 GB); tiny: float32, 4 MB."""
    tokenizer = clip_tokenizer(pad_token="!")  # as the refiner's
    specials = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = (_TINY_TEXT | {"vocab_size": len(tokenizer)} if tiny else REFINER_TEXT) | specials
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        pipeline: Any = StableDiffusionXLImg2ImgPipeline(
            vae=_stored(AutoencoderKL(**_autoencoder(tiny)), tiny),
            text_encoder=None,
            tokenizer=None,
            text_encoder_2=_stored(CLIPTextModelWithProjection(CLIPTextConfig(**text)), tiny),
            tokenizer_2=tokenizer,
            unet=_stored(UNet2DConditionModel(**(_TINY_UNET if tiny else REFINER_UNET)), tiny),
            scheduler=EulerDiscreteScheduler(**SCHEDULER),
            requires_aesthetics_score=True,
            force_zeros_for_empty_prompt=False,
            add_watermarker=False,
        )
    pipeline.save_pretrained(folder, variant=None if tiny else "fp16")
    return folder


def random_vae(folder: Path, tiny: bool = False) -> Path:
    """Save an AutoencoderTiny with random weights, by default of the size of TAESDXL (diffusers' own defaults)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        vae: Any = AutoencoderTiny(**(_TINY_TAESD if tiny else {}))
    torch.nn.init.constant_(vae.decoder.layers[-1].bias, 0.5)  # around mid-grey: nothing is made black by chance
    vae.save_pretrained(folder)
    return folder


def _stored(model: Any, tiny: bool) -> Any:
    return model if tiny else model.half()


def _autoencoder(tiny: bool) -> dict[str, Any]:
    config = _TINY_VAE if tiny else REFINER_VAE
    depth = len(config["block_out_channels"])
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * depth, "up_block_types": ("UpDecoderBlock2D",) * depth}
    return config | blocks

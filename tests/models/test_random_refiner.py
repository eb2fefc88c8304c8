"""Random weights have the sizes of the published ones, and are the same each time."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, StableDiffusionXLImg2ImgPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from artsim import random_refiner

pytestmark = pytest.mark.models


def test_the_full_size_is_that_of_the_published_refiner() -> None:
    """The one file of sd_xl_refiner_1.0, 16-bit weights of all three models after a header, has 6,075,981,930 bytes."""
    with torch.device("meta"):
        models = [
            UNet2DConditionModel(**random_refiner.REFINER_UNET),
            CLIPTextModelWithProjection(CLIPTextConfig(**random_refiner.REFINER_TEXT)),
            AutoencoderKL(**random_refiner._autoencoder(tiny=False)),
        ]
    sizes = [sum(weights.numel() for weights in model.parameters()) for model in models]
    header = 6_075_981_930 - 2 * sum(sizes)
    assert 200_000 < header < 400_000  # about 2,600 names, shapes and places of 120 bytes
    assert round(sizes[1] / 1e6, 2) == 694.66  # open_clip's table of models, text tower of ViT-bigG-14


def test_the_small_autoencoder_is_of_the_published_size(tmp_path: Path) -> None:
    """As in TAESD's README: weights of encoder and decoder."""
    vae = AutoencoderTiny.from_pretrained(random_refiner.random_vae(tmp_path))
    sizes = [sum(weights.numel() for weights in half.parameters()) for half in (vae.encoder, vae.decoder)]
    assert sizes == [1_222_532, 1_222_531]


def test_a_tiny_refiner_is_one_and_the_same_each_time(tmp_path: Path) -> None:
    first, second = (random_refiner.random_refiner(tmp_path / name, tiny=True) for name in ("first", "second"))
    pipe = StableDiffusionXLImg2ImgPipeline.from_pretrained(first, add_watermarker=False)
    assert (pipe.text_encoder, pipe.tokenizer) == (None, None)
    assert pipe.config.requires_aesthetics_score
    assert not pipe.config.force_zeros_for_empty_prompt
    files = sorted(path.relative_to(first) for path in first.rglob("*.safetensors"))
    assert len(files) == 3
    for name in files:
        one, other = load_file(first / name), load_file(second / name)
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_tokenizer_knows_every_text(tmp_path: Path) -> None:
    folder = random_refiner.random_refiner(tmp_path, tiny=True)
    pipe = StableDiffusionXLImg2ImgPipeline.from_pretrained(folder, add_watermarker=False)
    tokenizer = pipe.tokenizer_2
    text = "a river at dawn, naïve quixotry 42!"
    numbers = tokenizer(text).input_ids
    assert (numbers[0], numbers[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert tokenizer.decode(numbers, skip_special_tokens=True).replace(" ", "") == text.replace(" ", "").replace(
        "!", ""
    )
    assert len(tokenizer(text, padding="max_length").input_ids) == 77
    assert tokenizer.tokenize("river and mountains") == ["river</w>", "and</w>", "mountains</w>"]
    assert max(numbers) < pipe.text_encoder_2.config.vocab_size

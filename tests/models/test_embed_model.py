"""Features of real vision models: shapes, what they must not see, and plain transformers calls that agree."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.Image import Resampling
from safetensors.numpy import load_file, save_file
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from artsim import checkpoints
from artsim.checkpoints import CheckpointError
from artsim.config import EmbedConfig, ModelConfig, Workers
from artsim.images import encode_jpeg
from artsim.stages import EngineError, embed_caption_stage, embed_image_stage
from artsim.stages.embed_model import EmbedCaptionWithModel, EmbedImageWithModel
from artsim.store import Store
from tests.conftest import shared
from tests.models.tiny_vision import tiny_clip

pytestmark = pytest.mark.models

BOX = (0, 48, 256, 160)
# Matrix products of another batch size or memory alignment sum in another order: up to 8e-6 was seen on values up to 5.
# Tokens, of the order of 1 to 20, may then round to the neighbouring float16.
POOLED, TOKENS = {"rtol": 0, "atol": 3e-5}, {"rtol": 2e-3, "atol": 1e-3}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip"))


def config(folder: Path, micro_batch_size: int = 8, **settings: Any) -> EmbedConfig:
    workers = Workers(micro_batch_size=micro_batch_size)
    return EmbedConfig(model=ModelConfig(id=str(folder)), workers=workers, **settings)


def scene(seed: int, width: int = 256, height: int = 160) -> Image.Image:
    """A smooth field of colours."""
    colours = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(colours).resize((width, height), Resampling.BICUBIC)


def square(content: Image.Image, box: tuple[int, ...], around: tuple[int, int, int] = (0, 0, 0)) -> Image.Image:
    canvas = Image.new("RGB", (256, 256), around)
    canvas.paste(content.resize(box[2:], Resampling.LANCZOS), box[:2])
    return canvas


def batch_of(*rows: tuple[Any, tuple[int, ...]]) -> dict[str, np.ndarray]:
    images = np.empty(len(rows), object)
    images[:] = [encode_jpeg(image, 95) if isinstance(image, Image.Image) else image for image, _ in rows]
    batch = {"image": images, "box": np.array([box for _, box in rows], np.int32)}
    for column in batch.values():
        column.flags.writeable = False  # as Ray hands them out
    return batch


def texts(*captions: str | None) -> dict[str, np.ndarray]:
    column = np.empty(len(captions), object)
    column[:] = captions
    return {"caption": column}


def pixels_seen(stage: EmbedImageWithModel, batch: dict[str, np.ndarray]) -> np.ndarray:
    """What enters the vision tower (B, 3, H, W)."""
    seen: list[torch.Tensor] = []
    with stage.model.vision_model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(inputs["pixel_values"]), with_kwargs=True
    ):
        stage(batch)
    return torch.cat(seen).numpy()


@pytest.mark.s3
def test_a_checkpoint_on_an_object_store_is_copied_and_gives_the_same_features(
    s3: None, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "CACHE", tmp_path)
    for file in clip.iterdir():
        Store("s3://art/models/clip").write(file.name, file.read_bytes())
    there = checkpoints.pinned(EmbedConfig(model=ModelConfig(id="s3://art/models/clip")))
    assert there.model.revision == checkpoints.pin(ModelConfig(id=str(clip))).revision
    batch = batch_of((square(scene(0), BOX), BOX))
    copied, local = (EmbedImageWithModel(settings)(batch)["pooled"] for settings in (there, config(clip)))
    assert np.array_equal(copied, local)
    assert [path.is_dir() for path in tmp_path.iterdir()].count(True) == 1


def test_threads_that_ask_at_once_get_what_each_asked_for(clip: Path) -> None:
    stage = EmbedImageWithModel(config(clip))
    batches = [batch_of((square(scene(seed), BOX), BOX)) for seed in range(4)] * 10
    alone = [stage(batch)["early"] for batch in batches]
    with ThreadPoolExecutor(4) as threads:
        together = [features["early"] for features in threads.map(stage, batches)]
    np.testing.assert_allclose(together, alone, **POOLED)


def test_shapes_and_a_plain_call_of_transformers(clip: Path) -> None:
    scenes = [scene(seed) for seed in range(5)]
    batch = batch_of(*((square(picture, BOX), BOX) for picture in scenes))
    out = embed_image_stage(config(clip))(config(clip, micro_batch_size=2))(batch)
    assert (out["pooled"].shape, out["pooled"].dtype) == ((5, 24), np.float32)
    assert (out["tokens"].shape, out["tokens"].dtype) == ((5, 16, 32), np.float16)
    assert list(out["error"]) == [None] * 5
    assert out["image"] is batch["image"]

    model, processor = CLIPModel.from_pretrained(clip), AutoImageProcessor.from_pretrained(clip, backend="pil")
    left, top, width, height = BOX
    crops = [
        Image.fromarray(np.asarray(square_of(data))[top : top + height, left : left + width]).resize((64, 64))
        for data in batch["image"]
    ]
    with torch.no_grad():
        answer = model.get_image_features(**processor(crops, return_tensors="pt"))
    np.testing.assert_allclose(out["pooled"], answer.pooler_output.numpy(), **POOLED)
    np.testing.assert_allclose(out["tokens"], answer.last_hidden_state[:, 1:].numpy(), **TOKENS)
    assert np.abs(out["pooled"][0] - out["pooled"][1]).max() > 0.1  # other pictures, other features


def square_of(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


def test_tokens_are_a_row_major_grid(clip: Path) -> None:
    """Attention is all that mixes patches; with its answer at nought, only the patch that changed may differ."""
    stage = EmbedImageWithModel(config(clip))
    for layer in stage.model.vision_model.encoder.layers:
        for value in layer.self_attn.out_proj.parameters():
            value.data.zero_()
    plain, marked = np.zeros((2, 64, 64, 3), np.uint8)
    marked[16:32, 48:64] = 255  # second row, fourth column
    tokens = stage(batch_of(*((Image.fromarray(picture), (0, 0, 64, 64)) for picture in (plain, marked))))["tokens"]
    changed = np.abs(tokens[0].astype(np.float32) - tokens[1]).max(-1)
    assert changed.argmax() == 4 + 3
    assert np.delete(changed, 7).max() < changed[7] / 10  # JPEG rings a little beyond the edge


@pytest.mark.parametrize("preprocessing", ["content", "model"])
def test_rows_do_not_depend_on_micro_batch_or_order(clip: Path, preprocessing: str) -> None:
    rows = [(square(scene(seed), BOX), BOX) for seed in range(8)]
    alone = EmbedImageWithModel(config(clip, 1, preprocessing=preprocessing))(batch_of(*rows))
    together = EmbedImageWithModel(config(clip, 8, preprocessing=preprocessing))(batch_of(*reversed(rows)))
    np.testing.assert_allclose(alone["pooled"], together["pooled"][::-1], **POOLED)
    np.testing.assert_allclose(alone["tokens"], together["tokens"][::-1], **TOKENS)


def test_bars_are_not_seen(clip: Path) -> None:
    """The pictures are lossless here, so that a codec cannot carry a bar inside: the pixels shown are the very same."""
    images = [png(square(scene(1), BOX, around=colour)) for colour in ((0, 0, 0), (255, 255, 255), (200, 10, 60))]
    batch = batch_of(*((image, BOX) for image in images))
    seen = pixels_seen(EmbedImageWithModel(config(clip)), batch)
    np.testing.assert_array_equal(seen, seen[[0, 0, 0]])
    out = EmbedImageWithModel(config(clip))(batch)
    np.testing.assert_allclose(out["pooled"], out["pooled"][[0, 0, 0]], **POOLED)
    whole = EmbedImageWithModel(config(clip, preprocessing="model"))(batch)
    assert np.abs(whole["pooled"][0] - whole["pooled"][1]).max() > 0.1  # there they are seen


def test_proportions_are_not_seen(clip: Path) -> None:
    """Squashed to other boxes the same content is resampled twice, hence a cosine near 1 and not 1."""
    boxes = [(0, 0, 256, 256), BOX, (64, 0, 128, 256)]
    rows = [(square(scene(seed), box), box) for seed in range(4) for box in boxes]
    pooled = EmbedImageWithModel(config(clip))(batch_of(*rows))["pooled"].reshape(4, 3, -1)
    unit = pooled / np.linalg.norm(pooled, axis=-1, keepdims=True)
    assert (unit[:, :1] * unit).sum(-1).min() > 0.98
    others = np.einsum("ad,bd->ab", unit[:, 0], unit[:, 1])
    assert others[~np.eye(4, dtype=bool)].max() < 0.95


def png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_broken_pictures_fail_alone(clip: Path) -> None:
    good = square(scene(3), BOX)
    data = encode_jpeg(good, 95)
    rows = [(b"", BOX), (good, BOX), (data[:900], BOX), (good, (0, 0, 0, 9)), (good, (9, 0, 256, 9)), (None, BOX)]
    stage = EmbedImageWithModel(config(clip))
    out = stage(batch_of(*rows))
    reasons = [error and error.partition(": ")[0] for error in out["error"]]
    assert reasons == ["empty", None, "truncated", "empty", "corrupt", "empty"]
    np.testing.assert_allclose(out["pooled"][1], stage(batch_of((good, BOX)))["pooled"][0], **POOLED)
    assert not out["pooled"][[0, 2, 3, 4, 5]].any()
    nothing = stage(batch_of((b"no picture", BOX)))
    assert nothing["error"][0].startswith("not_an_image: ")
    assert nothing["tokens"].shape == (1, 16, 32)


def test_values_that_are_no_numbers_are_an_error(clip: Path) -> None:
    stage = EmbedImageWithModel(config(clip))
    with torch.no_grad():
        stage.model.visual_projection.weight[0] = torch.nan
    out = stage(batch_of((square(scene(0), BOX), BOX)))
    assert out["error"][0].startswith("invalid_output: ")
    assert not out["pooled"].any()


class Device:
    """An encoder in front of the real one that holds only so many rows, or fails in another way."""

    def __init__(self, stage: EmbedImageWithModel, capacity: int, error: type[Exception]) -> None:
        self._encode, self._capacity, self._error = stage.encode, capacity, error
        self.sizes: list[int] = []
        stage.encode = self.encode  # type: ignore[method-assign]

    def encode(self, pictures: list[np.ndarray]) -> tuple[torch.Tensor, ...]:
        self.sizes.append(len(pictures))
        if len(pictures) > self._capacity:
            raise self._error("the device says so")
        return self._encode(pictures)


def test_out_of_memory_halves_the_micro_batch_for_good(clip: Path) -> None:
    batch = batch_of(*((square(scene(seed), BOX), BOX) for seed in range(7)))
    plain = EmbedImageWithModel(config(clip, 6))(batch)
    stage = EmbedImageWithModel(config(clip, 6))
    device = Device(stage, 2, torch.OutOfMemoryError)
    out = stage(batch)
    assert device.sizes == [6, 3, 1, 1, 1, 1, 1, 1, 1]
    np.testing.assert_allclose(out["pooled"], plain["pooled"], **POOLED)
    assert list(out["error"]) == [None] * 7
    stage(batch)
    assert device.sizes[9:] == [1] * 7  # remembered


@pytest.mark.parametrize(
    ("error", "raised"), [(torch.OutOfMemoryError, torch.OutOfMemoryError), (RuntimeError, EngineError)]
)
def test_a_device_that_cannot_hold_a_row_or_fails_raises(
    clip: Path, error: type[Exception], raised: type[Exception]
) -> None:
    stage = EmbedImageWithModel(config(clip, 4))
    Device(stage, 0, error)
    with pytest.raises(raised, match="the device says so"):
        stage(batch_of((square(scene(0), BOX), BOX), (square(scene(1), BOX), BOX)))


def test_clips_own_preprocessing_gives_the_reference_pixels(tmp_path: Path) -> None:
    folder = shared("data/clip_reference")
    reference = load_file(folder / "reference.safetensors")
    paths = sorted((folder / "images").iterdir())
    stage = EmbedImageWithModel(config(tiny_clip(tmp_path, image_size=224), preprocessing="model"))
    seen = pixels_seen(stage, batch_of(*((path.read_bytes(), (0, 0, 1, 1)) for path in paths)))
    mean, deviation = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    assert len(paths) == 7
    for pixels, path in zip(seen, paths, strict=True):
        expected = reference[f"u8/{path.stem}"]
        values = pixels.transpose(1, 2, 0).astype(np.float64)
        np.testing.assert_array_equal(np.rint((values * deviation + mean) * 255), expected)
        np.testing.assert_allclose(values, (expected / 255 - mean) / deviation, rtol=0, atol=5e-7)  # float32's last bit


def test_content_is_normalised_as_the_model_wants_it(clip: Path) -> None:
    picture = Image.new("RGB", (64, 64), (255, 128, 0))
    seen = pixels_seen(EmbedImageWithModel(config(clip)), batch_of((png(picture), (0, 0, 64, 64))))
    expected = [(1 - 0.48145466) / 0.26862954, (128 / 255 - 0.4578275) / 0.26130258, -0.40821073 / 0.27577711]
    np.testing.assert_allclose(seen[0].reshape(3, -1).T, np.tile(expected, (64 * 64, 1)), rtol=1e-6)


def test_mobilenet_gives_its_feature_map() -> None:
    folder = shared("models/mobilenet_v1_1.0_224")
    picture = square(scene(5), BOX)
    out = EmbedImageWithModel(config(folder, preprocessing="model"))(batch_of((picture, BOX)))
    assert (out["pooled"].shape, out["tokens"].shape) == ((1, 1024), (1, 49, 1024))
    jpeg = square_of(encode_jpeg(picture, 95))
    values = np.asarray(jpeg.resize((224, 224), Resampling.BILINEAR), np.float32) / 127.5 - 1  # its README
    with torch.no_grad():
        answer = AutoModel.from_pretrained(folder)(torch.from_numpy(values).permute(2, 0, 1)[None])
    np.testing.assert_allclose(out["pooled"], answer.pooler_output.numpy(), rtol=0, atol=1e-4)
    expected = answer.last_hidden_state[0].permute(1, 2, 0).reshape(49, 1024)
    np.testing.assert_allclose(out["tokens"][0], expected.numpy(), rtol=2e-3, atol=1e-3)
    content = EmbedImageWithModel(config(folder))(batch_of((picture, BOX)))
    assert np.abs(content["pooled"] - out["pooled"]).max() > 0.1


VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 64,
    "patch_size": 16,
}


def test_models_without_a_trained_pooler_give_the_class_token(clip: Path, tmp_path: Path) -> None:
    """Transformers would fill in a random pooler where a classifier's checkpoint has none."""
    ViTForImageClassification(ViTConfig(**VIT)).save_pretrained(tmp_path)
    shutil.copy(clip / "preprocessor_config.json", tmp_path)
    batch = batch_of((square(scene(2), BOX), BOX))
    first, second = (EmbedImageWithModel(config(tmp_path))(batch) for _ in range(2))
    np.testing.assert_allclose(first["pooled"], second["pooled"], **POOLED)
    stage = EmbedImageWithModel(config(tmp_path))
    pixels = torch.from_numpy(pixels_of(stage, batch))
    with torch.no_grad():
        hidden = ViTForImageClassification.from_pretrained(tmp_path).vit(pixels).last_hidden_state
    np.testing.assert_allclose(first["pooled"], hidden[:, 0].numpy(), **POOLED)
    np.testing.assert_allclose(first["tokens"], hidden[:, 1:].numpy(), **TOKENS)


def pixels_of(stage: EmbedImageWithModel, batch: dict[str, np.ndarray]) -> np.ndarray:
    seen: list[torch.Tensor] = []
    with stage.model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(inputs["pixel_values"]), with_kwargs=True
    ):
        stage(batch)
    return torch.cat(seen).numpy()


@pytest.mark.parametrize(
    ("kind", "settings", "num_before"),
    [(Dinov2Model, Dinov2Config, 1), (Dinov2WithRegistersModel, Dinov2WithRegistersConfig, 5)],
)
def test_class_token_and_registers_are_no_patches(
    clip: Path, tmp_path: Path, kind: Any, settings: Any, num_before: int
) -> None:
    vit = VIT | {"mlp_ratio": 2}
    del vit["intermediate_size"]
    model = kind(settings(**vit)).eval()
    model.save_pretrained(tmp_path)
    shutil.copy(clip / "preprocessor_config.json", tmp_path)
    stage, batch = EmbedImageWithModel(config(tmp_path)), batch_of((square(scene(2), BOX), BOX))
    with torch.no_grad():
        answer = model(torch.from_numpy(pixels_of(stage, batch)))
    out = stage(batch)
    np.testing.assert_allclose(out["tokens"], answer.last_hidden_state[:, num_before:].numpy(), **TOKENS)
    np.testing.assert_allclose(out["pooled"], answer.pooler_output.numpy(), **POOLED)


@pytest.mark.parametrize(
    ("kind", "settings"), [(Dinov2WithRegistersModel, Dinov2WithRegistersConfig), (ViTModel, ViTConfig)]
)
def test_early_numbers_are_of_the_first_quarter(clip: Path, tmp_path: Path, kind: Any, settings: Any) -> None:
    """The second of eight layers, by transformers' own list of hidden states, without class token and registers."""
    model = kind(settings(**VIT | {"num_hidden_layers": 8})).eval()
    model.save_pretrained(tmp_path)
    shutil.copy(clip / "preprocessor_config.json", tmp_path)
    stage, batch = (
        EmbedImageWithModel(config(tmp_path)),
        batch_of(*((square(scene(seed), BOX), BOX) for seed in (1, 2))),
    )
    with torch.no_grad():
        hidden = model(torch.from_numpy(pixels_of(stage, batch)), output_hidden_states=True).hidden_states
    patches = hidden[2][:, -16:].numpy()
    assert (len(hidden), patches.shape) == (9, (2, 16, 32))
    early = stage(batch)["early"]
    np.testing.assert_allclose(early, np.concatenate([patches.mean(1), patches.std(1)], 1), **POOLED)
    assert np.abs(early[0] - early[1]).max() > 1e-3


def test_early_numbers_of_clip_and_of_siglip(clip: Path, tmp_path: Path) -> None:
    tower = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}
    siglip = SiglipVisionModel(SiglipVisionConfig(**tower, image_size=64, patch_size=16)).eval()
    siglip.save_pretrained(tmp_path)
    shutil.copy(clip / "preprocessor_config.json", tmp_path)
    batch = batch_of((square(scene(2), BOX), BOX))
    ours, theirs = EmbedImageWithModel(config(clip)), EmbedImageWithModel(config(tmp_path))
    seen = pixels_seen(ours, batch), pixels_of(theirs, batch)
    for stage, model, pixels in zip((ours, theirs), (ours.model.vision_model, siglip), seen, strict=True):
        with torch.no_grad():
            patches = model(torch.from_numpy(pixels), output_hidden_states=True).hidden_states[1][:, -16:].numpy()
        expected = np.concatenate([patches.mean(1), patches.std(1)], 1)
        np.testing.assert_allclose(stage(batch)["early"], expected, **POOLED)


def test_early_numbers_of_mobilenet(clip: Path) -> None:
    stage = EmbedImageWithModel(config(shared("models/mobilenet_v1_1.0_224"), tokens=False))
    batch = batch_of((square(scene(5), BOX), BOX))
    with torch.no_grad():
        hidden = stage.model(torch.from_numpy(pixels_of(stage, batch)), output_hidden_states=True).hidden_states[5]
    assert hidden.shape == (1, 128, 56, 56)
    expected = np.concatenate([hidden.mean((2, 3)).numpy(), hidden.flatten(2).std(2, correction=0).numpy()], 1)
    out = stage(batch)
    np.testing.assert_allclose(out["early"], expected, rtol=0, atol=1e-4)
    assert out["early"].shape == (1, stage.early_size)
    assert "tokens" not in out


def test_a_checkpoint_that_lacks_weights_is_refused(clip: Path, tmp_path: Path) -> None:
    shutil.copytree(clip, tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks 1 weights of CLIPModel, such as visual_projection\.weight"):
        EmbedImageWithModel(config(tmp_path))


def test_a_processor_that_does_more_to_pixels_is_refused(clip: Path, tmp_path: Path) -> None:
    """MobileViT's turns RGB into BGR: scaling and normalising on the device alone would be silently wrong."""
    shutil.copytree(clip, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "preprocessor_config.json"
    changes = {"image_processor_type": "MobileViTImageProcessor", "do_flip_channel_order": True}
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(CheckpointError, match="MobileViTImageProcessorPil does more to pixels"):
        EmbedImageWithModel(config(tmp_path))


def test_weights_that_were_pickled_are_loaded(clip: Path, tmp_path: Path) -> None:
    """OpenAI's own ViT-B/32 repository has no safetensors."""
    shutil.copytree(clip, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.save(CLIPModel.from_pretrained(clip).state_dict(), tmp_path / "pytorch_model.bin")
    batch = batch_of((square(scene(2), BOX), BOX))
    new, old = (EmbedImageWithModel(config(folder))(batch)["pooled"] for folder in (clip, tmp_path))
    np.testing.assert_allclose(new, old, **POOLED)


def test_only_the_tower_that_is_asked_for_is_kept(clip: Path) -> None:
    assert EmbedImageWithModel(config(clip)).model.text_model is None
    assert EmbedCaptionWithModel(config(clip)).model.vision_model is None


def test_captions_against_a_plain_call_of_transformers(clip: Path) -> None:
    captions = ["a woman in a blue dress", None, "two ships", " \n", "a landscape " * 30]
    out = embed_caption_stage(config(clip))(config(clip, micro_batch_size=2))(texts(*captions))
    assert [error and error.partition(": ")[0] for error in out["error"]] == [None, "empty", None, "empty", None]
    assert (out["pooled"].shape, out["pooled"].dtype) == ((5, 24), np.float32)
    assert not out["pooled"][[1, 3]].any()
    model, tokenizer = CLIPModel.from_pretrained(clip), AutoTokenizer.from_pretrained(clip)
    for row in (0, 2, 4):  # each alone and without padding; the last is longer than the tower's 24 positions
        with torch.no_grad():
            inputs = tokenizer(captions[row], return_tensors="pt", truncation=True, max_length=24)
            expected = model.get_text_features(**inputs).pooler_output
        np.testing.assert_allclose(out["pooled"][row], expected[0].numpy(), **POOLED)
    assert np.abs(out["pooled"][0] - out["pooled"][2]).max() > 0.1


def test_a_model_without_a_text_tower_says_so() -> None:
    folder = shared("models/mobilenet_v1_1.0_224")
    with pytest.raises(CheckpointError, match="has no text tower"):
        EmbedCaptionWithModel(config(folder))

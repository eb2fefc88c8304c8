"""Captions of a real BLIP-2: the prompt, the box, and a plain transformers call that says the same."""

import json
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.Image import Resampling
from transformers import AutoProcessor, Blip2ForConditionalGeneration, Blip2Processor

from artsim.checkpoints import CheckpointError
from artsim.config import CaptionConfig, ModelConfig, Workers
from artsim.stages import EngineError, caption_stage
from artsim.stages.caption_model import CaptionWithModel
from tests.models.tiny_vision import tiny_blip2

pytestmark = pytest.mark.models

BOX = (0, 48, 256, 160)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def blip2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_blip2(tmp_path_factory.mktemp("blip2"))


def config(folder: Path, micro_batch_size: int = 8, max_new_tokens: int = 12) -> CaptionConfig:
    workers = Workers(micro_batch_size=micro_batch_size)
    return CaptionConfig(model=ModelConfig(id=str(folder)), workers=workers, max_new_tokens=max_new_tokens)


def png(seed: int, around: int = 0) -> bytes:
    """A smooth field of colours inside the box, lossless, so that the bars cannot leak through a codec."""
    colours = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    canvas = Image.new("RGB", (256, 256), (around, around, around))
    canvas.paste(Image.fromarray(colours).resize((256, 160), Resampling.BICUBIC), (0, 48))
    buffer = BytesIO()
    canvas.save(buffer, "PNG")
    return buffer.getvalue()


def batch_of(*images: bytes | None) -> dict[str, np.ndarray]:
    column = np.empty(len(images), object)
    column[:] = images
    batch = {"image": column, "box": np.array([BOX] * len(images), np.int32)}
    for values in batch.values():
        values.flags.writeable = False
    return batch


def test_says_what_a_plain_call_of_transformers_says(blip2: Path) -> None:
    images = [png(seed) for seed in range(8)]
    out = caption_stage(config(blip2))(config(blip2, micro_batch_size=3))(batch_of(*images))
    assert list(out["error"]) == [None] * 8
    assert len(set(out["caption"])) > 4  # the picture decides

    processor, model = AutoProcessor.from_pretrained(blip2), Blip2ForConditionalGeneration.from_pretrained(blip2)
    assert isinstance(processor, Blip2Processor)
    for data, caption in zip(images, out["caption"], strict=True):
        content = Image.open(BytesIO(data)).crop((0, 48, 256, 208))
        inputs = processor(images=content, text="", return_tensors="pt")
        tokens = model.generate(**inputs, max_new_tokens=12, do_sample=False)
        assert caption == " ".join(processor.decode(tokens[0], skip_special_tokens=True).split())


def test_the_prompt_is_the_picture_and_one_token(blip2: Path) -> None:
    stage, seen = CaptionWithModel(config(blip2)), []
    with stage.model.language_model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(inputs.get("inputs_embeds")), with_kwargs=True
    ):
        stage(batch_of(png(0)))
    processor = Blip2Processor.from_pretrained(blip2)
    ids = processor(images=Image.new("RGB", (9, 9)), text="", return_tensors="np")["input_ids"][0]
    assert seen[0].shape[1] == len(ids) == 5
    assert processor.tokenizer.convert_ids_to_tokens(ids) == ["<image>"] * 4 + ["</s>"]


def test_rows_do_not_depend_on_micro_batch_or_order(blip2: Path) -> None:
    images = [png(seed) for seed in range(8)]
    alone = CaptionWithModel(config(blip2, 1))(batch_of(*images))["caption"]
    together = CaptionWithModel(config(blip2, 8))(batch_of(*reversed(images)))["caption"]
    assert list(alone) == list(reversed(together))


def test_bars_are_not_seen(blip2: Path) -> None:
    black, white, other = CaptionWithModel(config(blip2))(batch_of(png(1), png(1, around=255), png(3)))["caption"]
    assert black == white
    assert black != other


def test_a_caption_ends_where_the_model_ends_it(blip2: Path, tmp_path: Path) -> None:
    """The language model's own end token counts (in BLIP-2 with OPT the line break), not the tokenizer's."""
    stage = CaptionWithModel(config(blip2))
    (tokens,) = stage.write([np.full((56, 56, 3), 90, np.uint8)])
    assert tokens.shape == (1, 12)
    last = int(tokens[0, 4])
    changed = with_config(blip2, tmp_path, text_config={"eos_token_id": last})
    (shorter,) = CaptionWithModel(config(changed)).write([np.full((56, 56, 3), 90, np.uint8)])
    first = tokens[0].tolist().index(last)
    assert shorter[0].tolist() == tokens[0, : first + 1].tolist()


def with_config(source: Path, target: Path, **changes: Any) -> Path:
    """A copy of a checkpoint whose config.json says something else."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    settings = json.loads((target / "config.json").read_text())
    for name, value in changes.items():
        settings[name] = settings[name] | value if isinstance(value, dict) else value
    (target / "config.json").write_text(json.dumps(settings))
    return target


def test_an_empty_caption_is_an_error(blip2: Path, tmp_path: Path) -> None:
    """A model that ends at once: its first token is made the one that ends a text."""
    stage, picture = CaptionWithModel(config(blip2)), png(2)
    content = Image.open(BytesIO(picture)).crop((0, 48, 256, 208)).resize((56, 56), Resampling.BICUBIC)
    (tokens,) = stage.write([np.asarray(content)])
    changed = with_config(blip2, tmp_path, text_config={"eos_token_id": int(tokens[0, 0])})
    tokenizer = json.loads((changed / "tokenizer.json").read_text())
    special = {"id": int(tokens[0, 0]), "content": token_named(tokenizer, int(tokens[0, 0])), "special": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    tokenizer["added_tokens"].append(special | flags)
    (changed / "tokenizer.json").write_text(json.dumps(tokenizer))
    out = CaptionWithModel(config(changed))(batch_of(picture))
    assert out["error"][0] == "empty: the model wrote nothing"
    assert out["caption"][0] is None


def token_named(tokenizer: dict[str, Any], number: int) -> str:
    return next(word for word, index in tokenizer["model"]["vocab"].items() if index == number)


def test_broken_pictures_fail_alone(blip2: Path) -> None:
    good = png(4)
    stage = CaptionWithModel(config(blip2))
    out = stage(batch_of(b"", good, good[:500], b"no picture", None))
    assert [error and error.partition(": ")[0] for error in out["error"]] == [
        *("empty", None, "truncated", "not_an_image", "empty")
    ]
    assert [caption is None for caption in out["caption"]] == [True, False, True, True, True]
    assert out["caption"][1] == stage(batch_of(good))["caption"][0]


def test_out_of_memory_halves_the_micro_batch_for_good(blip2: Path) -> None:
    images = [png(seed) for seed in range(6)]
    plain = CaptionWithModel(config(blip2))(batch_of(*images))["caption"]
    stage, sizes = CaptionWithModel(config(blip2, 6)), []

    def hold_three_rows(_: Any, inputs: tuple[torch.Tensor]) -> None:
        sizes.append(len(inputs[0]))
        if len(inputs[0]) > 3:
            raise torch.OutOfMemoryError("the device says so")

    stage.model.vision_model.register_forward_pre_hook(hold_three_rows)
    assert list(stage(batch_of(*images))["caption"]) == list(plain)
    stage(batch_of(*images))
    assert sizes == [6, 3, 3, 3, 3]


def test_a_device_that_fails_raises_engine_error(blip2: Path) -> None:
    stage = CaptionWithModel(config(blip2))

    def fail(*_: Any) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    stage.model.qformer.register_forward_pre_hook(fail)
    with pytest.raises(EngineError, match="illegal memory access"):
        stage(batch_of(png(0)))


def test_a_revision_without_image_tokens_is_refused(blip2: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"names image_token_index; older revisions lack it$"):
        CaptionWithModel(config(with_config(blip2, tmp_path, image_token_index=None)))

"""A real vLLM engine on tiny Llamas writes prompts: the same for the same seed, within the limit, without names."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from artsim.checkpoints import CheckpointError
from artsim.config import ModelConfig, PromptConfig, Workers
from artsim.prompts import approach_of, fold, has_name
from artsim.schemas import Batch
from artsim.stages import EngineError
from artsim.stages.prompt import expand
from tests.conftest import shared
from tests.models.tiny_language import published_clip_tokenizer, tiny_clip_tokenizer, tiny_llama, widen_heads

pytest.importorskip("vllm")
from transformers import AutoTokenizer, CLIPTokenizer, LlamaForCausalLM
from vllm import SamplingParams

from artsim.stages.prompt_model import WritePromptWithModel, engine

pytestmark = pytest.mark.models
LIMIT = 16  # tokens; the tiny model writes 3 to 35
CAPTION = "a woman at a window, a lamp on the table, warm in tone, brightest at the top"


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("language")
    return {"model": tiny_llama(root / "llama"), "tokenizer": tiny_clip_tokenizer(root / "clip")}


def settings(folders: dict[str, Path], **changes: Any) -> PromptConfig:
    models = {name: ModelConfig(id=str(folder)) for name, folder in folders.items()}
    workers = Workers(micro_batch_size=8, num_gpus=0.1)  # where there is a card, several engines share it
    return PromptConfig(**{**models, "max_tokens": LIMIT, "workers": workers, **changes})


@pytest.fixture(scope="session")
def writer(folders: dict[str, Path]) -> WritePromptWithModel:
    return WritePromptWithModel(settings(folders), seed=0)


def rows(num_paintings: int, **facts: str | None) -> Batch:
    ids = np.array([f"Genre/{k}" for k in range(num_paintings)], object)
    index, added = expand(ids.tolist(), PromptConfig(), 0)
    known = {"genre": "Naive_Art_Primitivism", "artist": None, "title": None, "caption": CAPTION} | facts
    columns = {name: np.full(len(index), value, object) for name, value in known.items()}
    return columns | {"id": ids[index], **added}


def part(batch: Batch, start: int, stop: int) -> Batch:
    return {name: column[start:stop] for name, column in batch.items()}


@pytest.fixture(scope="session")
def written(writer: WritePromptWithModel) -> Batch:
    return writer(rows(12))


def test_rows_come_back_in_order_with_prompts_within_the_limit(written: Batch, folders: dict[str, Path]) -> None:
    batch = rows(12)
    assert all(written[name].tolist() == batch[name].tolist() for name in batch)
    assert written["approach"].tolist() == [
        approach_of(0, *key) for key in zip(batch["id"], batch["level"], batch["variant"], strict=True)
    ]
    tokenizer = CLIPTokenizer.from_pretrained(folders["tokenizer"] / "tokenizer_2")
    sound = [row for row, error in enumerate(written["error"]) if error is None]
    assert len(sound) >= 20
    for row in sound:
        num_tokens = len(tokenizer(written["prompt"][row])["input_ids"]) - 2  # begin and end
        assert num_tokens == written["num_tokens"][row] <= LIMIT
    lost = [(written["prompt"][row], written["error"][row]) for row in range(len(batch["id"])) if row not in sound]
    assert all(prompt is None and error.startswith("invalid_output: the first clause") for prompt, error in lost)


def test_rows_are_the_same_bit_for_bit_alone_and_in_batches_of_eight(
    writer: WritePromptWithModel, written: Batch
) -> None:
    batch = rows(12)
    for size in (1, 8):
        parts = [writer(part(batch, start, start + size)) for start in range(0, len(batch["id"]), size)]
        for name in ("prompt", "num_tokens", "error"):
            assert np.concatenate([one[name] for one in parts]).tolist() == written[name].tolist(), (size, name)


def test_another_seed_gives_other_prompts_and_the_same_seed_the_same(folders: dict[str, Path], written: Batch) -> None:
    again = WritePromptWithModel(settings(folders), seed=0)(rows(12))
    assert again["prompt"].tolist() == written["prompt"].tolist()
    other = WritePromptWithModel(settings(folders), seed=1)(rows(12))
    same = [one == two for one, two in zip(other["prompt"], written["prompt"], strict=True) if one]
    assert sum(same) < len(same) / 4


def test_only_what_is_too_long_is_asked_for_again(
    writer: WritePromptWithModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, chat = [], writer._llm.chat

    def recorded(conversations: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = chat(conversations, *args, **kwargs)
        calls.append([(asked, output.outputs[0].text) for asked, output in zip(conversations, outputs, strict=True)])
        return outputs

    monkeypatch.setattr(writer._llm, "chat", recorded)
    batch = writer(rows(12))
    first, second = calls
    assert len(first) == 24
    answers = [json.loads(answer)["prompt"] for _, answer in first]
    too_long = [answer for answer in answers if writer._count(" ".join(answer.split())) > LIMIT]
    assert 0 < len(second) == len(too_long) < 24
    assert all("too long" in asked[-1]["content"] for asked, _ in second)
    kept = set(batch["prompt"])
    assert all(" ".join(answer.split()) in kept for answer in answers if answer not in too_long)


def test_names_that_the_model_writes_are_cut(writer: WritePromptWithModel, written: Batch) -> None:
    common = Counter(word for prompt in written["prompt"] if prompt for word in fold(prompt).split() if len(word) > 3)
    *names, title = [word for word, _ in common.most_common(4)]
    named = {"artist": "-".join(names), "title": title.title()}
    cut = writer(rows(12, **named))
    assert sum(has_name(prompt or "", **named) for prompt in written["prompt"]) > 8
    prompts = [prompt for prompt in cut["prompt"] if prompt]
    assert len(prompts) > 8
    assert not any(has_name(prompt, **named) for prompt in prompts)


def test_one_row_that_is_too_large_fails_alone(writer: WritePromptWithModel, written: Batch) -> None:
    batch = rows(12)
    batch["caption"][5] = "a woman, " * 500
    got = writer(batch)
    assert got["error"][5].startswith("too_large: ")
    assert got["prompt"][5] is None
    others = [row for row in range(24) if row != 5]
    assert got["prompt"][others].tolist() == written["prompt"][others].tolist()


def test_an_engine_that_dies_ends_its_process_with_an_engine_error(folders: dict[str, Path]) -> None:
    dying = WritePromptWithModel(settings(folders), seed=0)

    def die(*_: Any) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    dying._llm.apply_model(lambda model: model.register_forward_pre_hook(die) and None)
    with pytest.raises(EngineError, match="24 prompts in hand: CUDA error"):
        dying(rows(12))


def test_a_trained_llama_writes_in_the_engine_what_transformers_writes(
    tmp_path: Path, folders: dict[str, Path]
) -> None:
    """Its heads of 8 are laid into heads of 32, the least that vLLM's attention takes on a CPU."""
    source = shared("models/llama_stories260K")
    told = "Once upon a time, there was a little"
    tokens = AutoTokenizer.from_pretrained(source)(told, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        expected = LlamaForCausalLM.from_pretrained(source, dtype=torch.float32).generate(
            tokens, max_new_tokens=64, do_sample=False
        )
    config = settings(folders | {"model": widen_heads(source, tmp_path / "wide")}, max_new_tokens=64)
    llm = engine(config)
    greedy = SamplingParams(temperature=0, max_tokens=64)
    output = llm.generate([{"prompt_token_ids": tokens[0].tolist()}], greedy, use_tqdm=False)[0]
    assert list(output.outputs[0].token_ids) == expected[0, tokens.shape[1] :].tolist()
    writer = WritePromptWithModel(config, seed=0)
    stories = writer(part(rows(4), 0, 8))
    assert len(stories["error"]) == 8
    for error in stories["error"]:  # a story has no end after 64 tokens, so that its JSON is cut
        assert error == "invalid_output: 64 tokens and no end (length)"


def test_tokens_are_those_of_clip_where_its_vocabulary_is_given(tmp_path: Path, folders: dict[str, Path]) -> None:
    vocabulary = published_clip_tokenizer(
        shared("models/clip_bpe/clip_bpe_simple_vocab_16e6.txt.gz"), tmp_path / "clip"
    )
    tokenizer = CLIPTokenizer.from_pretrained(vocabulary)
    # As in CLIP's own notebook: 49406 and 49407 begin and end a text of five tokens.
    assert tokenizer("a photo of a cat")["input_ids"] == [49406, 320, 1125, 539, 320, 2368, 49407]
    config = settings(folders | {"tokenizer": vocabulary}, max_tokens=75)
    batch = WritePromptWithModel(config, seed=0)(rows(4))
    counts = [len(ids) - 2 for ids in tokenizer(batch["prompt"].tolist())["input_ids"]]
    assert batch["num_tokens"].tolist() == counts


def test_what_is_missing_is_said_in_a_sentence(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no tokenizer_2 in it"):
        WritePromptWithModel(settings(folders | {"tokenizer": tmp_path}), seed=0)
    mute = tiny_llama(tmp_path / "mute")
    (mute / "chat_template.jinja").unlink()
    with pytest.raises(CheckpointError, match="no chat template"):
        WritePromptWithModel(settings(folders | {"model": mute}), seed=0)

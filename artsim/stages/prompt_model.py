"""A chat model on a vLLM engine of this process writes what to make of a painting, by the rules of the two levels."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from transformers import AutoTokenizer, CLIPTokenizer

from artsim.checkpoints import CheckpointError, fetch
from artsim.config import ModelConfig, PromptConfig
from artsim.prompts import approach_of, shorten, split_clauses
from artsim.schemas import Batch, row_seed
from artsim.stages import EngineError
from artsim.stages.prompt_rules import SCHEMA, AnswerError, conversation, read_answer, shorter

# vLLM takes half a minute to import: the driver, which only names this stage, is spared it.
if TYPE_CHECKING:
    from vllm import LLM, SamplingParams
    from vllm.outputs import CompletionOutput

ASKED_TOKENS = 2048  # longest first question: rules, template and MAX_TOLD_BYTES, whatever the tokenizer
STEP_TOKENS = 8192  # of prompts that start in one step of the engine
CPU_CACHE_BYTES = 1 << 30
GPU_SHARE = 0.9  # of the memory of a worker's part of a card

Row = dict[str, Any]
Conversation = list[dict[str, str]]
Written = str | AnswerError
_READ = ("id", "level", "variant", "genre", "artist", "title", "caption")


class WritePromptWithModel:
    """Write what to make of a painting: one approach per prompt, dealt out evenly, around what the caption says.

    A prompt of more than `max_tokens` is asked for again, shorter, and after that cut after a clause.

    Reads  id, level, variant, genre, artist, title, caption (B,); genre, artist and title may be None.
    Adds   approach (B,) str; prompt (B,) str or None; num_tokens (B,) int32, counted by the image model's tokenizer
           without the marks of begin and end; error (B,) `reason: ...` or None.
    """

    version: ClassVar[int] = 1
    determinism: ClassVar[str] = "sampled"

    def __init__(self, config: PromptConfig, seed: int) -> None:
        self._config, self._seed = config, seed
        self._tokenizer = _image_tokenizer(config.tokenizer)
        self._llm = engine(config)
        self.num_written = 0
        """Tokens that the engine has written so far, those of answers that did not serve too."""

    def __call__(self, batch: Batch) -> Batch:
        rows: list[Row] = [{name: batch[name][row] for name in _READ} for row in range(len(batch["id"]))]
        columns = {name: np.full(len(rows), None, object) for name in ("approach", "prompt", "error")}
        num_tokens = np.zeros(len(rows), np.int32)
        approaches = [approach_of(self._seed, row["id"], row["level"], row["variant"]) for row in rows]
        columns["approach"][:] = approaches
        for at, written in enumerate(self._write(rows, approaches)):
            if isinstance(written, AnswerError):
                columns["error"][at] = str(written)
            else:
                columns["prompt"][at], num_tokens[at] = written, self._count(written)
        return batch | columns | {"num_tokens": num_tokens}

    def _write(self, rows: Sequence[Row], approaches: Sequence[str]) -> list[Written]:
        """The prompt of each row, or why there is none. The engine is asked twice at most."""
        max_tokens = self._config.max_tokens
        asked: dict[int, Conversation] = {}
        written: dict[int, Written] = {}
        for at, (row, approach) in enumerate(zip(rows, approaches, strict=True)):
            try:
                asked[at] = conversation(row, approach, max_tokens)
            except AnswerError as error:
                written[at] = error
        written |= self._ask(rows, asked, "prompt")
        again = {
            at: shorter(asked[at], prompt, self._count(prompt), max_tokens)
            for at, prompt in written.items()
            if isinstance(prompt, str) and self._count(prompt) > max_tokens
        }
        second = self._ask(rows, again, "shorter prompt")
        written |= {at: prompt for at, prompt in second.items() if isinstance(prompt, str)}
        return [self._fit(written[at]) for at in range(len(rows))]

    def _ask(self, rows: Sequence[Row], asked: dict[int, Conversation], what: str) -> dict[int, Written]:
        """What the model answers to each conversation, in one call. Raises EngineError."""
        if not asked:
            return {}
        from vllm.exceptions import VLLMServerError

        sampling = [self._sampling(rows[at], what) for at in asked]
        try:
            outputs = self._llm.chat(list(asked.values()), sampling, use_tqdm=False)
        except (RuntimeError, VLLMServerError) as error:
            raise EngineError(f"vLLM died with {len(asked)} prompts in hand: {error}") from error
        self.num_written += sum(len(output.outputs[0].token_ids) for output in outputs)
        answers = zip(asked, outputs, strict=True)
        return {at: _read(output.outputs[0], asked[at], rows[at]) for at, output in answers}

    def _sampling(self, row: Row, what: str) -> SamplingParams:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        config = self._config
        return SamplingParams(
            temperature=config.temperature,
            top_p=config.top_p,
            max_tokens=config.max_new_tokens,
            seed=row_seed(self._seed, row["id"], row["level"], row["variant"], what),
            structured_outputs=StructuredOutputsParams(json=SCHEMA, disable_any_whitespace=True),
        )

    def _fit(self, written: Written) -> Written:
        """A prompt of at most max_tokens: what is still too long loses whole clauses."""
        max_tokens = self._config.max_tokens
        if isinstance(written, AnswerError) or self._count(written) <= max_tokens:
            return written
        clauses = split_clauses(written)
        if self._count(clauses[0]) > max_tokens:
            return AnswerError(f"invalid_output: the first clause alone has more than {max_tokens} tokens: {written}")
        return shorten(clauses, max_tokens, self._count)

    def _count(self, text: str) -> int:
        return len(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _read(answer: CompletionOutput, asked: Conversation, row: Row) -> Written:
    if answer.finish_reason != "stop":
        return AnswerError(f"invalid_output: {len(answer.token_ids)} tokens and no end ({answer.finish_reason})")
    try:
        return read_answer(answer.text, asked, row["artist"], row["title"])
    except AnswerError as error:
        return error


def _image_tokenizer(model: ModelConfig) -> CLIPTokenizer:
    """The image model's tokenizer: in `tokenizer_2` of a diffusion pipeline, or a folder of its own."""
    folder = fetch(model, weights=())
    folder = folder / "tokenizer_2" if (folder / "tokenizer_2").is_dir() else folder
    if not any((folder / name).exists() for name in ("tokenizer.json", "vocab.json")):
        raise CheckpointError(f"prompt.tokenizer.id = {model.id}: no tokenizer_2 in it, nor a tokenizer of its own")
    return CLIPTokenizer.from_pretrained(folder)


def engine(config: PromptConfig) -> LLM:
    """vLLM in this very process: nothing that could be orphaned, or die alone."""
    os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_NO_USAGE_STATS="1")
    from vllm import LLM

    logging.getLogger("vllm").setLevel(logging.WARNING)
    folder, on_gpu = fetch(config.model), torch.cuda.is_available()
    if AutoTokenizer.from_pretrained(folder).chat_template is None:
        raise CheckpointError(
            f"prompt.model.id = {config.model.id}: no chat template; name a model tuned to instructions"
        )
    if not on_gpu:
        torch.set_num_threads(max(1, int(config.workers.num_cpus)))  # threads without a core of their own spin
    max_model_len = ASKED_TOKENS + 2 * config.max_new_tokens
    auto: Literal["bfloat16", "float32"] = "bfloat16" if on_gpu else "float32"
    return LLM(
        str(folder),
        dtype=auto if config.model.dtype == "auto" else config.model.dtype,
        max_model_len=max_model_len,
        max_num_seqs=config.workers.micro_batch_size,
        max_num_batched_tokens=max(STEP_TOKENS, max_model_len),
        # A prompt that starts in two steps would draw from its seed twice; on a CPU, vLLM 0.29 fails there outright.
        enable_chunked_prefill=False,
        enable_prefix_caching=True,  # the rules of a level are the same for all rows
        enforce_eager=not on_gpu,
        gpu_memory_utilization=GPU_SHARE * min(1.0, config.workers.num_gpus or 1.0),
        kv_cache_memory_bytes=None if on_gpu else CPU_CACHE_BYTES,
    )

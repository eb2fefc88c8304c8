"""How fast we are beside the plain way of doing the same work, measured in turns: prints one JSON object.

python jobs/bench.py resize source=/path/to/paintings letterbox.workers.batch_size=4
python jobs/bench.py resume num_rows=10000000
python jobs/bench.py sleep num_rows=80000 seconds_per_row=0.001
python jobs/bench.py train num_runs=5
python jobs/bench.py evaluate num_paintings=81445
python jobs/bench.py search num_paintings=81445 size=512
python jobs/bench.py serve model=runs/demo/models/a70 concurrency=1,8,32
python jobs/bench.py autoscale out=scaling.svg
python jobs/bench.py generate --random-weights --against thesis num_rows=64

A benchmark's own settings have no dot in their names, and may be written as options; the others are those of every
job.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial
from typing import Any

import numpy as np
import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn

from artsim import pipeline
from artsim.benchmarks import (
    CaptionBench,
    GenerateBench,
    ModelBench,
    bench_caption,
    bench_embed,
    bench_generate,
    bench_prompt,
)
from artsim.command import FULL_PROFILE, load_config
from artsim.config import Config, ConfigError, Section
from artsim.siamese import build_head
from artsim.training import Features, Pairs, Rows, TrainingState, start_training, train_epoch
from artsim.training import statistics as feature_statistics
from artsim.turns import Measurement, Report, in_turns
from jobs.bench_cluster import SleepBench, bench_sleep
from jobs.bench_evaluation import EvaluateBench, bench_evaluate
from jobs.bench_scaling import AutoscaleBench, bench_autoscale
from jobs.bench_search import SearchBench, bench_search
from jobs.bench_serving import ServeBench, bench_serve
from jobs.bench_tables import ResizeBench, ResumeBench, bench_resize, bench_resume


class TrainBench(Section):
    """Triplets per second: features from the cache, and an encoder of ViT-B/32's size in the loop."""

    num_triplets: int = Field(64, ge=2, description="triplets of an epoch, each of three pictures of its own")
    num_epochs: int = Field(8, ge=1, description="epochs of a run on cached features; the encoder's runs have one")
    num_threads: int = Field(1, ge=1, description="of torch; with more, small steps suffer most from a busy machine")
    num_runs: int = Field(3, ge=1)


class EncoderInTheLoop(Features):
    """Pictures in the place of their features: each batch goes through the frozen encoder, as in the thesis."""

    def __init__(self, pixels: np.ndarray, encoder: nn.Module, tokens: bool) -> None:
        """Take pixels (n, 3, H, W) float32, ready for the encoder; `tokens`: whether the head looks at them."""
        super().__init__([pixels])
        self._encoder, self._tokens = encoder, tokens

    @torch.no_grad()
    def gather(self, rows: Rows, device: torch.device | str = "cpu") -> dict[str, Tensor]:
        """Encode some pictures: pooled (B, D) float32, and tokens (B, N, T) float16, rounded as those of the cache."""
        seen = self._encoder(pixel_values=super().gather(rows, device)["pooled"])
        batch = {"pooled": seen.image_embeds}
        # The first token is the class token, which no patch belongs to.
        return batch | ({"tokens": seen.last_hidden_state[:, 1:].half()} if self._tokens else {})


def bench_train(options: TrainBench, settings: Sequence[str]) -> Report:
    """The same epochs of the same head by the same loop; only where the features come from differs.

    Not counted: making the pixels ready and, for ours, encoding each picture once (encode_once_s). The loss is the
    thesis's, whatever training.loss says, so that a step takes three pictures of each triplet. Other settings of
    head and training are the defaults, which are the thesis's, and not those of the local profile.
    """
    torch.set_num_threads(options.num_threads)
    config = load_config(None, [*settings, "training.loss=triplet"])
    num_pictures = 3 * options.num_triplets
    pixels = np.random.default_rng(config.seed).standard_normal((num_pictures, 3, 224, 224), np.float32)
    encoder = _vit_b32(config.seed)
    began = time.perf_counter()
    cached = _encode_once(EncoderInTheLoop(pixels, encoder, tokens=True), num_pictures)
    encode_once_s = time.perf_counter() - began
    reports: dict[str, Report] = {}
    for preset, target in (("pooled", 50), ("tokens", 5)):
        chosen = config.model_copy(update={"head": config.head.model_copy(update={"preset": preset})})
        features = Features([cached["pooled"]], [cached["tokens"]] if preset == "tokens" else None)
        in_loop = EncoderInTheLoop(pixels, encoder, tokens=preset == "tokens")
        ours = partial(_train, chosen, features, features, options.num_triplets, options.num_epochs)
        reference = partial(_train, chosen, in_loop, features, options.num_triplets, 1)
        report = in_turns(ours, reference, options.num_runs)
        num_weights = sum(weight.numel() for weight in build_head(chosen.head, *features.sizes).parameters())
        facts = {"preset": preset, "num_weights": num_weights, "target": target}
        reports[preset] = report | {"unit": "triplets/s", **facts}
    facts = {"batch_size": config.training.batch_size, "num_threads": options.num_threads}
    pooled = {"name": "train", **reports["pooled"], "tokens": reports["tokens"]}
    return pooled | facts | {"num_pictures": num_pictures, "encode_once_s": round(encode_once_s, 2)}


def _vit_b32(seed: int) -> nn.Module:
    """An encoder of ViT-B/32's size with random weights: 224 px in, 512 pooled and 49 patch tokens of 768 out."""
    from transformers import (
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )  # of the extra `models`: only train needs it

    torch.manual_seed(seed)
    return CLIPVisionModelWithProjection(CLIPVisionConfig()).eval().requires_grad_(False)


def _encode_once(pictures: EncoderInTheLoop, num_pictures: int) -> dict[str, np.ndarray]:
    parts = [pictures.gather(rows) for rows in np.array_split(np.arange(num_pictures), -(-num_pictures // 32))]
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


def _train(config: Config, features: Features, cached: Features, num_triplets: int, num_epochs: int) -> Measurement:
    """Triplets per second of a fresh head, and the first epoch's loss, which tells what was learned from."""
    state = _fresh_state(config, cached)
    anchor, positive, negative = np.arange(3 * num_triplets).reshape(3, -1)
    pairs = Pairs(anchor, positive, negative, group=anchor)
    losses = []
    began = time.perf_counter()
    for state.epoch in range(num_epochs):
        losses.append(train_epoch(state, features, pairs, config.training, config.seed)["loss"])
    seconds = time.perf_counter() - began
    return num_epochs * num_triplets / seconds, {"loss": losses[0]}


def _fresh_state(config: Config, cached: Features) -> TrainingState:
    torch.manual_seed(config.seed)
    head = build_head(config.head, *cached.sizes)
    head.set_statistics(feature_statistics(cached, np.arange(len(cached))))
    return start_training(head, config.training)


def _of_model(benchmark: Callable[[Any, Config], Report]) -> Callable[[Any, Sequence[str]], Report]:
    """A benchmark of a model's stage under the settings of jobs/full.yaml."""
    return lambda options, settings: benchmark(options, load_config(FULL_PROFILE, settings))


BENCHMARKS: dict[str, tuple[type[Section], Callable[[Any, Sequence[str]], Report]]] = {
    "resize": (ResizeBench, bench_resize),
    "resume": (ResumeBench, bench_resume),
    "sleep": (SleepBench, bench_sleep),
    "caption": (CaptionBench, _of_model(bench_caption)),
    "prompt": (ModelBench, _of_model(bench_prompt)),
    "generate": (GenerateBench, _of_model(bench_generate)),
    "embed": (ModelBench, _of_model(bench_embed)),
    "train": (TrainBench, bench_train),
    "evaluate": (EvaluateBench, bench_evaluate),
    "search": (SearchBench, bench_search),
    "serve": (ServeBench, bench_serve),
    "autoscale": (AutoscaleBench, bench_autoscale),
}


def _without_dashes(given: Sequence[str]) -> list[str]:
    """`--random-weights --against thesis` as `random_weights=true against=thesis`."""
    settings: list[str] = []
    for word in given:
        if word.startswith("--"):
            settings.append(word[2:].replace("-", "_") + ("" if "=" in word else "=true"))
        elif "=" not in word and settings and settings[-1].endswith("=true"):
            settings[-1] = settings[-1].removesuffix("true") + word
        else:
            settings.append(word)
    return settings


def _read(kind: type[Section], given: Sequence[str]) -> tuple[Section, list[str]]:
    """A benchmark's own settings, and those of the jobs; raises ConfigError with all mistakes among the former."""
    given = _without_dashes(given)
    own = [setting for setting in given if "." not in setting.partition("=")[0]]
    wrong = [f"{setting}: write key=value" for setting in own if "=" not in setting]
    try:
        options = kind.model_validate(dict(setting.split("=", 1) for setting in own if "=" in setting))
    except ValidationError as error:
        known = f"no such setting; known are {', '.join(kind.model_fields)}"
        for mistake in error.errors():
            message = known if mistake["type"] == "extra_forbidden" else mistake["msg"]
            wrong.append(f"{mistake['loc'][0]} = {mistake['input']}: {message}")
    if wrong:
        raise ConfigError("\n".join(wrong))
    return options, [setting for setting in given if setting not in own]


def main(argv: Sequence[str] | None = None) -> None:
    name, *given = [*(sys.argv[1:] if argv is None else argv)] or [""]
    if name not in BENCHMARKS:
        sys.exit(f"python jobs/bench.py NAME [key=value ...]: NAME is one of {', '.join(BENCHMARKS)}, not {name!r}")
    kind, benchmark = BENCHMARKS[name]
    try:
        options, settings = _read(kind, given)
        # The jobs' own lines would spoil the JSON.
        with redirect_stdout(sys.stderr):
            report = benchmark(options, settings)
    except ConfigError as error:
        sys.exit(str(error))
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    pipeline.main(main)

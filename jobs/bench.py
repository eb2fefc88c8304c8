"""How fast we are beside the plain way of doing the same work, measured in turns: prints one JSON object.

python jobs/bench.py resize source=/path/to/paintings letterbox.workers.batch_size=4
python jobs/bench.py train num_runs=5
python jobs/bench.py generate --random-weights --against thesis num_rows=64

A benchmark's own settings have no dot in their names, and may be written as options; the others are those of every
job.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn

from artsim import gallery, pipeline
from artsim.benchmarks import (
    CaptionBench,
    GenerateBench,
    ModelBench,
    bench_caption,
    bench_embed,
    bench_generate,
    bench_prompt,
)
from artsim.command import FULL_PROFILE, LOCAL_PROFILE, load_config
from artsim.config import Config, ConfigError, Section
from artsim.siamese import build_head
from artsim.stages.letterbox import Letterbox
from artsim.tables import Table
from artsim.training import Features, Pairs, Rows, TrainingState, start_training, train_epoch
from artsim.training import statistics as feature_statistics
from jobs import ingest, resize

Report = dict[str, Any]
Work = dict[str, Any]
"""What was done: equal on both sides, or the comparison is worth nothing."""
Measurement = tuple[float, Work]
"""Things done per second, and what was done."""


class ResizeBench(Section):
    """Images per second: the job on Ray Data, and a pool of as many processes that calls the same stage."""

    source: str = Field("", description="local folder of Genre/artist_title.jpg; empty: paintings made by code")
    num_paintings: int = Field(96, ge=1, description="paintings that are made by code")
    copies: int = Field(20, ge=1, description="how often each painting is resized: the more, the less the start weighs")
    num_runs: int = Field(3, ge=1)


class TrainBench(Section):
    """Triplets per second: features from the cache, and an encoder of ViT-B/32's size in the loop."""

    num_triplets: int = Field(64, ge=2, description="triplets of an epoch, each of three pictures of its own")
    num_epochs: int = Field(8, ge=1, description="epochs of a run on cached features; the encoder's runs have one")
    num_threads: int = Field(1, ge=1, description="of torch; with more, small steps suffer most from a busy machine")
    num_runs: int = Field(3, ge=1)


def bench_resize(options: ResizeBench, settings: Sequence[str]) -> Report:
    """From the finished table artworks to the finished table resized, and from files to files.

    Not counted: the start of Ray, and of the pool's processes. Counted: the start of Ray's actors, planning, hashing
    and settling. Ours flushes each part to the disk (fsync), the pool leaves that to the system. The pool is as nice
    as Ray's workers are, or it alone would get the cores where others want them too.
    """
    with tempfile.TemporaryDirectory(prefix="artsim-bench-") as folder:
        root = f"{folder}/root"
        config = load_config(LOCAL_PROFILE, [*settings, f"root={root}"])
        pipeline.connect()
        workers = config.letterbox.workers
        num_processes = workers.num_workers or max(1, int(ray.cluster_resources()["CPU"] / (workers.num_cpus or 1)))
        # Not forked: Ray's threads are in this process.
        spawn = multiprocessing.get_context("spawn")
        with spawn.Pool(num_processes, os.nice, (ray.get(_niceness.remote()),)) as pool:
            source = options.source or f"{folder}/gallery"
            if not options.source:
                pool.map(partial(_paint, config, source), range(options.num_paintings), chunksize=1)
            if options.copies > 1:
                source = _link(source, f"{folder}/copies", options.copies)
            arguments = [*settings, f"root={root}", f"source.uri={source}"]
            ingest.main(arguments)
            artworks = Table(root, "artworks", config.num_buckets).read_all(("id", "uri"))
            files = artworks.sort_by("id")["uri"].to_pylist()
            ours = partial(_resize_on_ray, arguments, config)
            plain = partial(_resize_in_pool, pool, config, f"{folder}/plain", files)
            plain()  # every process has loaded its libraries, and the files are in the system's cache
            report = _in_turns(ours, plain, options.num_runs)
    facts = {"num_images": len(files), "num_processes": num_processes, "workers": workers.model_dump()}
    return {"name": "resize", **report, "unit": "images/s", "target": 0.85, **facts}


def _paint(config: Config, folder: str, index: int) -> None:
    painting = gallery.paint(index, config.gallery)
    file = Path(folder, painting.path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(painting.image)


def _link(source: str, folder: str, copies: int) -> str:
    """A folder in which each file of another is found several times."""
    for file in Path(source).resolve().glob("*/*"):
        for copy in range(copies):
            link = Path(folder, f"{copy}-{file.parent.name}", file.name)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
    return folder


@ray.remote(num_cpus=0)
def _niceness() -> int:
    """How readily Ray's workers let others have the cores."""
    return os.nice(0)


def _resize_on_ray(arguments: Sequence[str], config: Config) -> Measurement:
    shutil.rmtree(f"{config.root}/resized", ignore_errors=True)
    began = time.perf_counter()
    resize.main(arguments)
    seconds = time.perf_counter() - began
    columns = [f"image_{size}" for size in config.letterbox.sizes]
    rows = Table(config.root, "resized", config.num_buckets).read_all(columns)
    return len(rows) / seconds, _digest(image for name in columns for image in rows[name].to_pylist())


def _resize_in_pool(pool: Any, config: Config, folder: str, files: Sequence[str]) -> Measurement:
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    began = time.perf_counter()
    done = sum(pool.imap_unordered(partial(_resize_file, config, folder), enumerate(files)))
    seconds = time.perf_counter() - began
    return done / seconds, _digest(path.read_bytes() for path in Path(folder).iterdir())


def _resize_file(config: Config, folder: str, numbered: tuple[int, str]) -> int:
    """What one would write without ArtSim: read a file, call the function, write its squares; how many were done."""
    number, uri = numbered
    images = np.array([Path(uri).read_bytes()], object)
    batch = Letterbox(config.letterbox, config.source.max_pixels)({"image": images})
    if batch["error"][0] is not None:
        return 0
    for size in config.letterbox.sizes:
        Path(folder, f"{number}_{size}.jpg").write_bytes(batch[f"image_{size}"][0])
    return 1


def _digest(contents: Iterable[bytes]) -> Work:
    """How many files there are, and what identifies them in any order."""
    digests = sorted(hashlib.sha256(data).digest() for data in contents)
    return {"num_files": len(digests), "sha256": hashlib.sha256(b"".join(digests)).hexdigest()[:16]}


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
        report = _in_turns(ours, reference, options.num_runs)
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


def _in_turns(ours: Callable[[], Measurement], reference: Callable[[], Measurement], num_runs: int) -> Report:
    """Measure both several times, whoever was second going first: medians, and the median of the runs' ratios."""
    runs: list[dict[str, Any]] = []
    for number in range(num_runs):
        sides = {"ours": ours, "reference": reference}
        load = os.getloadavg()[0]
        measured = {name: sides[name]() for name in sorted(sides, reverse=number % 2 == 1)}
        (rate, work), (plain_rate, plain_work) = measured["ours"], measured["reference"]
        assert _alike(work, plain_work), f"not the same work: {work} and {plain_work}"
        figures = {"ours": rate, "reference": plain_rate, "ratio": rate / plain_rate, "load": load}
        rounded = {name: float(f"{value:.4g}") for name, value in figures.items()}
        runs.append(rounded | {"work": {"ours": work, "reference": plain_work}})
    medians = {name: statistics.median(run[name] for run in runs) for name in ("ours", "reference", "ratio")}
    return {name: float(f"{value:.4g}") for name, value in medians.items()} | {"runs": runs}


def _alike(work: Work, other: Work) -> bool:
    """Whether two sides did the same; figures may differ by a thousandth, as batches round differently."""
    return work.keys() == other.keys() and all(
        math.isclose(value, other[name], rel_tol=1e-3) if isinstance(value, float) else value == other[name]
        for name, value in work.items()
    )


def _of_model(benchmark: Callable[[Any, Config], Report]) -> Callable[[Any, Sequence[str]], Report]:
    """A benchmark of a model's stage under the settings of jobs/full.yaml."""
    return lambda options, settings: benchmark(options, load_config(FULL_PROFILE, settings))


BENCHMARKS: dict[str, tuple[type[Section], Callable[[Any, Sequence[str]], Report]]] = {
    "resize": (ResizeBench, bench_resize),
    "caption": (CaptionBench, _of_model(bench_caption)),
    "prompt": (ModelBench, _of_model(bench_prompt)),
    "generate": (GenerateBench, _of_model(bench_generate)),
    "embed": (ModelBench, _of_model(bench_embed)),
    "train": (TrainBench, bench_train),
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

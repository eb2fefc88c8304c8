"""The benchmarks of jobs/bench.py that fill tables through Ray."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import pyarrow as pa
import ray
from pydantic import Field

from artsim import gallery, images, pipeline
from artsim.command import LOCAL_PROFILE, Command, load_config
from artsim.config import Config, Section
from artsim.resume import replace
from artsim.schemas import schema_of
from artsim.stages.letterbox import Letterbox
from artsim.tables import Table, create_root, status
from artsim.turns import Measurement, Report, Work, in_turns, watching
from jobs import ingest, pairs, resize

Describe = Callable[[Iterable[bytes]], Work]
"""What was made, told by the contents of files in any order."""


class ResizeBench(Section):
    """Images per second: the job on Ray Data, and a plain way of doing the same on as many cores."""

    against: Literal["pool", "thesis"] = Field(
        "pool", description="pool: processes that call the same stage; thesis: threads that decode anew for each size"
    )
    source: str = Field("", description="local folder of Genre/artist_title.jpg; empty: paintings made by code")
    num_paintings: int = Field(96, ge=1, description="paintings that are made by code")
    copies: int = Field(
        60, ge=1, description="how often each painting is resized: the more, the less the actors' start weighs"
    )
    num_runs: int = Field(3, ge=1)


def bench_resize(options: ResizeBench, settings: Sequence[str]) -> Report:
    """From the finished table artworks to the finished table resized, and from files to files.

    Not counted: the start of Ray, and of the pool's processes. Counted: the start of Ray's actors, planning, hashing
    and settling. Ours flushes each part to the disk (fsync), the pool leaves that to the system. The pool is as nice
    as Ray's workers are, or it alone would get the cores where others want them too. Only ours loads torch anew in each
    run. The thesis's way is Pillow's LANCZOS of all pixels: both must give the same bytes, unless the settings of
    letterbox name another way.
    """
    with tempfile.TemporaryDirectory(prefix="artsim-bench-") as folder:
        root = f"{folder}/root"
        config = load_config(LOCAL_PROFILE, [*settings, f"root={root}"])
        pipeline.connect()
        workers = config.letterbox.workers
        num_processes = workers.num_workers or max(1, int(ray.cluster_resources()["CPU"] / (workers.num_cpus or 1)))
        # Not forked: Ray's threads are in this process.
        spawn = multiprocessing.get_context("spawn")
        with ExitStack() as stack:
            pool = stack.enter_context(spawn.Pool(num_processes, os.nice, (ray.get(_niceness.remote()),)))
            source = options.source or f"{folder}/gallery"
            if not options.source:
                pool.map(partial(_paint, config, source), range(options.num_paintings), chunksize=1)
            if options.copies > 1:
                source = _link(source, f"{folder}/copies", options.copies)
            arguments = [*settings, f"root={root}", f"source.uri={source}"]
            ingest.main(arguments)
            artworks = Table(root, "artworks", config.num_buckets).read_all(("id", "uri"))
            files = artworks.sort_by("id")["uri"].to_pylist()
            chosen = pool if options.against == "pool" else stack.enter_context(ThreadPool(num_processes))
            function = _resize_file if options.against == "pool" else _resize_as_thesis
            describe = _digest if options.against == "pool" else _as_far_as_thesis(config)
            ours = partial(_resize_on_ray, arguments, config, describe)
            plain = partial(_resize_in_pool, chosen, partial(function, config, f"{folder}/plain"), describe)
            plain(files[: len(files) // options.copies])  # every process has loaded its libraries
            report = in_turns(ours, partial(plain, files), options.num_runs)
    facts: Report = {"num_images": len(files), "num_processes": num_processes, "workers": workers.model_dump()}
    facts |= {"resampler": config.letterbox.resampler}
    target = {"pool": 0.95, "thesis": 1.3}[options.against]
    return {"name": "resize", "against": options.against, **report, "unit": "images/s", "target": target, **facts}


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


def _resize_on_ray(arguments: Sequence[str], config: Config, describe: Describe) -> Measurement:
    shutil.rmtree(f"{config.root}/resized", ignore_errors=True)
    began = time.perf_counter()
    resize.main(arguments)
    seconds = time.perf_counter() - began
    table = Table(config.root, "resized", config.num_buckets)
    return table.finished()["num_rows"] / seconds, describe(_squares(table, config))


def _squares(table: Table, config: Config) -> Iterator[bytes]:
    """The squares of a finished table, a part at a time."""
    columns = [f"image_{size}" for size in config.letterbox.sizes]
    for name in table.finished()["parts"]:
        yield from (image for column in table.read([name], columns).columns for image in column.to_pylist())


def _resize_in_pool(pool: Any, resize_file: partial[int], describe: Describe, files: Sequence[str]) -> Measurement:
    folder = resize_file.args[1]
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    began = time.perf_counter()
    done = sum(pool.imap_unordered(resize_file, enumerate(files)))
    seconds = time.perf_counter() - began
    return done / seconds, describe(path.read_bytes() for path in Path(folder).iterdir())


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


def _resize_as_thesis(config: Config, folder: str, numbered: tuple[int, str]) -> int:
    """The thesis's way in a thread: a file is read and decoded for each of the sizes."""
    number, uri = numbered
    for size in config.letterbox.sizes:
        try:
            square, _ = images.letterbox(images.decode(Path(uri).read_bytes(), config.source.max_pixels), size)
        except images.DecodeError:
            return 0
        Path(folder, f"{number}_{size}.jpg").write_bytes(images.encode_jpeg(square, config.letterbox.jpeg_quality))
    return 1


def _as_far_as_thesis(config: Config) -> Describe:
    """What must be the same on both sides where one is the thesis's."""
    if config.letterbox.dct_scaling:
        return _count
    return _digest if config.letterbox.resampler == "pillow" else _mean_size


def _digest(contents: Iterable[bytes]) -> Work:
    """How many files there are, and what identifies them in any order."""
    digests = sorted(hashlib.sha256(data).digest() for data in contents)
    return {"num_files": len(digests), "sha256": hashlib.sha256(b"".join(digests)).hexdigest()[:16]}


def _mean_size(contents: Iterable[bytes]) -> Work:
    """How many files there are, and their mean size, which another resampler hardly changes."""
    sizes = [len(data) for data in contents]
    return {"num_files": len(sizes), "mean_bytes": sum(sizes) / max(1, len(sizes))}


def _count(contents: Iterable[bytes]) -> Work:
    """How many files there are."""
    return {"num_files": sum(1 for _ in contents)}


class ResumeBench(Section):
    """Seconds that an almost finished table takes to go on, and the memory that it takes meanwhile."""

    num_rows: int = Field(81_445, ge=100, description="rows of metadata, of which no picture is read")
    share_missing: float = Field(0.01, gt=0, lt=1, description="of the parts, which are taken away")


def bench_resume(options: ResumeBench, settings: Sequence[str]) -> Report:
    """Fill `prompts` from a table of pairs through Ray, lose some of its parts, and start again.

    `first_row_s` counts from before Ray starts to the first new part; `plan_s` is what of it is spent on finding the
    missing rows. Memory is that of this process and all that it started (proportional set size), at its peak and its
    mean by quarter of the first fill.
    """
    with tempfile.TemporaryDirectory(prefix="artsim-bench-") as root:
        given = [*settings, f"root={root}", "num_buckets=256", "pairs.workers.batch_size=4096"]
        command = Command(load_config(LOCAL_PROFILE, [*given, "pairs.workers.rows_per_part=4096"]))
        buckets = create_root(root, command.config.num_buckets)
        replace(Table(root, "_pairs", buckets), _pairs(options.num_rows))
        step, table = pairs.steps(command.config)[0], Table(root, "prompts", buckets)
        pipeline.connect()
        with watching(_memory, every_s=0.5) as memory:
            first = pipeline.run(step, command)
        _lose_parts(table, options.share_missing)
        ray.shutdown()
        began = time.perf_counter()
        status(root)
        status_s = time.perf_counter() - began
        before, began = set(table.store.list()), time.perf_counter()
        with ThreadPool(1) as watch, watching(_memory, every_s=0.5) as memory_again:
            waiting = watch.apply_async(_first_new, (table, before, began))
            again = pipeline.run(step, command)
        quarters = np.array_split(np.array(memory), 4)
        return {
            "name": "resume",
            "ours": round(waiting.get(), 2),
            "reference": None,
            "ratio": None,
            "unit": "s",
            "target": 20,
            "runs": [{"rows": again.rows, "new_rows": again.new_rows, "seconds": round(again.seconds, 1)}],
            "status_s": round(status_s, 2),
            "fill_rows_per_s": round(first.new_rows / first.seconds),
            "fill_memory_gb": [round(float(quarter.mean()) / 1e9, 2) for quarter in quarters],
            "peak_memory_gb": round(max(*memory, *memory_again) / 1e9, 2),
        }


def _pairs(num_rows: int) -> pa.Table:
    ids = [f"Genre_{row % 27}/an-artist-{row % 1119}_the-title-of-painting-{row}" for row in range(num_rows)]
    schema = pa.schema([field for field in schema_of("_pairs") if field.name not in ("input_hash", "row_hash")])
    columns = {
        "id": ids,
        "level": pa.array(["radical"] * num_rows),
        "variant": pa.array(np.zeros(num_rows, np.int32)),
        "uri": [f"s3://bucket/wikiart/{row_id}.jpg" for row_id in ids],
        "prompt": [f"{row_id}, painted anew at dusk, with the light of a storm and far fewer people" for row_id in ids],
        "version": ["100000-0"] * num_rows,
    }
    return pa.table(columns, schema)


def _lose_parts(table: Table, share: float) -> None:
    manifest = table.manifest()
    assert manifest is not None
    lost = manifest["parts"][:: round(1 / share)]
    table.store.delete(["_parts.json", *lost])


def _first_new(table: Table, before: set[str], began: float) -> float:
    """Seconds until a part appears that was not there."""
    while not any(name.endswith(".parquet") for name in set(table.store.list()) - before):
        time.sleep(0.05)
    return time.perf_counter() - began


def _memory() -> int:
    """Bytes that this process and its descendants hold."""
    return sum(map(_pss, [os.getpid(), *(child.pid for child in psutil.Process().children(True))]))


def _pss(pid: int) -> int:
    try:
        return psutil.Process(pid).memory_full_info().pss
    except psutil.Error:
        return 0  # it has ended

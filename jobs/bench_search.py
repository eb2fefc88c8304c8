"""The benchmark of jobs/bench.py that looks for the nearest of made-up embeddings, as a replica does."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from artsim.command import load_config
from artsim.config import Section
from artsim.index import FACTS, Hit, Index
from artsim.indexing import Builder, settings_of
from artsim.turns import Report

NUM_GENRES, NUM_ARTISTS = 27, 1_119
"""Of WikiArt."""


class SearchBench(Section):
    """Milliseconds of one search inside a process, and what the index takes to make, to load and to hold."""

    num_paintings: int = Field(81_445, ge=100)
    size: int = Field(512, ge=8, description="numbers in an embedding")
    num_queries: int = Field(200, ge=10)
    k: int = Field(12, ge=1)


def bench_search(options: SearchBench, settings: Sequence[str]) -> Report:
    """Paintings lie around their artists. The reference is NumPy's product with all of them, on the same queries.

    `recall` is the share of the k nearest that are found. Files are in the system's cache when they are loaded.
    """
    config = load_config(None, settings)
    rng = np.random.default_rng(config.seed)
    vectors, artists = _vectors(options, options.num_paintings, rng)
    queries, _ = _vectors(options, options.num_queries, rng)
    facts = _facts(artists)
    with tempfile.TemporaryDirectory(prefix="artsim-bench-") as model:
        began = time.perf_counter()
        with Builder(settings_of(config.index, len(vectors), options.size), len(vectors)) as builder:
            if builder.share_sampled:
                rows = rng.permutation(len(vectors))[: round(builder.share_sampled * len(vectors))]
                builder.train(vectors[rows])
            for some in np.array_split(np.arange(len(vectors)), 256):
                builder.add(facts.take(pa.array(some)), vectors[some])
            info = builder.publish(f"{model}/index", "bench", {})
        build_s, began = time.perf_counter() - began, time.perf_counter()
        index = Index.load(model, "bench")
        load_s = time.perf_counter() - began
        size = sum(path.stat().st_size for path in Path(model, "index").iterdir())
        ways: dict[str, dict[str, str]] = {
            "all": {},
            "genre": {"genre": facts["genre"][0].as_py()},
            "artist": {"artist": facts["artist"][0].as_py()},
        }
        found = {name: _timed(partial(_search, index, options.k, filters), queries) for name, filters in ways.items()}
        with ThreadPoolExecutor(2) as pool:
            search = partial(_timed, partial(_search, index, options.k, {}))
            both = list(pool.map(search, (queries[::2], queries[1::2])))
    plain, nearest = _timed(partial(_brute, vectors, options.k), queries)
    hits: list[list[Hit]] = found["all"][1]
    ids = [{hit.id for hit in some} for some in hits]
    recall = np.mean(
        [len(some & {_name(row) for row in rows}) / len(rows) for some, rows in zip(ids, nearest, strict=True)]
    )
    figures = {name: _figures(times) for name, (times, _) in found.items()}
    ours, reference = figures["all"]["p50"], _figures(plain)["p50"]
    return {
        "name": "search",
        "ours": ours,
        "reference": reference,
        "ratio": round(reference / ours, 2),
        "unit": "ms",
        "runs": figures | {"all, two at a time": _figures(np.concatenate([times for times, _ in both]))},
        "recall": round(float(recall), 4),
        "factory": info.factory,
        "num_left": {name: index.count(**filters) for name, filters in ways.items()},
        "build_s": round(build_s, 2),
        "load_s": round(load_s, 2),
        "file_mb": round(size / 1e6, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "target": {"p50_ms": 15, "load_s": 5},
    }


def _vectors(options: SearchBench, num: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (num, size) float32, and the number of each one's artist (num,)."""
    hands = np.random.default_rng(0).standard_normal((NUM_ARTISTS, options.size), np.float32)
    artists = rng.integers(0, NUM_ARTISTS, num)
    vectors = hands[artists] + rng.standard_normal((num, options.size), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors, artists


def _name(row: int) -> str:
    return f"Genre_{row % NUM_GENRES}/artist_painting-{row:06d}"


def _facts(artists: np.ndarray) -> pa.Table:
    rows = [
        {
            "id": _name(row),
            "genre": f"Genre_{row % NUM_GENRES}",
            "artist": f"artist-{artist}",
            "title": f"painting {row}",
        }
        | {"width": 1200, "height": 900}
        for row, artist in enumerate(artists.tolist())
    ]
    return pa.Table.from_pylist(rows, FACTS)


def _search(index: Index, k: int, filters: dict[str, str], query: np.ndarray) -> list[Hit]:
    return index.search(query[None], k, **filters)[0]


def _brute(vectors: np.ndarray, k: int, query: np.ndarray) -> np.ndarray:
    return np.argpartition(-(vectors @ query), k - 1)[:k]


def _timed(search: Callable[[np.ndarray], Any], queries: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    """Seconds of each search, and what it found."""
    times, found = [], []
    for query in queries:
        began = time.perf_counter()
        found.append(search(query))
        times.append(time.perf_counter() - began)
    return np.array(times), found


def _figures(seconds: np.ndarray) -> dict[str, float]:
    return {f"p{level}": round(1000 * float(np.quantile(seconds, level / 100)), 2) for level in (50, 95, 99)}

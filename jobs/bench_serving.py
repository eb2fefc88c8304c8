"""The benchmark of jobs/bench.py that measures the service under bounded load, on loopback."""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import numpy as np
import torch
from fastapi import FastAPI, UploadFile
from pydantic import Field, field_validator
from uvicorn import Config, Server

from artsim import gallery
from artsim.config import ConfigError, GalleryConfig, Section
from artsim.scorer import Scorer
from artsim.turns import Report
from serve import local

_BOUNDARY = "artsim-bench"


class ServeBench(Section):
    """Comparisons per second and their latencies: Ray Serve, and the same model behind FastAPI and uvicorn alone."""

    model: str = Field("", description="folder of a trained model")
    concurrency: Annotated[list[int], Field(min_length=1)] = Field(
        default=[1, 8, 32], description="requests in flight, as 1,8,32; the ratio is that of the last"
    )
    num_replicas: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] = Field(
        default=[2], description="replicas of Encoder, as 2,1,3 for a curve; the ratio is that of the first"
    )
    num_processes: int = Field(2, ge=1, description="processes of the plain server")
    use_haproxy: bool = Field(True, description="HAProxy in the place of Serve's own proxy")
    seconds: float = Field(8, gt=0, description="how long each load lasts, after a warm-up of as many requests")
    num_runs: int = Field(3, ge=1)
    side_px: int = Field(1024, ge=64, description="longer side of the two pictures of a request")

    @field_validator("concurrency", "num_replicas", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]


def bench_serve(options: ServeBench, settings: Sequence[str]) -> Report:
    """Each run starts each server, loads it at each concurrency and stops it; every other run in the opposite order.

    The load comes from this machine too, and takes as much of its cores on all sides.
    """
    if not options.model:
        raise ConfigError("model = : name the folder of a trained model, such as model=runs/demo/models/a70")
    body = _body(options)
    sides = {str(number): partial(_ours, options, number) for number in options.num_replicas}
    sides["reference"] = partial(_plain, options)
    runs: list[dict[str, Any]] = []
    for number in range(options.num_runs):
        run: dict[str, Any] = {"load": os.getloadavg()[0]}
        for name in sorted(sides, reverse=number % 2 == 1):
            with sides[name]() as (url, start_s):
                levels = [asyncio.run(_load(url, body, level, options.seconds)) for level in options.concurrency]
            run[name] = {"start_s": round(start_s, 2), "levels": levels}
        answers = [run[name]["levels"][0]["answers"] for name in sides]
        assert all(each == answers[0] for each in answers), "not the same answers"
        runs.append(run)
    rates = {name: [run[name]["levels"][-1]["rate"] for run in runs] for name in sides}
    medians = {name: float(np.median(values)) for name, values in rates.items()}
    ratios = [ours / plain for ours, plain in zip(rates[str(options.num_replicas[0])], rates["reference"], strict=True)]
    found = {"ours": medians[str(options.num_replicas[0])], "reference": medians.pop("reference")}
    facts = options.model_dump(exclude={"model"}) | {"by_replicas": medians, "runs": runs}
    return {"name": "serve", **found, "ratio": round(float(np.median(ratios)), 3), "unit": "comparisons/s", **facts}


def _body(options: ServeBench) -> bytes:
    """A multipart form of two pictures, encoded once."""
    config = GalleryConfig(max_side_px=options.side_px)
    parts = []
    for index, name in enumerate(("first", "second")):
        head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}.jpg"\r\n\r\n'
        parts.append(head.encode() + gallery.paint(index, config).image + b"\r\n")
    return b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()


@contextmanager
def _ours(options: ServeBench, num_replicas: int) -> Iterator[tuple[str, float]]:
    """The address of Ray Serve's application, and how long it took to answer, s."""
    environment = {"RAY_SERVE_ENABLE_HA_PROXY": str(int(options.use_haproxy))}
    encoder = {"num_replicas": num_replicas, "autoscaling_config": None, "max_queued_requests": 200}
    args = {"model": os.path.abspath(options.model), "num_cpus": min(1.0, 1.8 / num_replicas)}
    with tempfile.TemporaryDirectory() as folder:
        service = local.launch(Path(folder), args, environment, Encoder=encoder)
        try:
            yield service.url, local.wait_until_ready(service)
        finally:
            local.stop(service)


@contextmanager
def _plain(options: ServeBench) -> Iterator[tuple[str, float]]:
    """The address of a server without Ray, as one would write it: processes that share a socket."""
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        spawn = multiprocessing.get_context("spawn")
        arguments = (options.model, listener)
        processes = [spawn.Process(target=_serve_plain, args=arguments) for _ in range(options.num_processes)]
        for process in processes:
            process.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            asyncio.run(_load(url, _body(options), 1, 0.1))
            yield url, time.monotonic() - began
        finally:
            for process in processes:
                process.terminate()
                process.join()


def _serve_plain(model: str, listener: socket.socket) -> None:
    torch.set_num_threads(1)
    scorer, app = Scorer.load(model), FastAPI()

    @app.post("/v1/compare")
    def compare(first: UploadFile, second: UploadFile) -> dict[str, Any]:
        similarity = scorer.compare(("first", first.file.read()), ("second", second.file.read()))
        meaning = scorer.calibration.meaning(similarity, 0.5) if scorer.calibration else {}
        return {"similarity": round(similarity, 6), **meaning, "recipe": scorer.recipe}

    Server(Config(app, log_level="warning")).run(sockets=[listener])


async def _load(url: str, body: bytes, concurrency: int, seconds: float) -> dict[str, Any]:
    """Rate and latencies of comparisons, `concurrency` of them in flight at any time."""
    headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    latencies: list[float] = []
    answers: set[float] = set()
    failed = 0

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:

        async def ask() -> None:
            nonlocal failed
            began = time.perf_counter()
            async with session.post(f"{url}/v1/compare", data=io.BytesIO(body), headers=headers) as response:
                if response.status == 200:
                    answers.add((await response.json())["similarity"])
                    latencies.append(time.perf_counter() - began)
                else:
                    failed += 1

        async def ask_until(end: float) -> None:
            while time.perf_counter() < end:
                await ask()

        await asyncio.gather(*(ask() for _ in range(concurrency)))  # the warm-up
        latencies.clear()
        began = time.perf_counter()
        await asyncio.gather(*(ask_until(began + seconds) for _ in range(concurrency)))
        took = time.perf_counter() - began
    percentiles = np.percentile(np.array(latencies) * 1000, (50, 95, 99)).round(1).tolist()
    return {
        "concurrency": concurrency,
        "rate": round(len(latencies) / took, 2),
        **dict(zip(("p50_ms", "p95_ms", "p99_ms"), percentiles, strict=True)),
        "failed": failed,
        "answers": sorted(answers),
    }

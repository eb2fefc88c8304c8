"""The benchmark of jobs/bench.py that watches the scorer's autoscaling under bounded load, on loopback."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import numpy as np
import ray
import yaml
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator
from pydantic import Field
from ray import serve
from ray.serve.schema import ReplicaState
from starlette.requests import Request

from artsim.config import Section
from artsim.report.svg import COLOURS, Frame, plot
from artsim.turns import Report
from serve.local import CONFIG, free_port

AT_ONCE = 8
"""Requests that a replica works on side by side; as many as Encoder's target_ongoing_requests."""
DARK = {"ink": "#e6e8eb", "muted": "#a3abb5", "rule": "#3a414b", "model": "#7fb2f0", "thesis": "#dba75a"}


class AutoscaleBench(Section):
    """Replicas and latencies while many clients come and go, with the autoscaling of serve/scorer.yaml's Encoder."""

    out: str = Field("cluster/serve-scaling.svg", description="the plot that is written; empty: none")
    max_replicas: int = Field(3, ge=2, description="in the place of the file's")
    downscale_delay_s: float = Field(60, ge=0)
    num_clients: int = Field(24, ge=2, description="that ask again and again while it is busy; 2 do before and after")
    calm_s: float = Field(15, gt=0, description="before the many come")
    busy_s: float = Field(75, gt=0)
    idle_s: float = Field(105, gt=0, description="after they are gone")
    seconds_per_request: float = Field(0.4, gt=0, description="that a request takes where it does not wait")


class Answer(NamedTuple):
    """A request: when it was answered, how long that took (s), and its status."""

    at: float
    took: float
    status: int


class Watched(NamedTuple):
    """What was seen; times are seconds since the beginning."""

    answers: list[Answer]
    replicas: list[tuple[float, int]]
    busy: tuple[float, float]


class Waiting:
    """Stands for Encoder on a card: takes as long as it is told, for so many requests at once, and no core."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._room = seconds, asyncio.Semaphore(AT_ONCE)

    async def __call__(self, request: Request) -> str:
        async with self._room:
            await asyncio.sleep(self._seconds)
        return "done"


def bench_autoscale(options: AutoscaleBench, _: object = ()) -> Report:
    """Requests per second with all replicas beside one; draws replicas and latencies over time."""
    (application,) = yaml.safe_load(CONFIG.read_text())["applications"]
    (encoder,) = [each for each in application["deployments"] if each["name"] == "Encoder"]
    scaling = encoder["autoscaling_config"] | {
        "max_replicas": options.max_replicas,
        "downscale_delay_s": options.downscale_delay_s,
    }
    taken = {name: encoder[name] for name in ("max_ongoing_requests", "health_check_period_s")}
    port = free_port()
    ray.init("local", num_cpus=4, include_dashboard=False, object_store_memory=200_000_000, log_to_driver=False)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        deploy: Any = serve.deployment  # Ray's annotation leaves out that it may be called on a class at once
        deployment = deploy(Waiting).options(ray_actor_options={"num_cpus": 0.1}, autoscaling_config=scaling, **taken)
        serve.run(deployment.bind(options.seconds_per_request), name="scorer")
        watched = asyncio.run(_watch(options, f"http://127.0.0.1:{port}/"))
    finally:
        serve.shutdown()
        ray.shutdown()
    if options.out:
        Path(options.out).write_text(draw(watched, options.num_clients), encoding="utf-8")
    return report(options, watched, scaling)


async def _watch(options: AutoscaleBench, url: str) -> Watched:
    began = time.monotonic()
    answers: list[Answer] = []
    replicas: list[tuple[float, int]] = []
    start, stop = options.calm_s, options.calm_s + options.busy_s
    end = stop + options.idle_s

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=options.num_clients)) as session:

        async def ask(first: float, last: float) -> None:
            await asyncio.sleep(first)
            while (sent := time.monotonic() - began) < last:
                async with session.get(url) as response:
                    await response.read()
                now = time.monotonic() - began
                answers.append(Answer(now, now - sent, response.status))

        async def count() -> None:
            while (now := time.monotonic() - began) < end:
                replicas.append((now, await asyncio.to_thread(_running)))
                await asyncio.sleep(0.5)

        few = [ask(0, end) for _ in range(2)]
        await asyncio.gather(count(), *few, *(ask(start, stop) for _ in range(options.num_clients - 2)))
    return Watched(answers, replicas, (start, stop))


def _running() -> int:
    return serve.status().applications["scorer"].deployments["Waiting"].replica_states.get(ReplicaState.RUNNING, 0)


def report(options: AutoscaleBench, watched: Watched, scaling: dict[str, Any]) -> Report:
    """Rates and latencies before the others came and with all of them, and when replicas came and went."""
    (start, stop), most = watched.busy, max(count for _, count in watched.replicas)
    full = next(at for at, count in watched.replicas if count == most)
    alone = next(at for at, count in watched.replicas if count > 1 or at >= stop)
    one, all_of_them = (_rate(watched, *times) for times in ((start + 1, alone), (full + 2, stop)))
    after = [(at, count) for at, count in watched.replicas if at > stop]
    back = next((at for at, count in after if count == 1), None)
    return {
        "name": "autoscale",
        "ours": all_of_them,
        "reference": one,
        "ratio": round(all_of_them / one, 2),
        "unit": "requests/s",
        "max_replicas_seen": most,
        "second_replica_after_s": round(alone - start, 1),
        "all_replicas_after_s": round(full - start, 1),
        "one_replica_after_s": back and round(back - stop, 1),
        "p50_ms": {
            name: round(1000 * float(np.median([each.took for each in watched.answers if first < each.at < last])))
            for name, first, last in (("calm", 0, start), ("one", start + 1, alone), ("all", full + 2, stop))
        },
        "failed": sum(each.status != 200 for each in watched.answers),
        "autoscaling_config": scaling,
        "runs": [options.model_dump(exclude={"out"})],
    }


def _rate(watched: Watched, first: float, last: float) -> float:
    return round(sum(first < each.at <= last for each in watched.answers) / (last - first), 2)


def draw(watched: Watched, num_clients: int) -> str:
    """Replicas above, latencies below, over the same seconds: an SVG file that a browser or README shows."""
    start, stop = watched.busy
    end = max(at for at, _ in watched.replicas)

    def shade(axes: Axes) -> None:
        axes.axvspan(start, stop, color=COLOURS["rule"], alpha=0.45, linewidth=0)
        axes.set_xlim(0, end)
        axes.xaxis.set_major_locator(MultipleLocator(30 if end > 100 else 5))

    def replicas(axes: Axes) -> None:
        shade(axes)
        times, counts = zip(*watched.replicas, strict=True)
        axes.step(times, counts, where="post", color=COLOURS["model"], linewidth=2)
        axes.set_ylim(0, max(counts) + 0.5)
        axes.set_yticks(range(max(counts) + 1))
        axes.set_title("Replicas")
        axes.text((start + stop) / 2, 0.18, f"{num_clients} clients", ha="center", color=COLOURS["muted"])
        for first, last in ((0.0, start), (stop, end)):
            few = "2 clients" if last - first > 0.2 * end else "2"
            axes.text((first + last) / 2, 0.18, few, ha="center", color=COLOURS["muted"])

    def latencies(axes: Axes) -> None:
        shade(axes)
        edges = np.arange(0, end, 2.0)
        at, took = (np.array([each[column] for each in watched.answers]) for column in (0, 1))
        shares = {"slowest of 2 s": ("thesis", 100), "median of 2 s": ("model", 50)}
        for label, (colour, share) in shares.items():
            within = [took[(at >= edge) & (at < edge + 2)] for edge in edges]
            values = [np.percentile(some, share) if len(some) else np.nan for some in within]
            axes.plot(edges + 1, values, color=COLOURS[colour], linewidth=1.8, label=label)
        axes.set_ylim(0, None)
        axes.set_title("Seconds until the answer")
        axes.set_xlabel("seconds")
        axes.legend(loc="upper right", fontsize=9)

    label = f"Replicas and latencies while {num_clients} clients come and go"
    upper, lower = Frame(height=1.9, width=7.2, bottom=0.3), Frame(height=2.5, width=7.2)
    return _stacked(
        label,
        [(plot(replicas, f"{label}: replicas", upper), upper), (plot(latencies, f"{label}: latencies", lower), lower)],
    )


def _stacked(label: str, plots: list[tuple[Markup, Frame]]) -> str:
    """Plots for a page, as one file that brings the page's colours along."""
    width, heights = 72 * plots[0][1].width, [72 * frame.height for _, frame in plots]
    colours, dark = (
        ";".join(f"--{name}:{colour}" for name, colour in some.items()) for some in (COLOURS, COLOURS | DARK)
    )
    parts = [
        str(svg).replace("<svg ", f'<svg y="{sum(heights[:at]):g}" width="{width:g}" height="{heights[at]:g}" ', 1)
        for at, (svg, _) in enumerate(plots)
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'aria-label="{label}" viewBox="0 0 {width:g} {sum(heights):g}" width="{width:g}" height="{sum(heights):g}">'
    )
    style = f"<style>svg{{{colours}}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    return "\n".join([head, style, *parts, "</svg>", ""])

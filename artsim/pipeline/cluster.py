"""The Ray that a job runs on: join or start it, and what it holds."""

from __future__ import annotations

import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray._common.formatters import JSONFormatter
from ray._private import ray_logging

import artsim
from artsim import log
from artsim.config import Workers

T = TypeVar("T")

LOCAL_OBJECT_STORE_BYTES = 1_500_000_000
_SKIPPED = re.compile("Set ray log level from environment|Checkpoint successfully created")
"""What each of Ray's processes says, or says of each epoch, and no user can act on."""


def connect() -> None:
    """Join the cluster that RAY_ADDRESS names, or start one on this machine that ends with this process."""
    if not ray.is_initialized():
        _connect(os.environ.get("RAY_ADDRESS"))
    log.fields["job_id"] = ray.get_runtime_context().get_job_id()


def _connect(address: str | None) -> None:
    how: dict[str, Any] = {"log_to_driver": True}
    if log.is_json():
        # What workers say stays in their own logs: Ray would put "(Letterbox pid=...)" before each line.
        root = logging.getLogger()  # Ray adds a handler at each start, and a job may start it anew
        root.handlers[:] = [each for each in root.handlers if not isinstance(each.formatter, JSONFormatter)]
        how = {"log_to_driver": False, "logging_config": ray.LoggingConfig(encoding="JSON", log_level="WARNING")}
    else:
        logging.basicConfig(format="%(message)s")
        for printed in (ray_logging.stdout_deduplicator, ray_logging.stderr_deduplicator):
            printed.skip_re = printed.skip_re or _SKIPPED  # RAY_DEDUP_LOGS_SKIP_REGEX is read before this is imported
    if address:
        # A submitted job brings its own copy of the code; a driver from elsewhere sends it.
        submitted = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
        package = Path(artsim.__file__).parent
        modules = [str(folder) for folder in (package, package.with_name("jobs")) if folder.is_dir()]
        ray.init(address, runtime_env=None if submitted else {"py_modules": modules}, **how)
        return
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray's core calls each actor of Ray Data an error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Else Ray tells each time that it asks for a token, which it makes itself.
    logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
    ray.init(
        "local",
        include_dashboard=False,
        object_store_memory=LOCAL_OBJECT_STORE_BYTES,
        logging_level=logging.WARNING,
        # By default a worker that idles for a second is ended, and each write would wait for a new process. Metrics
        # are for the dashboard, which is not there.
        _system_config={"idle_worker_killing_time_threshold_ms": 600_000, "enable_metrics_collection": False},
        **how,
    )


def by_bucket(function: Callable[..., T], num_buckets: int, *arguments: object) -> list[T]:
    """function(*arguments, bucket) of each bucket in its order, a task each; the arguments are sent once."""
    task: Any = ray.remote(num_cpus=1)(function)
    shared = [ray.put(argument) for argument in arguments]
    found: list[T] = ray.get([task.remote(*shared, bucket) for bucket in range(num_buckets)])
    return found


def each_bucket(function: Callable[..., T], num_buckets: int, arguments: Sequence[object]) -> Iterator[T]:
    """The same one after the other, as they are asked for: of the others only a few are under way or wait."""
    task: Any = ray.remote(num_cpus=1)(function)
    shared = [ray.put(argument) for argument in arguments]
    at_once = 2 * max(1, int(ray.cluster_resources().get("CPU", 0)))
    under_way: deque[ray.ObjectRef] = deque()
    for bucket in range(num_buckets):
        if len(under_way) == at_once:
            yield ray.get(under_way.popleft())
        under_way.append(task.remote(*shared, bucket))
    while under_way:
        yield ray.get(under_way.popleft())


def num_workers(workers: Workers) -> int:
    """Processes that a stage is run with: as many as the settings say, or as the cluster holds now."""
    return workers.num_workers or max(1, sum(_places(workers, machine) for machine in _machines(workers)))


def pool(workers: Workers, num_calls: int) -> tuple[int, int]:
    """How few and how many processes a stage of so many calls is to have at any time.

    Where the settings leave it open, those that the cluster holds now are kept. A cluster may grow, other than one
    machine: Ray Data then asks for more, and starts them as machines come.
    """
    held = num_workers(workers)
    may_grow = not workers.num_workers and "RAY_ADDRESS" in os.environ
    most = min(num_calls if may_grow else held, num_calls)
    return min(workers.min_workers or held, most), most


def options(workers: Workers) -> dict[str, Any]:
    """What Ray is to find for a process of a stage."""
    where = {"label_selector": dict(workers.node_labels)} if workers.node_labels else {}
    return {"num_cpus": workers.num_cpus, "num_gpus": workers.num_gpus} | where


def shortage(table: str, workers: Workers, at_once: int = 1) -> str | None:
    """Why the machines of the cluster cannot hold `at_once` workers of a table: one sentence, or None if they can."""
    held = sum(_places(workers, machine, at_once) for machine in _machines(workers))
    if held >= at_once:
        return None
    machines = _machines(Workers())
    largest = max(machines, key=lambda machine: (machine.get("GPU", 0), machine.get("CPU", 0)))
    needs = f"{table}: a worker needs {workers.num_cpus:g} CPUs and {workers.num_gpus:g} GPUs"
    if workers.node_labels:
        needs += f" on a machine labelled {', '.join(f'{name}={value}' for name, value in workers.node_labels.items())}"
    who = "no machine has them" if not held else f"of the {at_once} that work together {held} find a place"
    return (
        f"{needs}, and {who} (the largest machine has {largest.get('CPU', 0):g} and {largest.get('GPU', 0):g}): set "
        "num_workers, num_cpus, GPUs and labels, or add a machine"
    )


def _machines(workers: Workers) -> list[dict[str, float]]:
    """What those machines have that are there and may run a worker."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    return [node["Resources"] for node in alive if may_run(node.get("Labels") or {}, workers.node_labels)]


def may_run(labels: dict[str, str], wanted: dict[str, str]) -> bool:
    """Whether a machine's labels are those wanted, in Ray's words: value, !value, in(a,b), !in(a,b)."""
    for name, value in wanted.items():
        bare = value.removeprefix("!")
        values = re.split(r"\s*,\s*", bare[3:-1].strip()) if bare.startswith("in(") else [bare]
        if (labels.get(name) in values) == value.startswith("!"):
            return False
    return True


def _places(workers: Workers, machine: dict[str, float], at_most: int = 1) -> int:
    """Workers that a machine holds; `at_most` if they need nothing. A fraction of a GPU lies on one card."""
    fits = [int(machine.get("CPU", 0) / workers.num_cpus)] if workers.num_cpus else []
    if workers.num_gpus:
        gpus = machine.get("GPU", 0)
        fits.append(int(gpus) * int(1 / workers.num_gpus) if workers.num_gpus < 1 else int(gpus / workers.num_gpus))
    return min(fits, default=at_most)


def shares(num_buckets: int) -> list[range]:
    """The buckets, dealt out over two rounds of tasks on all cores."""
    num_tasks = min(num_buckets, 2 * max(1, int(ray.cluster_resources().get("CPU", 0))))
    return [range(start, num_buckets, num_tasks) for start in range(num_tasks)]

"""The Ray that a job runs on: join or start it, and what it holds."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import ray

import artsim
from artsim import log
from artsim.config import Workers

T = TypeVar("T")

LOCAL_OBJECT_STORE_BYTES = 1_500_000_000


def connect() -> None:
    """Join the cluster that RAY_ADDRESS names, or start one on this machine that ends with this process."""
    if not ray.is_initialized():
        _connect(os.environ.get("RAY_ADDRESS"))
    log.fields["job_id"] = ray.get_runtime_context().get_job_id()


def _connect(address: str | None) -> None:
    how: dict[str, Any] = {"log_to_driver": True}
    if log.is_json():
        # What workers say stays in their own logs: Ray would put "(Letterbox pid=...)" before each line.
        how = {"log_to_driver": False, "logging_config": ray.LoggingConfig(encoding="JSON", log_level="WARNING")}
    else:
        logging.basicConfig(format="%(message)s")
    if address:
        # A submitted job brings its own copy of the code; a driver from elsewhere sends it.
        submitted = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
        package = Path(artsim.__file__).parent
        modules = [str(folder) for folder in (package, package.with_name("jobs")) if folder.is_dir()]
        ray.init(address, runtime_env=None if submitted else {"py_modules": modules}, **how)
        return
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray's core calls each actor of Ray Data an error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
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
    cluster, wanted = ray.cluster_resources(), {"GPU": workers.num_gpus, "CPU": workers.num_cpus}
    held = [cluster.get(name, 0) / count for name, count in wanted.items() if count]
    return workers.num_workers or max(1, int(min(held, default=1)))


def shortage(table: str, workers: Workers, at_once: int = 1) -> str | None:
    """Why the machines of the cluster cannot hold `at_once` workers of a table: one sentence, or None if they can."""
    wanted = {"CPU": workers.num_cpus, "GPU": workers.num_gpus}
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    held = [
        min((int(machine.get(name, 0) / count) for name, count in wanted.items() if count), default=at_once)
        for machine in machines
    ]
    if sum(held) >= at_once:
        return None
    largest = max(machines, key=lambda machine: (machine.get("GPU", 0), machine.get("CPU", 0)))
    needs = f"{table}: a worker needs {wanted['CPU']:g} CPUs and {wanted['GPU']:g} GPUs"
    who = "no machine has them" if not sum(held) else f"of the {at_once} that work together {sum(held)} find a place"
    return (
        f"{needs}, and {who} (the largest machine has {largest.get('CPU', 0):g} and {largest.get('GPU', 0):g}): set "
        "num_workers, num_cpus and GPUs, or add a machine"
    )


def shares(num_buckets: int) -> list[range]:
    """The buckets, dealt out over two rounds of tasks on all cores."""
    num_tasks = min(num_buckets, 2 * max(1, int(ray.cluster_resources().get("CPU", 0))))
    return [range(start, num_buckets, num_tasks) for start in range(num_tasks)]

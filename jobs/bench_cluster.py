"""The benchmark of jobs/bench.py that shows what a cluster adds and costs, whatever the stage does."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import psutil
import pyarrow as pa
import ray
from pydantic import Field

from artsim import pipeline
from artsim.command import LOCAL_PROFILE, Command, load_config
from artsim.config import Section
from artsim.pipeline import Step
from artsim.resume import replace
from artsim.schemas import Batch, schema_of
from artsim.tables import Table, create_root, part_facts
from artsim.turns import Report, watching


class SleepBench(Section):
    """Rows per second of a stage that only sleeps, and the driver's memory meanwhile."""

    root: str = Field("", description="empty folder or URL that all machines reach; by default one that is deleted")
    num_rows: int = Field(1000, ge=1)
    seconds_per_row: float = Field(0.05, ge=0)
    num_buckets: int = Field(16, ge=1, description="of the root; a part holds rows of one")


class Sleep:
    """Adds caption (B,): the title in capitals, after a while for each row."""

    version: ClassVar[int] = 1
    determinism: ClassVar[str] = "exact"

    def __init__(self, seconds_per_row: float) -> None:
        self._seconds_per_row = seconds_per_row

    def __call__(self, batch: Batch) -> Batch:
        """Wait, then do next to nothing."""
        time.sleep(self._seconds_per_row * len(batch["title"]))
        nothing = np.array([None] * len(batch["title"]), object)
        return batch | {"caption": np.array([title.upper() for title in batch["title"]], object), "error": nothing}


def bench_sleep(options: SleepBench, settings: Sequence[str]) -> Report:
    """Fill `captions` on the cluster that RAY_ADDRESS names, or on this machine; `caption.workers` says how.

    `ours` is the rate at which rows appear once all workers are at work: between a fifth and four fifths of them. The
    whole job, from planning to settling on a Ray that is up, took `seconds`. `driver_memory_mb` is this process's at
    its peak (proportional set size).
    """
    with tempfile.TemporaryDirectory(prefix="artsim-bench-") as folder:
        root = options.root or folder
        command = Command(load_config(LOCAL_PROFILE, [*settings, f"root={root}", f"num_buckets={options.num_buckets}"]))
        buckets = create_root(root, command.config.num_buckets)
        replace(Table(root, "_listing", buckets), _listing(options.num_rows))
        reads, workers = {"_listing": {"title": "title"}}, command.config.caption.workers
        pipeline.connect()
        with watching(lambda: psutil.Process().memory_full_info().pss, every_s=0.2) as memory:
            done = pipeline.run(Step("captions", Sleep, (options.seconds_per_row,), reads, workers), command)
        machines = [node for node in ray.nodes() if node["Alive"]]
        return {
            "name": "sleep",
            "ours": round(_steady_rate(Table(root, "captions", buckets)), 2),
            "reference": None,
            "ratio": None,
            "unit": "rows/s",
            "runs": [done._asdict() | {"seconds": round(done.seconds, 2)}],
            "driver_memory_mb": round(max(memory) / 1e6, 1),
            "num_machines": len(machines),
            "num_cpus": sum(machine["Resources"].get("CPU", 0) for machine in machines),
        }


def _steady_rate(table: Table) -> float:
    """Rows per second in the middle of a run, by when its parts appeared."""
    times = table.store.times()
    arrivals = sorted((times[name], part_facts(name)[1]) for name in table.finished()["parts"])
    when, rows = np.array([when for when, _ in arrivals]), np.cumsum([rows for _, rows in arrivals])
    first, last = np.searchsorted(rows, [rows[-1] / 5, rows[-1] * 4 / 5])
    return float((rows[last] - rows[first]) / max(when[last] - when[first], 1e-3))


def _listing(num_rows: int) -> pa.Table:
    names = [field.name for field in schema_of("_listing") if field.name not in ("input_hash", "row_hash")]
    columns = {name: [""] * num_rows for name in names}
    columns |= {"id": [f"g/{row:07d}" for row in range(num_rows)], "title": [f"t{row}" for row in range(num_rows)]}
    return pa.table(columns)

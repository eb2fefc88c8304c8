"""settings + a sample of the source -> what a run will take: rows, worker-hours, time and storage of each stage.

python jobs/plan.py --config jobs/full.yaml source.uri=s3://bucket/wikiart root=s3://bucket/art

Refuses, before anything starts, what no machine of the cluster can hold. Then every stage runs on a few paintings, in
a worker with the resources that the settings give it; loading its model does not count. Nothing is left behind.
"""

import io
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, NamedTuple

import numpy as np
import ray

from artsim import UserError, pipeline
from artsim.command import Command, parse_command
from artsim.config import Config
from artsim.resume import Work
from artsim.sources import list_source
from artsim.step import Step, read_batch
from artsim.store import Store
from jobs import caption, embed, generate, ingest, prompt, resize

STEPS: tuple[tuple[Callable[[Config], Step], str, str], ...] = (
    (resize.step_of, "letterbox", ""),
    (caption.step_of, "caption", "captions"),
    (prompt.step_of, "prompt", ""),
    (generate.step_of, "generate", ""),
    (caption.step_of, "caption", "generated_captions"),
    (embed.step_of, "embed", "embeddings"),
    (embed.step_of, "embed", "generated_embeddings"),
)
"""What makes a step, its section of the settings, and the table if the section has a choice."""


class Plan(NamedTuple):
    """What one stage will take."""

    table: str
    rows: int
    rows_per_s: float
    """of one worker"""
    num_workers: int
    num_gpus: float
    """of one worker"""
    gigabytes: float

    @property
    def hours(self) -> float:
        """How long the stage takes with all its workers."""
        return self.rows / self.rows_per_s / self.num_workers / 3600

    def __str__(self) -> str:
        work = f"{self.hours * self.num_workers * (self.num_gpus or 1):.1f} {'GPU' if self.num_gpus else 'worker'}-h"
        return (
            f"{self.table:<22}{self.rows:>10,}{self.rows_per_s:>12.2f}{work:>18}{self.num_workers:>9}"
            f"{self.hours:>9.1f} h{self.gigabytes:>9.1f} GB"
        )


def main(argv: Sequence[str] | None = None) -> None:
    command = parse_command(argv, __doc__)
    pipeline.connect()
    steps = [_step(command.config, *each) for each in STEPS]
    if short := [message for step in steps if (message := pipeline.shortage(step))]:
        raise UserError("\n".join(short))
    num_paintings = len(list_source(command.config.source))  # source.limit included
    print(f"{'table':<22}{'rows':>10}{'rows/s each':>12}{'work':>18}{'workers':>9}{'time':>11}{'storage':>12}")
    plans = []
    with _sample(command.config, [*(sys.argv[1:] if argv is None else argv)]) as sample:
        for each in STEPS:
            scale = num_paintings / min(num_paintings, sample.config.plan.num_paintings)
            plans.append(_plan(_step(sample.config, *each), sample, scale))
            print(plans[-1], flush=True)
    hours, gigabytes = sum(plan.hours for plan in plans), sum(plan.gigabytes for plan in plans)
    print(f"{num_paintings:,} paintings: {hours:.1f} h one stage after the other, {gigabytes:.1f} GB")


def _step(config: Config, step_of: Callable[[Config], Step], section: str, table: str) -> Step:
    if table:
        chosen = getattr(config, section).model_copy(update={"table": table})
        config = config.model_copy(update={section: chosen})
    return step_of(config)


@contextmanager
def _sample(config: Config, given: list[str]) -> Iterator[Command]:
    """The tables of a few paintings below a root of their own, which is gone afterwards."""
    root = f"{config.root}/_plan-{uuid.uuid4().hex[:8]}"
    limit = min(config.source.limit or config.plan.num_paintings, config.plan.num_paintings)
    settings = [*given, f"root={root}", f"source.limit={limit}", "num_buckets=1", "max_failure_rate=1"]
    try:
        with redirect_stdout(io.StringIO()):
            ingest.main(settings)
        yield parse_command(settings, __doc__)
    finally:
        Store(root).delete([""])


def _plan(step: Step, sample: Command, scale: float) -> Plan:
    """Fill a step's table for the sample, then time its stage on the same rows once more; scale is of the rows."""
    with redirect_stdout(io.StringIO()):
        summary = pipeline.run(step, sample)
    # max_calls: its process ends with the task and leaves the card to the next stage.
    options: Any = {"num_cpus": step.workers.num_cpus, "num_gpus": step.workers.num_gpus, "max_calls": 1}
    measure: Any = ray.remote(**options)(_rows_per_s)
    work, _ = pipeline.begin(step, sample)
    return Plan(
        table=step.table,
        rows=round((summary.rows + summary.quarantined) * scale),
        rows_per_s=ray.get(measure.remote(step, work)),
        num_workers=pipeline.num_workers(step.workers),
        num_gpus=step.workers.num_gpus,
        gigabytes=work.table.store.num_bytes() * scale / 1e9,
    )


def _rows_per_s(step: Step, work: Work) -> float:
    """Rows per second of one worker whose model is loaded and warm, on as many rows as it takes at a time."""
    batch = read_batch(step, work, bucket=0)
    num_rows = len(batch["id"])
    at = np.arange(max(num_rows, step.workers.micro_batch_size)) % num_rows
    batch = {name: column[at] for name, column in batch.items()}
    stage = step.stage(*step.arguments)
    stage(batch)
    began = time.perf_counter()
    stage(batch)
    return len(at) / (time.perf_counter() - began)


if __name__ == "__main__":
    pipeline.main(main)

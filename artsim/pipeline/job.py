"""What a job does: fill a table with the rows that it lacks, and finish it."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayTaskError

from artsim import UserError, log
from artsim.command import Command
from artsim.config import Config, Section
from artsim.lease import Lease, hold
from artsim.pipeline.cluster import connect, shares, shortage
from artsim.pipeline.fill import check_failures, fill
from artsim.resume import Input, Work, publish
from artsim.schemas import digest64
from artsim.sources.shards import FOLDER, Shard, not_unpacked
from artsim.sources.shards import unpack as unpack_shard
from artsim.step import Step
from artsim.tables import Parts, Table, TableError, claim, create_root, fingerprint, sweep

PACKAGES = ("ray", "numpy", "pyarrow", "pillow", "opencv-python-headless", "torch", "transformers", "diffusers", "vllm")
"""Whose versions a table notes, where they are installed."""


class Summary(NamedTuple):
    """What became of a table's rows."""

    table: str
    rows: int
    quarantined: int
    seconds: float
    new_rows: int

    def __str__(self) -> str:
        rate = self.new_rows / max(self.seconds, 1e-9)
        done = f"{self.table}: {self.rows} rows, {self.quarantined} quarantined"
        return f"{done}, {self.new_rows} new in {self.seconds:.1f} s ({rate:.1f} rows/s)"


def run(step: Step, command: Command) -> Summary:
    """Fill a table with the rows that it lacks, and finish it.

    Raises TableError where the table holds rows of other settings, another job writes it, an input is not finished, or
    more than max_failure_rate of the rows ended in quarantine. What was done until then is kept.
    """
    config = command.config
    table = Table(config.root, step.table, create_root(config.root, config.num_buckets))
    with hold(table) as lease:
        return _run(step, command, lease)


def _run(step: Step, command: Command, lease: Lease) -> Summary:
    started = time.monotonic()
    config = command.config
    work, changes = begin(step, command)
    for change in changes:
        log.logger.warning(change, extra=step.labels)
    manifest = work.table.manifest()
    sweep(work.table, manifest)
    if manifest is None or command.retry_quarantine or not work.is_current(manifest):
        connect()
        if short := shortage(step.table, step.workers):
            # A cluster may still grow; one machine does not, and would wait for ever.
            if "RAY_ADDRESS" not in os.environ:
                raise TableError(short)
            log.logger.warning(f"{short}; waiting until one comes", extra=step.labels)
        new_rows = fill(step, work, config, command.retry_quarantine)
        manifest = _settle(work, config, lease)
    else:
        new_rows = 0
    quarantined = sum(manifest["quarantined"].values())
    summary = Summary(step.table, manifest["num_rows"], quarantined, time.monotonic() - started, new_rows)
    log.logger.info(str(summary), extra={"event": "finished", **step.labels, **summary._asdict()})
    return summary


def unpack(shards: Sequence[Shard], root: str) -> None:
    """Copy the pictures of Parquet files to tars below the root, a task each; what is copied already costs nothing.

    Raises SourceError where a file cannot be read; the copies of the others are kept.
    """
    started, missing = time.monotonic(), not_unpacked(shards, root)
    if not missing:
        return
    connect()
    copy: Any = ray.remote(num_cpus=1)(unpack_shard)
    results = ray.get([copy.remote(shard, root) for shard in missing])
    for error in (result for result in results if isinstance(result, UserError)):
        raise error
    seconds, megabytes = time.monotonic() - started, sum(results) / 1e6
    rate = f"{megabytes:.0f} MB in {seconds:.1f} s, {megabytes / seconds:.0f} MB/s"
    log.logger.info(f"{len(missing)} Parquet files unpacked into {root}/{FOLDER} ({rate})")


def begin(step: Step, command: Command) -> tuple[Work, list[str]]:
    """Open or make a table under the recipe of a step; returns its work, and warnings about package versions."""
    config = command.config
    num_buckets = create_root(config.root, config.num_buckets)
    inputs = [Input.of(Table(config.root, name, num_buckets), columns) for name, columns in step.reads.items()]
    kind: Any = step.stage
    recipe = {
        "stage": step.stage_name,
        "version": kind.version,
        "determinism": kind.determinism,
        "settings": {name: _plain(value) for name, value in step.settings.items()},
        "inputs": {source.table.name: source.fingerprint for source in inputs},
    }
    table = Table(config.root, step.table, num_buckets)
    changes = claim(table, recipe, _versions(), command.overwrite)
    salt = digest64(fingerprint(recipe), *(source.digest for source in inputs if step.whole))
    return Work(table, tuple(inputs), step.expand, salt), changes


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json", exclude={"workers", "table"}) if isinstance(value, Section) else value


def main(job: Callable[[], None]) -> None:
    """Run a job's main() as a program: a user's mistake ends it with one sentence and exit code 1."""
    try:
        job()
    except RayTaskError as error:
        # Around what a worker says Ray puts the worker's traceback, which only tells of a defect.
        if not isinstance(error.cause, UserError):
            raise
        sys.exit(log.last_words(str(error.cause)))
    except UserError as error:
        sys.exit(log.last_words(str(error)))


def _settle(work: Work, config: Config, lease: Lease) -> dict[str, Any]:
    """Check that every expected row is there once, done or quarantined, and write the manifest that says so."""
    parts, shared = work.table.parts(), ray.put(work)
    settle: Any = _settle_buckets.options(name=f"settle {work.table.name}")
    tasks = [settle.remote(shared, buckets, parts) for buckets in shares(work.table.num_buckets)]
    settled = [found for task in tasks for found in ray.get(task)]
    missing = sum(count for _, count in settled)
    assert not missing, f"{work.table.name}: {missing} rows are neither done nor quarantined"
    reasons: Counter[str] = Counter()
    for found, _ in settled:
        reasons.update(found.reasons)
    expected = sum(found.num_rows for found, _ in settled) + reasons.total()
    check_failures(work.table, reasons, expected, config.max_failure_rate)
    lease.confirm()
    return publish(work.table, [found for found, _ in settled], work.inputs)


@ray.remote(num_cpus=1)
def _settle_buckets(work: Work, buckets: Sequence[int], parts: Parts) -> list[tuple[Parts, int]]:
    return [work.settle(bucket, parts) for bucket in buckets]

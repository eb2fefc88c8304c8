"""What a job does to its rows, without Ray: read them, call the stage, put what it gives in place."""

from __future__ import annotations

import faulthandler
import os
import resource
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artsim.config import Workers
from artsim.log import logger
from artsim.resume import Expand, Work
from artsim.schemas import Batch, quarantine_schema, row_hashes, schema_of, to_arrow, to_batch
from artsim.sources import fetch
from artsim.stages import EngineError
from artsim.tables import Table

DONE = "done"


class Outcome(NamedTuple):
    """What became of rows: so many are DONE, or one is not, which and why."""

    reason: str = DONE
    num_rows: int = 1
    message: str = ""
    key: dict[str, Any] | None = None
    attempts: int = 0


class Stage(Protocol):
    """A step of the pipeline: a plain callable that knows its version and whether it gives the same bytes always."""

    version: ClassVar[int]
    determinism: ClassVar[str]

    def __call__(self, batch: Batch) -> Batch: ...


@dataclass(frozen=True)
class Step:
    """What one job does: which stage reads which columns of which tables, and the table that it fills."""

    table: str
    stage: Callable[..., Stage]
    arguments: tuple[Any, ...]
    reads: dict[str, dict[str, str]]
    workers: Workers
    settings: dict[str, Any] = field(default_factory=dict)
    schema: pa.Schema | None = None
    expand: Expand | None = None
    fetch_bytes: int = 0
    """Largest file in bytes that is fetched from the column `uri` into the column `image`; 0: nothing is fetched."""
    fetch_setting: str = "source.uri"
    """Which setting led to those files, for a person who must mend it."""
    whole: bool = False
    """Each row depends on all rows of the tables read, so a change of any makes all anew."""

    @property
    def stage_name(self) -> str:
        """What logs, metrics and Ray's dashboard call the stage."""
        return self.stage.__name__

    @property
    def labels(self) -> dict[str, str]:
        """What a log line or a metric says of where it comes from."""
        return {"table": self.table, "stage": self.stage_name}


def read_rows(step: Step, work: Work, wanted: pa.Table) -> pa.Table:
    """What the step's stage reads for some rows of any buckets.

    Where the step fetches, the file that `uri` names is `image`, and why there is none `error`.
    """
    rows = work.read(wanted)
    if not step.fetch_bytes:
        return rows
    images, errors = fetch(rows["uri"].to_pylist(), step.fetch_bytes, step.fetch_setting)
    rows = rows.append_column("image", pa.array(images, pa.binary()))
    return rows.append_column("error", pa.array(errors, pa.string()))


class Worker:
    """A stage in a worker process: it reads missing rows, calls the stage, and puts what that gives in place.

    Threads may share it: while one has the stage, the others read and write.
    """

    def __init__(self, step: Step, work: Work) -> None:
        self._step, self._work, self._schema = step, work, _schema(step)
        self._stage, self._turn = step.stage(*step.arguments), threading.Lock()
        if not step.workers.num_gpus:  # CUDA reserves far more than it uses
            _limit_memory(step.workers.memory_gb)

    def do(self, missing: pa.Table) -> list[Outcome]:
        """Do the rows whose keys are given; returns what became of them."""
        try:
            rows = read_rows(self._step, self._work, missing)
            size = self._step.workers.batch_size
            with self._turn:
                done = [self._timed(rows.slice(start, size)) for start in range(0, len(rows), size)]
            return write_rows(self._work.table, self._step, pa.concat_tables(done))
        except (EngineError, MemoryError) as error:
            last_words = f"{self._step.table}: {type(error).__name__} in {self._step.stage_name}"
            logger.exception(last_words, extra={"event": "worker_lost"} | self._step.labels)
            os._exit(1)  # as if it had been killed: Ray starts another process, which builds another engine

    def _timed(self, rows: pa.Table) -> pa.Table:
        # A decoder that hangs may hold the interpreter's lock: this timer needs no lock and ends the process.
        faulthandler.dump_traceback_later(self._step.workers.timeout_s, exit=True, file=sys.__stderr__ or sys.stderr)
        try:
            return self._apply(rows)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _apply(self, rows: pa.Table) -> pa.Table:
        if "error" not in rows.column_names:
            rows = rows.append_column("error", pa.nulls(len(rows), pa.string()))
        sound, lost = _by_error(rows)
        batches = [to_batch(lost)] if len(lost) else []
        if len(sound):
            batches.append(self._stage(to_batch(sound)))
        return pa.concat_tables([to_arrow(batch, self._schema) for batch in batches])


def _limit_memory(gigabytes: float) -> None:
    """Let this process take so much more memory than it holds now; what asks for more gets a MemoryError (Linux)."""
    status = Path("/proc/self/status")
    if gigabytes and status.exists():
        held = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmData:"))
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (1024 * held + int(1e9 * gigabytes), hard))
        # Arrow's own allocator reserves gigabytes at a time and keeps them: all of it counts, used or not.
        pa.set_memory_pool(pa.system_memory_pool())


def give_up(step: Step, work: Work, rows: Sequence[tuple[pa.Table, str]]) -> list[Outcome]:
    """Quarantine rows, each a table of one missing row and the error that it gets; returns what became of them."""
    schema = _schema(step)
    failed = [to_arrow(to_batch(row) | {"error": np.array([error], object)}, schema) for row, error in rows]
    return [outcome for row in failed for outcome in write_rows(work.table, step, row)]


def write_rows(table: Table, step: Step, rows: pa.Table) -> list[Outcome]:
    """Put rows in place, those with an error in quarantine; returns what became of them."""
    sound, lost = _by_error(rows)
    outcomes = [Outcome(num_rows=len(sound))] if len(sound) else []
    if len(sound):
        sound = sound.drop_columns(["error", "attempts"])
        table.write(sound.append_column("row_hash", pa.array(row_hashes(sound))))
    if len(lost):
        errors = [error.partition(": ") for error in lost["error"].to_pylist()]
        lost = lost.append_column("reason", pa.array([reason for reason, _, _ in errors], pa.string()))
        lost = lost.append_column("message", pa.array([message for _, _, message in errors], pa.string()))
        lost = lost.append_column("stage", pa.array([step.stage_name] * len(lost), pa.string()))
        attempts = pc.add(lost["attempts"], pa.scalar(1, pa.int32()))
        lost = lost.set_column(lost.column_names.index("attempts"), "attempts", attempts)
        table.write_quarantine(lost.select(quarantine_schema(table.name).names))
        keys = lost.select(table.key).to_pylist()
        told = zip(errors, keys, attempts.to_pylist(), strict=True)
        outcomes += [Outcome(reason, 1, message, key, tries) for (reason, _, message), key, tries in told]
    return outcomes


def _by_error(rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The rows without an error and those with one; where there is none, nothing is copied."""
    if rows["error"].null_count == len(rows):
        return rows, rows.slice(0, 0)
    return rows.filter(pc.is_null(rows["error"])), rows.filter(pc.is_valid(rows["error"]))


def _schema(step: Step) -> pa.Schema:
    """What a stage gives: the table's columns but the hash of the row, and how it went."""
    columns = [column for column in step.schema or schema_of(step.table) if column.name != "row_hash"]
    return pa.schema([*columns, pa.field("error", pa.string()), pa.field("attempts", pa.int32())])

"""What a job does to its rows, without Ray: read them, call the stage, put what it gives in place."""

from __future__ import annotations

import faulthandler
import os
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from artsim.config import Workers
from artsim.resume import Expand, Work
from artsim.schemas import Batch, quarantine_schema, row_hashes, schema_of, to_arrow, to_batch
from artsim.sources import fetch
from artsim.stages import EngineError
from artsim.tables import Table

DONE = "done"


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
    whole: bool = False
    """Each row depends on all rows of the tables read, so a change of any makes all anew."""


def fetch_images(rows: pa.Table, max_bytes: int) -> pa.Table:
    """Rows with the files that their column `uri` names as `image`, and why there is none as `error`."""
    images, errors = fetch(rows["uri"].to_pylist(), max_bytes)
    rows = rows.append_column("image", pa.array(images, pa.binary()))
    return rows.append_column("error", pa.array(errors, pa.string()))


def read_batch(step: Step, work: Work, bucket: int) -> Batch:
    """All rows of one bucket as the step's stage reads them, whether they are done or not."""
    rows = work.read(bucket, work.expected(bucket))
    return to_batch(fetch_images(rows, step.fetch_bytes) if step.fetch_bytes else rows)


class Worker:
    """A stage in a worker process: rows in, rows of the table's schema with `error` and `attempts` out."""

    def __init__(self, step: Step, schema: pa.Schema) -> None:
        self._stage, self._timeout_s, self._schema = step.stage(*step.arguments), step.workers.timeout_s, schema

    def __call__(self, rows: pa.Table) -> pa.Table:
        # A decoder that hangs may hold the interpreter's lock: this timer needs no lock and ends the process.
        faulthandler.dump_traceback_later(self._timeout_s, exit=True, file=sys.__stderr__ or sys.stderr)
        try:
            return self._apply(rows)
        except EngineError:
            traceback.print_exc()
            os._exit(1)  # as if it had been killed: Ray starts another process, which builds another engine
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _apply(self, rows: pa.Table) -> pa.Table:
        if "error" not in rows.column_names:
            rows = rows.append_column("error", pa.nulls(len(rows), pa.string()))
        sound, lost = rows.filter(pc.is_null(rows["error"])), rows.filter(pc.is_valid(rows["error"]))
        batches = [to_batch(lost)] if len(lost) else []
        if len(sound):
            batches.append(self._stage(to_batch(sound)))
        return pa.concat_tables([to_arrow(batch, self._schema) for batch in batches])


def write_rows(table: Table, stage: str, rows: pa.Table) -> dict[str, int]:
    """Put the rows of a block in place, those with an error in quarantine; returns rows by outcome."""
    sound, lost = rows.filter(pc.is_null(rows["error"])), rows.filter(pc.is_valid(rows["error"]))
    outcome = Counter({DONE: len(sound)})
    if len(sound):
        sound = sound.drop_columns(["error", "attempts"])
        table.write(sound.append_column("row_hash", pa.array(row_hashes(sound))))
    if len(lost):
        errors = [error.partition(": ") for error in lost["error"].to_pylist()]
        lost = lost.append_column("reason", pa.array([reason for reason, _, _ in errors], pa.string()))
        lost = lost.append_column("message", pa.array([message for _, _, message in errors], pa.string()))
        lost = lost.append_column("stage", pa.array([stage] * len(lost), pa.string()))
        attempts = pc.add(lost["attempts"], pa.scalar(1, pa.int32()))
        lost = lost.set_column(lost.column_names.index("attempts"), "attempts", attempts)
        table.write_quarantine(lost.select(quarantine_schema(table.name).names))
        outcome.update(reason for reason, _, _ in errors)
    return dict(outcome)


def worker_schema(step: Step) -> pa.Schema:
    """What a worker hands on: the table's columns but the hash of the row, and how it went."""
    columns = [column for column in step.schema or schema_of(step.table) if column.name != "row_hash"]
    return pa.schema([*columns, pa.field("error", pa.string()), pa.field("attempts", pa.int32())])

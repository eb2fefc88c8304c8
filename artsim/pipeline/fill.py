"""The missing rows of a table, made by Ray Data's workers; what no worker survives is tried row by row."""

from __future__ import annotations

import json
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import ray  # loads ray.data where that is used, and not in the workers that only plan and settle
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util.annotations import RayDeprecationWarning

from artsim import UserError
from artsim.config import Config
from artsim.log import adopt, is_json, logger
from artsim.pipeline.cluster import connect, options, pool
from artsim.pipeline.measures import Measures
from artsim.pipeline.missing import Missing, Piece, find_missing
from artsim.resume import Work
from artsim.step import DONE, Outcome, Step, Worker, give_up
from artsim.tables import Table, TableError

CALLS_PER_WORKER = 2
"""While one has the stage, the other reads what comes next or writes what came before."""
MAX_LOST_WORKERS = 8
"""Rows in a row that may end their worker when they are tried alone; more are no coincidence."""
_OUTCOMES = pa.schema(
    [
        *((name, pa.string()) for name in ("reason", "message", "key")),
        ("num_rows", pa.int64()),
        ("attempts", pa.int32()),
    ]
)
"""Outcomes on their way to the job; a key is JSON, as its columns differ by table."""
_TOLD, _REPLACED = "error", "replaced"
"""Reasons that are no row's: what a person must mend before any row can be done; a worker that follows a dead one."""


def fill(step: Step, work: Work, config: Config, retry_quarantine: bool) -> int:
    """Do what is missing and return how many rows came new; what no worker survives is tried row by row."""
    missing, expected = find_missing(step, work, retry_quarantine)
    measures, reasons = Measures(step, missing.num_rows), Counter[str]()
    if missing.chunks:
        work.table.begin(expected, missing.num_rows)

    def add(outcomes: list[Outcome]) -> None:
        measures.add(outcomes)
        for outcome in outcomes:
            reasons[outcome.reason] += outcome.num_rows
        check_failures(work.table, reasons, expected, config.max_failure_rate)

    for tolerate in (False, True):
        try:
            for some in _stream(step, work, missing, tolerate, measures) if missing.chunks else ():
                add(some)
        except RayTaskError:
            raise
        except RayError as error:
            logger.warning(
                f"{step.table}: a worker died again and again ({type(error).__name__}); going on without it",
                extra=step.labels,
            )
        missing = _left_over(step, work) if missing.chunks else missing
        if missing.chunks and not tolerate:
            measures.retry("pass", f"{missing.num_rows} rows are left, which are tried once more")
    for some in _alone(step, work, missing, measures):
        add(some)
    return reasons[DONE]


def _left_over(step: Step, work: Work) -> Missing:
    """What a pass left undone, after a new start if it left anything.

    An actor that Ray Data lets go of in the moment in which it dies is restarted and stays, and keeps its cores
    (Ray 2.60). Leaving the cluster ends it.
    """
    missing, _ = find_missing(step, work, retry_quarantine=False)
    if missing.chunks:
        ray.shutdown()
        connect()
        missing, _ = find_missing(step, work, retry_quarantine=False)
    return missing


class _Worker(Worker):
    """A worker that looks up the keys of what it is to do: only places and outcomes cross Ray's object store."""

    def __init__(self, step: Step, work: Work, missing: Missing) -> None:
        super().__init__(step, work)
        self._missing = missing
        with warnings.catch_warnings():  # Ray 2.60 itself uses here what it deprecates
            warnings.simplefilter("ignore", RayDeprecationWarning)
            self._follows_another = ray.get_runtime_context().was_current_actor_reconstructed

    def __call__(self, call: pa.Table) -> pa.Table:
        (pieces,) = call["pieces"].to_pylist()
        keys = self._missing.keys([Piece(**piece) for piece in pieces])
        try:
            outcomes = self.do(keys)
        except UserError as error:  # handed over as a row: Ray Data would show a traceback, as for a defect
            return _to_arrow([Outcome(_TOLD, message=str(error))])
        if self._follows_another:
            self._follows_another = False
            outcomes.append(Outcome(_REPLACED))
        return _to_arrow(outcomes)


def _to_arrow(outcomes: list[Outcome]) -> pa.Table:
    rows = [outcome._asdict() | {"key": outcome.key and json.dumps(outcome.key)} for outcome in outcomes]
    return pa.Table.from_pylist(rows, _OUTCOMES)


def _from_arrow(rows: pa.Table) -> list[Outcome]:
    return [Outcome(**row | {"key": row["key"] and json.loads(row["key"])}) for row in rows.to_pylist()]


def _stream(step: Step, work: Work, missing: Missing, tolerate: bool, measures: Measures) -> Iterator[list[Outcome]]:
    """Run the stage over missing rows and write what it gives; yields what became of them as parts appear.

    A worker that dies is replaced, and its rows are tried once more. If that kills the next one too, RayError is
    raised, or, with `tolerate`, the chunk is left missing and the others go on. What a person must mend is raised as
    the UserError that the worker met.
    """
    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = -1 if tolerate else 0
    context.enable_progress_bars = not is_json()
    adopt("ray.data")
    chunks = missing.chunks
    least, most = pool(step.workers, len(chunks))
    # Ray 2.60 deprecates this argument, but has no other way yet to end the retries of a row that kills.
    warnings.filterwarnings("ignore", category=RayDeprecationWarning, module=__name__)
    # A row is a call: on GPUs Ray Data wants to be told a batch size, and puts blocks together that are smaller.
    # from_arrow would ask for each block's facts in a task, whose workers would all have to load Ray Data.
    blocks = [pa.table({"pieces": [[piece._asdict() for piece in chunk]]}) for chunk in chunks]
    source = ray.data.from_blocks(blocks)
    source.set_name(step.table)
    done = source.map_batches(
        type(step.stage_name, (_Worker,), {}),  # so that Ray's progress bars and dashboard name the stage
        fn_constructor_args=(step, work, missing._replace(chunks=[])),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(
            min_size=least,
            max_size=most,
            max_concurrent_calls_per_actor=CALLS_PER_WORKER,
            enable_true_multi_threading=True,
        ),
        max_task_retries=0 if tolerate else 1,
        **options(step.workers),
    )
    for some in done.iter_batches(batch_size=None, batch_format="pyarrow"):
        outcomes = _from_arrow(pa.table(some))
        for outcome in outcomes:
            if outcome.reason == _TOLD:
                raise UserError(outcome.message)
            if outcome.reason == _REPLACED:
                measures.retry("worker", f"a worker of {step.stage_name} died and was replaced")
        yield [outcome for outcome in outcomes if outcome.reason != _REPLACED]


def _alone(step: Step, work: Work, missing: Missing, measures: Measures) -> Iterator[list[Outcome]]:
    """Try each row in a worker that it shares with no other; yields what became of them as they are written.

    What ends or hangs its worker is quarantined, unless MAX_LOST_WORKERS do so one after the other, or a worker does
    not even start: then something else is wrong, TableError says so, and those rows stay missing.
    """
    shared, worker = ray.put(work), None
    suspects: list[tuple[pa.Table, str]] = []
    for row in (keys.slice(at, 1) for keys in map(missing.keys, missing.chunks) for at in range(len(keys))):
        worker = worker or _lone_worker(step, shared)
        measures.retry("row", "a row is tried alone", key=row.select(work.table.key).to_pylist()[0])
        started = time.monotonic()
        try:
            outcomes = ray.get(worker.do.remote(row))
        except RayActorError as error:
            hung = time.monotonic() - started >= step.workers.timeout_s
            reason = (
                f"timeout: took over {step.workers.timeout_s} s" if hung else f"killed_worker: {type(error).__name__}"
            )
            suspects.append((row, reason))
            if len(suspects) >= MAX_LOST_WORKERS:
                raise TableError(
                    f"{step.table}: {len(suspects)} rows one after the other ended their worker ({reason}), so the "
                    "fault is hardly theirs: look at the workers' output above, mend it and start again"
                ) from error
            worker = None
        else:
            yield outcomes
            yield give_up(step, work, suspects)
            suspects = []
    yield give_up(step, work, suspects)


def _lone_worker(step: Step, work: ray.ObjectRef) -> Any:
    """A worker whose stage is built; TableError where building it fails, which is no row's fault."""
    alone = type(f"{step.stage_name}Alone", (Worker,), {})
    worker: Any = ray.remote(alone).options(**options(step.workers), max_restarts=0).remote(step, work)
    try:
        ray.get(worker.__ray_ready__.remote())
    except RayActorError as error:
        cause = str(error).strip().splitlines()[-1]
        raise TableError(f"{step.table}: a worker of {step.stage_name} does not start ({cause})") from error
    return worker


def check_failures(table: Table, outcome: Counter[str], expected: int, max_failure_rate: float) -> None:
    reasons = Counter({reason: count for reason, count in outcome.items() if reason != DONE})
    if reasons.total() > max_failure_rate * expected:
        commonest = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
        raise TableError(
            f"{table.name}: {reasons.total()} of {expected} rows failed, more than max_failure_rate = "
            f"{max_failure_rate:g} allows; commonest: {commonest}. Look at {table.root}/{table.name}/_quarantine, then "
            "mend the cause and use --retry-quarantine, or raise max_failure_rate"
        )

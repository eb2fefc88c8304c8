"""The missing rows of a table, made by Ray Data's workers; what no worker survives is tried row by row."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import ray  # loads ray.data where that is used, and not in the workers that only plan and settle
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

from artsim import UserError
from artsim.config import Config
from artsim.pipeline.cluster import connect, num_workers
from artsim.pipeline.missing import Missing, Piece, find_missing
from artsim.pipeline.tries import alive_machines, count_tries
from artsim.resume import Work
from artsim.step import DONE, Step, Worker, give_up
from artsim.tables import Table, TableError

logger = logging.getLogger("artsim")

CALLS_PER_WORKER = 2
"""While one has the stage, the other reads what comes next or writes what came before."""
MAX_STREAMS = 2
"""A stream that breaks off as a whole is tried once more, before each row is tried alone."""
MAX_LOST_WORKERS = 8
"""Rows in a row that may end their worker when they are tried alone; more are no coincidence."""
_TOLD = "error: "
"""What an outcome begins with that is no row's, but what a person must mend before any row can be done."""


def fill(step: Step, work: Work, config: Config, retry_quarantine: bool) -> int:
    """Do what is missing and return how many rows came new; what no worker survives is tried row by row."""
    missing, expected = find_missing(step, work, retry_quarantine)
    if missing.chunks:
        work.table.begin(expected, missing.num_rows)
    outcomes: Counter[str] = Counter()
    for _ in range(MAX_STREAMS):
        is_whole = True
        try:
            for some in _stream(step, work, missing) if missing.chunks else ():
                outcomes.update(some)
                check_failures(work.table, outcomes, expected, config.max_failure_rate)
        except RayTaskError:
            raise
        except RayError as error:
            logger.warning(f"{step.table}: the workers cannot go on ({type(error).__name__})")
            is_whole = False
        missing = _left_over(step, work) if missing.chunks else missing
        if is_whole:
            break
    if missing.chunks:
        logger.warning(f"{step.table}: {missing.num_rows} rows are left, as their workers ended: each is tried alone")
    for some in _alone(step, work, missing):
        outcomes.update(some)
        check_failures(work.table, outcomes, expected, config.max_failure_rate)
    return outcomes[DONE]


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

    def __init__(self, step: Step, work: Work, missing: Missing, tries: Any) -> None:
        super().__init__(step, work)
        self._missing, self._tries = missing, tries
        self._machine = ray.get_runtime_context().get_node_id()

    def __call__(self, chunks: pa.Table) -> pa.Table:
        (pieces,) = chunks["pieces"].to_pylist()
        found = [Piece(**piece) for piece in pieces]
        chunk = found[0][:3]
        if not ray.get(self._tries.begin.remote(chunk, self._machine)):
            return pa.table({"outcome": pa.array([], pa.string())})
        try:
            outcomes = self.do(self._missing.keys(found))
        except UserError as error:  # handed over as a row: Ray Data would show a traceback, as for a defect
            outcomes = [_TOLD + str(error)]
        self._tries.end.remote(chunk)
        return pa.table({"outcome": outcomes})


def _stream(step: Step, work: Work, missing: Missing) -> Iterator[list[str]]:
    """Run the stage over missing rows and write what it gives; yields the outcomes of rows as parts appear.

    A worker that dies is replaced, and its chunks are tried again, as often as machines are lost. Where no machine
    was, a chunk that was begun MAX_TRIES times is left missing. RayError is raised where workers do not even start.
    What a person must mend is raised as the UserError that the worker met.
    """
    workers, chunks = step.workers, missing.chunks
    # from_arrow would ask for each block's facts in a task, whose workers would all have to load Ray Data.
    blocks = [pa.table({"pieces": [[piece._asdict() for piece in chunk]]}) for chunk in chunks]
    done = ray.data.from_blocks(blocks).map_batches(
        type(step.stage.__name__, (_Worker,), {}),  # so that Ray's progress bars and dashboard name the stage
        fn_constructor_args=(step, work, missing._replace(chunks=[]), count_tries()),
        batch_size=1,  # a chunk is a row
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(
            size=min(num_workers(workers), len(chunks)),
            max_concurrent_calls_per_actor=CALLS_PER_WORKER,
            enable_true_multi_threading=True,
        ),
        num_cpus=workers.num_cpus,
        num_gpus=workers.num_gpus,
    )
    for some in done.iter_batches(batch_size=None, batch_format="pyarrow"):
        outcomes = pa.table(some)["outcome"].to_pylist()
        for outcome in outcomes:
            if outcome.startswith(_TOLD):
                raise UserError(outcome.removeprefix(_TOLD))
        yield outcomes


def _alone(step: Step, work: Work, missing: Missing) -> Iterator[list[str]]:
    """Try each row in a worker that it shares with no other; yields the outcomes of rows as they are written.

    What ends or hangs its worker is quarantined, unless MAX_LOST_WORKERS do so one after the other, or a worker does
    not even start: then something else is wrong, TableError says so, and those rows stay missing. A row whose machine
    was lost is tried on another.
    """
    shared, worker = ray.put(work), None
    suspects: list[tuple[pa.Table, str]] = []
    rows = deque(keys.slice(at, 1) for keys in map(missing.keys, missing.chunks) for at in range(len(keys)))
    while rows:
        worker, row = worker or _LoneWorker(step, shared), rows[0]
        started = time.monotonic()
        try:
            outcomes = ray.get(worker.actor.do.remote(row))
        except RayActorError as error:
            seconds, lost, worker = time.monotonic() - started, worker, None
            if lost.lives_or_lost_its_machine():
                continue
            hung = seconds >= step.workers.timeout_s
            reason = (
                f"timeout: took over {step.workers.timeout_s} s" if hung else f"killed_worker: {type(error).__name__}"
            )
            suspects.append((rows.popleft(), reason))
            if len(suspects) >= MAX_LOST_WORKERS:
                raise TableError(
                    f"{step.table}: {len(suspects)} rows one after the other ended their worker ({reason}), so the "
                    "fault is hardly theirs: look at the workers' output above, mend it and start again"
                ) from error
        else:
            rows.popleft()
            yield outcomes
            yield give_up(step, work, suspects)
            suspects = []
    yield give_up(step, work, suspects)


class _LoneWorker:
    """An actor whose stage is built, and its machine; TableError where building it fails, which is no row's fault."""

    def __init__(self, step: Step, work: ray.ObjectRef) -> None:
        options = {"num_cpus": step.workers.num_cpus, "num_gpus": step.workers.num_gpus, "max_restarts": 0}
        actor: Any = ray.remote(_Placed).options(**options)
        self.actor = actor.remote(step, work)
        try:
            self._machine = ray.get(self.actor.machine.remote())
        except RayActorError as error:
            cause = str(error).strip().splitlines()[-1]
            raise TableError(f"{step.table}: a worker of {step.stage.__name__} does not start ({cause})") from error

    def lives_or_lost_its_machine(self) -> bool:
        """Whether a call that failed tells nothing of its row: the link broke, or the machine is gone."""
        while True:
            try:
                ray.get(self.actor.machine.remote())
                return True
            except ActorUnavailableError:  # whether it lives is not known yet
                time.sleep(0.5)
            except RayActorError:
                return self._machine not in alive_machines()


class _Placed(Worker):
    """A worker that knows where it is."""

    def machine(self) -> str:
        return str(ray.get_runtime_context().get_node_id())


def check_failures(table: Table, outcome: Counter[str], expected: int, max_failure_rate: float) -> None:
    reasons = Counter({reason: count for reason, count in outcome.items() if reason != DONE})
    if reasons.total() > max_failure_rate * expected:
        commonest = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
        raise TableError(
            f"{table.name}: {reasons.total()} of {expected} rows failed, more than max_failure_rate = "
            f"{max_failure_rate:g} allows; commonest: {commonest}. Look at {table.root}/{table.name}/_quarantine, then "
            "mend the cause and use --retry-quarantine, or raise max_failure_rate"
        )

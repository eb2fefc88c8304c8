"""Rows that are left when their workers ended: each is tried in a worker that it shares with no other."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError

from artsim.pipeline.cluster import options
from artsim.pipeline.measures import Measures
from artsim.pipeline.missing import Missing
from artsim.pipeline.tries import alive_machines
from artsim.resume import Work
from artsim.step import Outcome, Step, Worker, give_up
from artsim.tables import TableError

MAX_LOST_WORKERS = 8
"""Rows in a row that may end their worker when they are tried alone; more are no coincidence."""
MAX_STARTS = 3
"""Times that a worker may be lost while it starts; more are no coincidence either."""
_ENDED = (RayActorError, OutOfMemoryError)
"""What a call to a dead worker raises; the latter where Ray's memory monitor killed it."""


def try_alone(step: Step, work: Work, missing: Missing, measures: Measures) -> Iterator[list[Outcome]]:
    """Do missing rows one after the other; yields what became of them as they are written.

    What ends or hangs its worker is quarantined, unless MAX_LOST_WORKERS do so one after the other, or a worker does
    not even start: then something else is wrong, TableError says so, and those rows stay missing. A row whose machine
    was lost is tried on another.
    """
    shared, worker = ray.put(work), None
    suspects: list[tuple[pa.Table, str]] = []
    rows = deque(keys.slice(at, 1) for keys in map(missing.keys, missing.chunks) for at in range(len(keys)))
    while rows:
        worker, row = worker or _LoneWorker(step, shared), rows[0]
        measures.retry("row", "a row is tried alone", key=row.select(work.table.key).to_pylist()[0])
        started = time.monotonic()
        try:
            outcomes = ray.get(worker.actor.do.remote(row))
        except _ENDED as error:
            seconds = time.monotonic() - started
            if worker.lives():  # the link broke
                continue
            lost, worker = worker, None
            if lost.machine not in alive_machines():
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
        named = type(f"{step.stage_name}Alone", (_Placed,), {})
        start: Any = ray.remote(named).options(**options(step.workers), max_restarts=0)
        for last in (*(False,) * (MAX_STARTS - 1), True):
            self.actor = start.remote(step, work)
            try:
                self.machine = ray.get(self.actor.machine.remote())
                return
            except _ENDED as error:  # unless its own error says so, the machine may have been lost
                if last or getattr(error, "actor_init_failed", False):
                    cause = str(error).strip().splitlines()[-1]
                    sentence = f"{step.table}: a worker of {step.stage_name} does not start ({cause})"
                    raise TableError(sentence) from error

    def lives(self) -> bool:
        """Whether it is there after a call that failed."""
        while True:
            try:
                ray.get(self.actor.machine.remote())
                return True
            except ActorUnavailableError:  # not known yet
                time.sleep(0.5)
            except _ENDED:
                return False


class _Placed(Worker):
    """A worker that knows where it is."""

    def machine(self) -> str:
        return str(ray.get_runtime_context().get_node_id())

"""The missing rows of a table, made by Ray Data's workers; what no worker survives is tried row by row."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import ray  # loads ray.data where that is used, and not in the workers that only plan and settle
from ray.exceptions import RayError, RayTaskError
from ray.util.annotations import RayDeprecationWarning

from artsim import UserError
from artsim.config import Config
from artsim.log import adopt, is_json, logger
from artsim.pipeline.alone import try_alone
from artsim.pipeline.cluster import connect, options, pool
from artsim.pipeline.measures import Measures
from artsim.pipeline.missing import Missing, Piece, Quarantined, find_missing
from artsim.pipeline.tries import count_tries
from artsim.resume import Work
from artsim.step import DONE, Outcome, Step, Worker
from artsim.tables import Table, TableError

CALLS_PER_WORKER = 2
"""While one has the stage, the other reads what comes next or writes what came before."""
MAX_STREAMS = 2
"""A stream that breaks off as a whole is tried once more, before each row is tried alone."""
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
    again = work.table.parts().quarantine if retry_quarantine else {}
    missing, expected = find_missing(step, work, again)
    measures, reasons = Measures(step, missing.num_rows), Counter[str]()
    if missing.chunks:
        work.table.begin(expected, missing.num_rows)

    def add(outcomes: list[Outcome]) -> None:
        measures.add(outcomes)
        for outcome in outcomes:
            reasons[outcome.reason] += outcome.num_rows
        check_failures(work.table, reasons, expected, config.max_failure_rate)

    for number in range(MAX_STREAMS):
        is_whole = True
        try:
            for some in _stream(step, work, missing, measures) if missing.chunks else ():
                add(some)
        except RayTaskError:
            raise
        except RayError as error:
            logger.warning(f"{step.table}: the workers cannot go on ({type(error).__name__})", extra=step.labels)
            is_whole = False
        missing = _left_over(step, work, again) if missing.chunks else missing
        if is_whole or not missing.chunks:
            break
        if number + 1 < MAX_STREAMS:
            measures.retry("pass", f"{missing.num_rows} rows are left, which are tried once more")
    if missing.chunks:
        sentence = f"{step.table}: {missing.num_rows} rows are left, as their workers ended: each is tried alone"
        logger.warning(sentence, extra=step.labels)
    for some in try_alone(step, work, missing, measures):
        add(some)
    return reasons[DONE]


def _left_over(step: Step, work: Work, again: Quarantined) -> Missing:
    """What a pass left undone, after a new start if it left anything.

    An actor that Ray Data lets go of in the moment in which it dies is restarted and stays, and keeps its cores
    (Ray 2.60). Leaving the cluster ends it.
    """
    missing, _ = find_missing(step, work, again)
    if missing.chunks:
        ray.shutdown()
        connect()
        missing, _ = find_missing(step, work, again)
    return missing


class _Worker(Worker):
    """A worker that looks up the keys of what it is to do: only places and outcomes cross Ray's object store."""

    def __init__(self, step: Step, work: Work, missing: Missing, tries: Any) -> None:
        super().__init__(step, work)
        self._missing, self._tries = missing, tries
        context = ray.get_runtime_context()
        self._machine = context.get_node_id()
        with warnings.catch_warnings():  # Ray 2.60 itself uses here what it deprecates
            warnings.simplefilter("ignore", RayDeprecationWarning)
            self._follows_another = context.was_current_actor_reconstructed

    def __call__(self, call: pa.Table) -> pa.Table:
        (rows,) = call["pieces"].to_pylist()
        pieces = [Piece(**row) for row in rows]
        chunk = pieces[0][:3]
        outcomes = [Outcome(_REPLACED)] if self._follows_another else []
        self._follows_another = False
        if ray.get(self._tries.begin.remote(chunk, self._machine)):
            try:
                outcomes += self.do(self._missing.keys(pieces))
            except UserError as error:  # handed over as a row: Ray Data would show a traceback, as for a defect
                outcomes.append(Outcome(_TOLD, message=str(error)))
            self._tries.end.remote(chunk)
        return _to_arrow(outcomes)


def _to_arrow(outcomes: list[Outcome]) -> pa.Table:
    rows = [outcome._asdict() | {"key": outcome.key and json.dumps(outcome.key)} for outcome in outcomes]
    return pa.Table.from_pylist(rows, _OUTCOMES)


def _from_arrow(rows: pa.Table) -> list[Outcome]:
    return [Outcome(**row | {"key": row["key"] and json.loads(row["key"])}) for row in rows.to_pylist()]


def _stream(step: Step, work: Work, missing: Missing, measures: Measures) -> Iterator[list[Outcome]]:
    """Run the stage over missing rows and write what it gives; yields what became of them as parts appear.

    A worker that dies is replaced, and its chunks are tried again, as often as machines are lost. Where no machine
    was, a chunk that was begun MAX_TRIES times is left missing. RayError is raised where workers do not even start.
    What a person must mend is raised as the UserError that the worker met.
    """
    ray.data.DataContext.get_current().enable_progress_bars = not is_json()
    adopt("ray.data")
    chunks = missing.chunks
    least, most = pool(step.workers, len(chunks))
    # A row is a call: on GPUs Ray Data wants to be told a batch size, and puts blocks together that are smaller.
    # from_arrow would ask for each block's facts in a task, whose workers would all have to load Ray Data.
    blocks = [pa.table({"pieces": [[piece._asdict() for piece in chunk]]}) for chunk in chunks]
    source = ray.data.from_blocks(blocks)
    source.set_name(step.table.replace("/", "-"))  # Ray Data has a log file of that name
    done = source.map_batches(
        type(step.stage_name, (_Worker,), {}),  # so that Ray's progress bars and dashboard name the stage
        fn_constructor_args=(step, work, missing._replace(chunks=[]), count_tries()),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(
            min_size=least,
            max_size=most,
            max_concurrent_calls_per_actor=CALLS_PER_WORKER,
            enable_true_multi_threading=True,
        ),
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


def check_failures(table: Table, outcome: Counter[str], expected: int, max_failure_rate: float) -> None:
    reasons = Counter({reason: count for reason, count in outcome.items() if reason != DONE})
    if reasons.total() > max_failure_rate * expected:
        commonest = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
        raise TableError(
            f"{table.name}: {reasons.total()} of {expected} rows failed, more than max_failure_rate = "
            f"{max_failure_rate:g} allows; commonest: {commonest}. Look at {table.root}/{table.name}/_quarantine, then "
            "mend the cause and use --retry-quarantine, or raise max_failure_rate"
        )

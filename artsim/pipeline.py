"""The one seam to Ray: a stage over tables into a table, streaming through Ray Data, exact after any kill."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util.annotations import RayDeprecationWarning

import artsim
from artsim import UserError
from artsim.command import Command
from artsim.config import Config, Section, Workers
from artsim.lease import Lease, hold
from artsim.resume import Input, Work, publish
from artsim.schemas import digest64
from artsim.sources.shards import FOLDER, Shard, not_unpacked
from artsim.sources.shards import unpack as unpack_shard
from artsim.step import DONE, Step, Worker, give_up
from artsim.tables import Parts, Table, TableError, claim, create_root, fingerprint, sweep

logger = logging.getLogger("artsim")

PACKAGES = ("ray", "numpy", "pyarrow", "pillow", "opencv-python-headless", "torch", "transformers", "diffusers", "vllm")
"""Whose versions a table notes, where they are installed."""
LOCAL_OBJECT_STORE_BYTES = 1_500_000_000
CALLS_PER_WORKER = 2
"""While one has the stage, the other reads what comes next or writes what came before."""
_TOLD = "error: "
"""What an outcome begins with that is no row's, but what a person must mend before any row can be done."""
MAX_LOST_WORKERS = 8
"""Rows in a row that may end their worker when they are tried alone; more are no coincidence."""


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


def connect() -> None:
    """Join the cluster that RAY_ADDRESS names, or start one on this machine that ends with this process."""
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS")
    logging.basicConfig(format="%(message)s")
    if address:
        # A submitted job brings its own copy of the code; a driver from elsewhere sends it.
        submitted = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
        package = Path(artsim.__file__).parent
        modules = [str(folder) for folder in (package, package.with_name("jobs")) if folder.is_dir()]
        ray.init(address, runtime_env=None if submitted else {"py_modules": modules}, log_to_driver=True)
        return
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray's core calls each actor of Ray Data an error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        "local",
        include_dashboard=False,
        object_store_memory=LOCAL_OBJECT_STORE_BYTES,
        logging_level=logging.WARNING,
        # By default a worker that idles for a second is ended, and each write would wait for a new process.
        _system_config={"idle_worker_killing_time_threshold_ms": 600_000},
    )


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
        logger.warning(change)
    manifest = work.table.manifest()
    sweep(work.table, manifest)
    if manifest is None or command.retry_quarantine or not work.is_current(manifest):
        connect()
        # A cluster may still grow; one machine does not, and would wait for ever.
        if "RAY_ADDRESS" not in os.environ and (short := shortage(step.table, step.workers)):
            raise TableError(short)
        new_rows = _fill(step, work, config, command.retry_quarantine)
        manifest = _settle(work, config, lease)
    else:
        new_rows = 0
    quarantined = sum(manifest["quarantined"].values())
    summary = Summary(step.table, manifest["num_rows"], quarantined, time.monotonic() - started, new_rows)
    print(summary, flush=True)
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
    print(f"{len(missing)} Parquet files unpacked into {root}/{FOLDER} ({rate})", flush=True)


def begin(step: Step, command: Command) -> tuple[Work, list[str]]:
    """Open or make a table under the recipe of a step; returns its work, and warnings about package versions."""
    config = command.config
    num_buckets = create_root(config.root, config.num_buckets)
    inputs = [Input.of(Table(config.root, name, num_buckets), columns) for name, columns in step.reads.items()]
    kind: Any = step.stage
    recipe = {
        "stage": kind.__name__,
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
        sys.exit(f"error: {error.cause}")
    except UserError as error:
        sys.exit(f"error: {error}")


class Piece(NamedTuple):
    """Missing rows `start` to `stop` of one bucket, which become one part."""

    plan: int
    """which of the plans names them"""
    bucket: int
    start: int
    stop: int


Plan = dict[int, pa.Table]
"""Key, input_hash and former attempts of missing rows, by bucket."""


class Missing(NamedTuple):
    """What a table lacks: plans, which lie on the cluster, and what a worker does in one call."""

    plans: list[ray.ObjectRef]
    chunks: list[list[Piece]]

    @property
    def num_rows(self) -> int:
        """Rows of all pieces."""
        return sum(piece.stop - piece.start for chunk in self.chunks for piece in chunk)

    def keys(self, pieces: Iterable[Piece]) -> pa.Table:
        """Key, input_hash and former attempts of the rows of some pieces."""
        plans: dict[int, Plan] = {piece.plan: ray.get(self.plans[piece.plan]) for piece in pieces}
        return pa.concat_tables(plans[plan][bucket].slice(start, stop - start) for plan, bucket, start, stop in pieces)


@ray.remote(num_cpus=1, num_returns=2)
def _plan(work: Work, buckets: Sequence[int], parts: Parts, retry_quarantine: bool) -> Any:
    """The missing rows of some buckets; how many they are, and how many rows the buckets must have."""
    missing = {bucket: work.missing(bucket, parts, retry_quarantine) for bucket in buckets}
    return missing, {bucket: (len(rows), len(work.expected(bucket))) for bucket, rows in missing.items()}


@ray.remote(num_cpus=1)
def _settle_buckets(work: Work, buckets: Sequence[int], parts: Parts) -> list[tuple[Parts, int]]:
    return [work.settle(bucket, parts) for bucket in buckets]


def _shares(num_buckets: int) -> list[range]:
    """The buckets, dealt out over two rounds of tasks on all cores."""
    num_tasks = min(num_buckets, 2 * max(1, int(ray.cluster_resources().get("CPU", 0))))
    return [range(start, num_buckets, num_tasks) for start in range(num_tasks)]


def _missing(step: Step, work: Work, retry_quarantine: bool) -> tuple[Missing, int]:
    """The missing rows, and the number of rows that the finished table must account for."""
    parts, shared, size = work.table.parts(), ray.put(work), step.workers.rows_per_part
    tasks: list[Any] = [
        _plan.remote(shared, buckets, parts, retry_quarantine) for buckets in _shares(work.table.num_buckets)
    ]
    pieces, expected = [], 0
    for plan, counts in enumerate(ray.get([counts for _, counts in tasks])):
        expected += sum(wanted for _, wanted in counts.values())
        pieces += [
            Piece(plan, bucket, start, min(start + size, missing))
            for bucket, (missing, _) in counts.items()
            for start in range(0, missing, size)
        ]
    return Missing([plan for plan, _ in tasks], _pack(pieces, step.workers.batch_size)), expected


def _pack(pieces: Iterable[Piece], batch_size: int) -> list[list[Piece]]:
    """Put small pieces together as long as they are one batch of the stage."""
    chunks: list[list[Piece]] = []
    room = 0
    for piece in pieces:
        num_rows = piece.stop - piece.start
        if num_rows > room:
            chunks.append([])
            room = batch_size
        chunks[-1].append(piece)
        room -= num_rows
    return chunks


def _fill(step: Step, work: Work, config: Config, retry_quarantine: bool) -> int:
    """Do what is missing and return how many rows came new; what no worker survives is tried row by row."""
    missing, expected = _missing(step, work, retry_quarantine)
    if missing.chunks:
        work.table.begin(expected, missing.num_rows)
    outcomes: Counter[str] = Counter()
    for tolerate in (False, True):
        try:
            for some in _stream(step, work, missing, tolerate) if missing.chunks else ():
                outcomes.update(some)
                _check_failures(work.table, outcomes, expected, config.max_failure_rate)
        except RayTaskError:
            raise
        except RayError as error:
            logger.warning(f"{step.table}: a worker died again and again ({type(error).__name__}); going on without it")
        missing = _left_over(step, work) if missing.chunks else missing
    for some in _alone(step, work, missing):
        outcomes.update(some)
        _check_failures(work.table, outcomes, expected, config.max_failure_rate)
    return outcomes[DONE]


def _left_over(step: Step, work: Work) -> Missing:
    """What a pass left undone, after a new start if it left anything.

    An actor that Ray Data lets go of in the moment in which it dies is restarted and stays, and keeps its cores
    (Ray 2.60). Leaving the cluster ends it.
    """
    missing, _ = _missing(step, work, retry_quarantine=False)
    if missing.chunks:
        ray.shutdown()
        connect()
        missing, _ = _missing(step, work, retry_quarantine=False)
    return missing


class _Worker(Worker):
    """A worker that looks up the keys of what it is to do: only places and outcomes cross Ray's object store."""

    def __init__(self, step: Step, work: Work, missing: Missing) -> None:
        super().__init__(step, work)
        self._missing = missing

    def __call__(self, pieces: pa.Table) -> pa.Table:
        keys = self._missing.keys([Piece(**piece) for piece in pieces.to_pylist()])
        try:
            return pa.table({"outcome": self.do(keys)})
        except UserError as error:  # handed over as a row: Ray Data would show a traceback, as for a defect
            return pa.table({"outcome": [_TOLD + str(error)]})


def _stream(step: Step, work: Work, missing: Missing, tolerate: bool) -> Iterator[list[str]]:
    """Run the stage over missing rows and write what it gives; yields the outcomes of rows as parts appear.

    A worker that dies is replaced, and its rows are tried once more. If that kills the next one too, RayError is
    raised, or, with `tolerate`, the chunk is left missing and the others go on. What a person must mend is raised as
    the UserError that the worker met.
    """
    ray.data.DataContext.get_current().max_errored_blocks = -1 if tolerate else 0
    workers, chunks = step.workers, missing.chunks
    # Ray 2.60 deprecates this argument, but has no other way yet to end the retries of a row that kills.
    warnings.filterwarnings("ignore", category=RayDeprecationWarning, module=__name__)
    blocks = [pa.Table.from_pylist([piece._asdict() for piece in chunk]) for chunk in chunks]
    done = ray.data.from_arrow(blocks).map_batches(
        type(step.stage.__name__, (_Worker,), {}),  # so that Ray's progress bars and dashboard name the stage
        fn_constructor_args=(step, work, missing._replace(chunks=[])),
        batch_size=None,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(
            size=min(num_workers(workers), len(chunks)),
            max_concurrent_calls_per_actor=CALLS_PER_WORKER,
            enable_true_multi_threading=True,
        ),
        num_cpus=workers.num_cpus,
        num_gpus=workers.num_gpus,
        max_task_retries=0 if tolerate else 1,
    )
    for some in done.iter_batches(batch_size=None, batch_format="pyarrow"):
        outcomes = pa.table(some)["outcome"].to_pylist()
        for outcome in outcomes:
            if outcome.startswith(_TOLD):
                raise UserError(outcome.removeprefix(_TOLD))
        yield outcomes


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


def _alone(step: Step, work: Work, missing: Missing) -> Iterator[list[str]]:
    """Try each row in a worker that it shares with no other; yields the outcomes of rows as they are written.

    What ends or hangs its worker is quarantined, unless MAX_LOST_WORKERS do so one after the other, or a worker does
    not even start: then something else is wrong, TableError says so, and those rows stay missing.
    """
    shared, worker = ray.put(work), None
    suspects: list[tuple[pa.Table, str]] = []
    for row in (keys.slice(at, 1) for keys in map(missing.keys, missing.chunks) for at in range(len(keys))):
        worker = worker or _lone_worker(step, shared)
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
    options = {"num_cpus": step.workers.num_cpus, "num_gpus": step.workers.num_gpus, "max_restarts": 0}
    worker: Any = ray.remote(Worker).options(**options).remote(step, work)
    try:
        ray.get(worker.__ray_ready__.remote())
    except RayActorError as error:
        cause = str(error).strip().splitlines()[-1]
        raise TableError(f"{step.table}: a worker of {step.stage.__name__} does not start ({cause})") from error
    return worker


def _check_failures(table: Table, outcome: Counter[str], expected: int, max_failure_rate: float) -> None:
    reasons = Counter({reason: count for reason, count in outcome.items() if reason != DONE})
    if reasons.total() > max_failure_rate * expected:
        commonest = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
        raise TableError(
            f"{table.name}: {reasons.total()} of {expected} rows failed, more than max_failure_rate = "
            f"{max_failure_rate:g} allows; commonest: {commonest}. Look at {table.root}/{table.name}/_quarantine, then "
            "mend the cause and use --retry-quarantine, or raise max_failure_rate"
        )


def _settle(work: Work, config: Config, lease: Lease) -> dict[str, Any]:
    """Check that every expected row is there once, done or quarantined, and write the manifest that says so."""
    parts, shared = work.table.parts(), ray.put(work)
    tasks = [_settle_buckets.remote(shared, buckets, parts) for buckets in _shares(work.table.num_buckets)]
    settled = [found for task in tasks for found in ray.get(task)]
    missing = sum(count for _, count in settled)
    assert not missing, f"{work.table.name}: {missing} rows are neither done nor quarantined"
    reasons: Counter[str] = Counter()
    for found, _ in settled:
        reasons.update(found.reasons)
    expected = sum(found.num_rows for found, _ in settled) + reasons.total()
    _check_failures(work.table, reasons, expected, config.max_failure_rate)
    lease.confirm()
    return publish(work.table, [found for found, _ in settled], work.inputs)

"""The seam on a real Ray: every row accounted for, whatever its stage does to its worker."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import ray
from ray.exceptions import RayTaskError

from artsim.command import Command
from artsim.config import Config, Workers
from artsim.pipeline import Step, main, run, shortage
from artsim.pipeline.tries import Tries
from artsim.resume import replace as replace_table
from artsim.tables import Table, TableError, create_root, status
from tests.cluster.stages import Shout

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("cluster")]


def listing(root: Path, titles: list[str]) -> Table:
    columns = {name: [""] * len(titles) for name in ("uri", "genre", "artist", "subset", "version")}
    rows = {"id": [f"g/{row:04d}" for row in range(len(titles))], "title": titles} | columns
    table = Table(str(root), "_listing", create_root(str(root), 4))
    replace_table(table, pa.table(rows).select(["id", "uri", "genre", "artist", "title", "subset", "version"]))
    return table


def step(seconds_per_row: float = 0.0, timeout_s: float = 60, **settings: object) -> Step:
    return Step(
        table="captions",
        stage=Shout,
        arguments=(seconds_per_row,),
        reads={"_listing": {"title": "title"}},
        settings=settings,
        workers=Workers(num_workers=2, num_cpus=0.5, batch_size=4, rows_per_part=8, timeout_s=timeout_s, memory_gb=1),
    )


def command(root: Path, **options: bool) -> Command:
    return Command(Config(root=str(root), num_buckets=4, max_failure_rate=0.2), **options)


def captions(root: Path) -> dict[str, str]:
    rows = Table(str(root), "captions", 4).read_all(("id", "caption")).to_pylist()
    assert len(rows) == len({row["id"] for row in rows})
    return {row["id"]: row["caption"] for row in rows}


def test_every_row_is_done_once(tmp_path: Path) -> None:
    listing(tmp_path, [f"t{row}" for row in range(100)])
    summary = run(step(), command(tmp_path))
    assert (summary.rows, summary.new_rows, summary.quarantined) == (100, 100, 0)
    assert captions(tmp_path) == {f"g/{row:04d}": f"T{row}" for row in range(100)}
    assert run(step(), command(tmp_path)).new_rows == 0


@pytest.mark.usefixtures("new_cluster")
def test_a_stage_that_asks_for_a_gpu_runs(tmp_path: Path) -> None:
    listing(tmp_path, [f"t{row}" for row in range(20)])
    workers = Workers(num_workers=2, num_cpus=0.5, num_gpus=0.5, batch_size=4, rows_per_part=4)
    assert run(replace(step(), workers=workers), command(tmp_path)).new_rows == 20
    assert captions(tmp_path) == {f"g/{row:04d}": f"T{row}" for row in range(20)}


def test_only_what_changed_upstream_is_made_again(tmp_path: Path) -> None:
    listing(tmp_path, [f"t{row}" for row in range(50)])
    run(step(), command(tmp_path))
    listing(tmp_path, ["new", *(f"t{row}" for row in range(1, 49)), "t49", "t50", "t51"])
    summary = run(step(), command(tmp_path))
    assert (summary.rows, summary.new_rows) == (52, 3)
    assert captions(tmp_path)["g/0000"] == "NEW"
    listing(tmp_path, [f"t{row}" for row in range(10)])
    assert run(step(), command(tmp_path)).rows == 10
    assert captions(tmp_path) == {f"g/{row:04d}": f"T{row}" for row in range(10)}


def test_rows_that_kill_hang_or_bloat_their_worker_are_quarantined_alone(tmp_path: Path) -> None:
    titles = [f"t{row}" for row in range(60)]
    titles[7], titles[31], titles[33], titles[50] = "kill", "hang", "fail", "eat"
    listing(tmp_path, titles)
    summary = run(step(timeout_s=3), command(tmp_path))
    assert (summary.rows, summary.quarantined) == (56, 4)
    table = Table(str(tmp_path), "captions", 4)
    names = [name for names in table.parts(table.manifest()).quarantine.values() for name in names]
    found = {row["id"]: row["reason"] for row in table.read_quarantine(names).to_pylist()}
    assert found == {"g/0007": "killed_worker", "g/0031": "timeout", "g/0033": "corrupt", "g/0050": "killed_worker"}
    shown = status(str(tmp_path))["tables"]["captions"]
    assert (shown["expected"], shown["done"]) == (60, 56)
    assert shown["quarantined"] == {"killed_worker": 2, "timeout": 1, "corrupt": 1}


def test_only_tries_on_machines_that_are_there_count() -> None:
    here, tries = ray.get_runtime_context().get_node_id(), Tries()
    assert [tries.begin((0, 0, 0), "a machine that is lost") for _ in range(4)] == [True] * 4
    assert [tries.begin((0, 0, 8), here) for _ in range(3)] == [True, True, False]
    tries.end((0, 0, 8))
    assert [tries.begin((0, 0, 8), here) for _ in range(3)] == [True, True, False]
    tries.begin_anew()
    assert tries.begin((0, 0, 8), here)


def test_a_lost_engine_costs_a_retry_and_no_row(tmp_path: Path) -> None:
    listing(tmp_path, [*(f"t{row}" for row in range(20)), "engine"])
    summary = run(replace(step(), arguments=(0.0, str(tmp_path / "once"))), command(tmp_path))
    assert (tmp_path / "once").exists()
    assert (summary.rows, summary.new_rows, summary.quarantined) == (21, 21, 0)


@pytest.mark.slow
def test_rows_are_not_blamed_where_every_worker_is_lost(tmp_path: Path) -> None:
    listing(tmp_path, ["engine"] * 10)
    with pytest.raises(TableError, match=r"8 rows one after the other ended their worker"):
        run(step(), command(tmp_path))
    assert status(str(tmp_path))["tables"]["captions"]["quarantined"] == {}


@pytest.mark.slow
def test_rows_are_not_blamed_where_no_worker_starts(tmp_path: Path) -> None:
    listing(tmp_path, ["one", "two"])
    with pytest.raises(TableError, match=r"a worker of Shout does not start \(OSError: no weights here\)"):
        run(replace(step(), arguments=(0.0, "broken")), command(tmp_path))
    assert status(str(tmp_path))["tables"]["captions"]["quarantined"] == {}


@pytest.mark.parametrize(
    "bad", [("fail",), pytest.param(("fail", "kill"), marks=pytest.mark.slow)], ids=["fail", "kill"]
)
def test_quarantined_rows_are_tried_again_on_demand(bad: tuple[str, ...], tmp_path: Path) -> None:
    titles = [f"t{row}" for row in range(40)]
    titles[3 : 3 + len(bad)] = bad
    listing(tmp_path, titles)
    run(step(), command(tmp_path))
    assert run(step(), command(tmp_path)).new_rows == 0
    assert run(step(), command(tmp_path, retry_quarantine=True)).quarantined == len(bad)
    table = Table(str(tmp_path), "captions", 4)
    names = [name for names in table.parts(table.manifest()).quarantine.values() for name in names]
    assert table.read_quarantine(names)["attempts"].to_pylist() == [2] * len(bad)


def test_a_table_of_failures_is_refused_with_its_reasons(tmp_path: Path) -> None:
    listing(tmp_path, ["fail"] * 15 + ["fine"] * 25)
    with pytest.raises(TableError, match=r"rows failed, more than max_failure_rate = 0\.2 allows; commonest: corrupt"):
        run(step(), command(tmp_path))
    assert Table(str(tmp_path), "captions", 4).manifest() is None


def test_a_defect_of_the_stage_ends_the_job_with_its_own_error(tmp_path: Path) -> None:
    listing(tmp_path, ["fine", "bug"])
    with pytest.raises(RayTaskError, match="ZeroDivisionError: a defect of the stage"):
        run(step(), command(tmp_path))


@pytest.mark.usefixtures("new_cluster")  # of two cores
def test_a_stage_that_no_machine_holds_is_refused_before_it_starts(tmp_path: Path) -> None:
    listing(tmp_path, ["one"])
    large = replace(step(), workers=Workers(num_gpus=3))
    with pytest.raises(TableError, match=r"captions: a worker needs 1 CPUs and 3 GPUs, and no machine has them"):
        run(large, command(tmp_path))
    assert shortage("models/a70", Workers(num_cpus=1), at_once=2) is None
    words = "models/a70: a worker needs 1 CPUs and 0 GPUs, and of the 3 that work together 2 find a place"
    assert (shortage("models/a70", Workers(num_cpus=1), at_once=3) or "").startswith(words)


def test_other_settings_are_refused_until_overwritten(tmp_path: Path) -> None:
    listing(tmp_path, ["one", "two"])
    run(step(quality=95), command(tmp_path))
    with pytest.raises(TableError, match=r"settings\.quality: 95 before, 90 now"):
        run(step(quality=90), command(tmp_path))
    assert captions(tmp_path) == {"g/0000": "ONE", "g/0001": "TWO"}
    assert run(step(quality=90), command(tmp_path, overwrite=True)).new_rows == 2


def test_the_same_rows_whatever_the_batch_size(tmp_path: Path) -> None:
    hashes = []
    for batch_size, rows_per_part in ((1, 3), (16, 64)):
        root = tmp_path / str(batch_size)
        listing(root, [f"t{row}" for row in range(30)])
        workers = Workers(num_workers=1, num_cpus=0.5, batch_size=batch_size, rows_per_part=rows_per_part)
        run(Step("captions", Shout, (0.0,), {"_listing": {"title": "title"}}, workers), command(root))
        rows = Table(str(root), "captions", 4).read_all(("id", "row_hash", "input_hash"))
        hashes.append(Counter(map(str, rows.to_pylist())))
    assert hashes[0] == hashes[1]


def test_what_a_task_cannot_read_ends_a_job_in_one_sentence_and_a_defect_with_its_traceback(tmp_path: Path) -> None:
    lost = listing(tmp_path, ["a"] * 20).parts().rows[0][0]
    part = (tmp_path / "_listing" / lost).read_bytes()
    (tmp_path / "_listing" / lost).unlink()
    with pytest.raises(SystemExit) as ended:
        main(lambda: print(run(step(), command(tmp_path))))
    assert re.fullmatch(
        rf"error: root: {tmp_path}/_listing/{lost} cannot be read \(.*\): .*; what is done is kept", str(ended.value)
    )
    (tmp_path / "_listing" / lost).write_bytes(part[: len(part) // 2])
    with pytest.raises(RayTaskError, match=r"(?s)ray::plan captions.*ArrowInvalid: .* not found in footer"):
        main(lambda: print(run(step(), command(tmp_path))))

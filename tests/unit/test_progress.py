"""Rate, time left and state of tables, from names and times alone, in few requests and at ten million rows."""

import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from artsim import progress
from artsim.progress import WINDOW_S, Plan, duration, sentence
from artsim.resume import publish
from artsim.store import Store
from artsim.tables import QUARANTINE, Table, claim, create_root, parts_by_bucket, status

NUM_BUCKETS = 4
NOW = 1_000_000.0


def told(plan: Plan, started: float | None, arrivals: list[tuple[float, int]]) -> dict[str, Any]:
    return progress.unfinished(plan, started, arrivals, NOW)


def test_the_rate_is_that_of_the_present_run() -> None:
    plan = Plan(expected=1000, missing=1000, begun=NOW - 500)
    before = [(NOW - 400, 300)]
    shown = told(plan, NOW - 100, [*before, (NOW - 50, 60), (NOW - 10, 40)])
    assert shown == {"state": "running", "rate": 1.0, "eta_s": 600.0, "elapsed_s": 500.0}


def test_the_rate_forgets_what_is_older_than_the_window() -> None:
    arrivals = [(NOW - WINDOW_S - 1, 100_000), (NOW - 1, 900)]
    assert told(Plan(expected=110_800, begun=NOW), NOW - 5 * WINDOW_S, arrivals)["rate"] == pytest.approx(1)
    assert told(Plan(expected=110_800, begun=NOW), NOW - 5 * WINDOW_S, arrivals)["eta_s"] == pytest.approx(9900)


def test_a_table_that_has_just_begun_has_no_rate_yet() -> None:
    shown = told(Plan(10, 10, NOW - 5), NOW - 5, [])
    assert (shown["state"], shown["rate"], shown["eta_s"]) == ("running", 0, None)


def test_more_rows_than_expected_leave_nothing() -> None:
    assert told(Plan(10, 10, NOW - 5), NOW - 5, [(NOW, 12)])["eta_s"] == 0


def test_a_store_whose_clock_is_ahead_gives_a_rate() -> None:
    shown = told(Plan(100, 100, NOW), NOW + 60, [(NOW + 70, 50)])
    assert (shown["state"], shown["rate"], shown["eta_s"]) == ("running", 5, 10)


@pytest.mark.parametrize(("started", "arrivals"), [(None, []), (NOW - WINDOW_S - 1, [(NOW - WINDOW_S - 1, 5)])])
def test_where_nothing_appears_a_table_is_stalled(started: float | None, arrivals: list[tuple[float, int]]) -> None:
    shown = told(Plan(10, 10, NOW - 9000), started, arrivals)
    assert (shown["state"], shown["rate"], shown["eta_s"]) == ("stalled", None, None)
    assert sentence(shown) == "stalled: nothing new for 15 min or more"


def test_a_finished_table_tells_what_the_last_run_took() -> None:
    shown = progress.finished(Plan(expected=5000, missing=400, begun=NOW - 200), NOW)
    assert shown == {"state": "finished", "rate": 2.0, "eta_s": 0, "elapsed_s": 200.0}
    assert sentence(shown) == "finished in 3 min, 2 rows/s"
    older = progress.finished(Plan.of({"expected": 30}), None)
    assert sentence(older) == "finished"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (99, "99 s"), (100, "2 min"), (5400, "90 min"), (11_100, "3 h 05 min"), (187_200, "2 d 4 h")],
)
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text


class Counted(MemoryFileSystem):
    """An object store in memory that counts what is asked of it. Listings come a thousand names at a time."""

    protocol = "asked"
    store: dict[str, Any] = {}  # noqa: RUF012
    pseudo_dirs: list[str] = [""]  # noqa: RUF012
    asked: Counter[str] = Counter()  # noqa: RUF012

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        self.asked["list"] += 1
        return super().ls(path, detail, **options)

    def cat_file(self, path: str, *arguments: Any, **options: Any) -> Any:
        self.asked["get " + ("part" if path.endswith(".parquet") else "json")] += 1
        return super().cat_file(path, *arguments, **options)

    def info(self, path: str, **options: Any) -> Any:
        self.asked["info"] += 1
        return super().info(path, **options)

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        self.asked["open " + mode] += 1
        return super()._open(path, mode, **options)


fsspec.register_implementation("asked", Counted, clobber=True)


@pytest.fixture
def counted() -> Iterator[str]:
    root = f"asked://{uuid.uuid4().hex}"
    create_root(root, NUM_BUCKETS)
    yield root
    Store(root).delete([""])


def fill(table: Table, num_parts: int, rows: int = 64, reason: str = "", age_s: float = 0.0) -> list[str]:
    """Put empty parts in place whose names carry the counts."""
    kind = f"{reason}-" if reason else ""
    names = [f"{part % table.num_buckets:05d}-{kind}{rows}-{part:016x}.parquet" for part in range(num_parts)]
    folder = Path(table.root) / table.name / (QUARANTINE if reason else "")
    local = "://" not in table.root
    if local:
        folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if local:
            (folder / name).touch()
            if age_s:
                os.utime(folder / name, (time.time() - age_s, time.time() - age_s))
        else:
            table.store.write(f"{QUARANTINE}/{name}" if reason else name, b"")
    return names


def test_an_object_store_is_asked_little_however_many_parts_there_are(counted: str) -> None:
    done, running = (Table(counted, name, NUM_BUCKETS) for name in ("resized", "generated"))
    for table in (done, running):
        claim(table, {}, {})
        table.begin(100_000, 100_000)
    publish(done, [parts_by_bucket(fill(done, 700), fill(done, 3, rows=5, reason="corrupt"))])
    fill(running, 900)
    fill(running, 2, rows=7, reason="black_image")
    Counted.asked.clear()
    shown = status(counted)["tables"]
    assert (shown["resized"]["done"], shown["resized"]["quarantined"]) == (700 * 64, {"corrupt": 15})
    assert (shown["generated"]["done"], shown["generated"]["quarantined"]) == (900 * 64, {"black_image": 14})
    assert (shown["generated"]["state"], shown["resized"]["state"]) == ("running", "finished")
    assert Counted.asked["get part"] == Counted.asked["info"] == 0
    assert Counted.asked["open rb"] == 0
    assert Counted.asked["list"] == 5, "the root, splits, triplets, and of the running table its parts and quarantine"
    assert Counted.asked.total() <= 4 + 5 * len(shown)


def test_a_running_table_is_rated_by_when_its_parts_appeared(tmp_path: Path) -> None:
    create_root(str(tmp_path), NUM_BUCKETS)
    table = Table(str(tmp_path), "generated", NUM_BUCKETS)
    claim(table, {}, {})
    table.begin(10_000, 10_000)
    long_ago = time.time() - 100
    os.utime(tmp_path / "generated" / "_plan.json", (long_ago, long_ago))
    fill(table, 40, rows=10, age_s=50)
    fill(table, 2, rows=50, reason="black_image", age_s=20)
    shown = status(str(tmp_path))["tables"]["generated"]
    assert shown["rate"] == pytest.approx(500 / 100, rel=0.1)
    assert shown["eta_s"] == pytest.approx(9500 / 5, rel=0.1)
    assert shown["quarantined"] == {"black_image": 100}


def test_a_run_that_goes_on_keeps_the_time_of_the_one_that_was_killed(tmp_path: Path) -> None:
    create_root(str(tmp_path), NUM_BUCKETS)
    table = Table(str(tmp_path), "captions", NUM_BUCKETS)
    claim(table, {}, {})
    table.store.write_json("_plan.json", {"expected": 20, "missing": 20, "begun": time.time() - 100})
    table.begin(25, 5)
    publish(table, [])
    shown = status(str(tmp_path))["tables"]["captions"]
    assert shown["elapsed_s"] == pytest.approx(100, abs=5)
    assert shown["rate"] == pytest.approx(0.2, rel=0.1)
    table.begin(30, 5)
    assert table.manifest() is None
    publish(table, [])
    assert status(str(tmp_path))["tables"]["captions"]["elapsed_s"] < 5


def test_times_of_a_listing_are_those_of_the_files(tmp_path: Path) -> None:
    for url in (str(tmp_path), f"memory://{uuid.uuid4().hex}"):
        Store(url).write("part", b"x")
        Store(url).write("folder/part", b"x")
        times = Store(url).times()
        assert set(times) == {"part", "folder"} == set(Store(url).list())
        assert times["part"] == pytest.approx(time.time(), abs=60)
        assert Store(url).times("none") == {}


TEN_MILLION = {
    "artworks": 10_000,
    "resized": 156_250,
    "captions": 39_062,
    "prompts": 39_062,
    "generated": 312_500,
    "generated_captions": 78_125,
    "embeddings": 19_531,
    "generated_embeddings": 39_062,
    "triplets/a70": 48_828,
}
"""Parts of 10 million paintings with 20 million versions in 256 buckets, with the settings of jobs/full.yaml."""

MEASURE = """
import resource, sys, time
from artsim.tables import status
started = time.monotonic()
shown = status(sys.argv[1])["tables"]
print(len(shown), time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
"""


@pytest.mark.slow
@pytest.mark.parametrize("state", ["running", "finished"])
def test_ten_million_rows_take_seconds(tmp_path: Path, state: str) -> None:
    create_root(str(tmp_path), 256)
    for name, num_parts in TEN_MILLION.items():
        table = Table(str(tmp_path), name, 256)
        claim(table, {}, {})
        table.begin(num_parts * 64, num_parts * 64)
        names = fill(table, num_parts if state == "running" else 0)
        if state == "finished":
            names = [f"{part % 256:05d}-64-{part:016x}.parquet" for part in range(num_parts)]
            publish(table, [parts_by_bucket(names, [])])
    command = [sys.executable, "-c", MEASURE, str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    num_tables, seconds, gigabytes = map(float, output.split())
    print(f"{state}: {seconds:.1f} s, {gigabytes:.2f} GB")
    assert num_tables == len(TEN_MILLION)
    assert seconds < 20
    assert gigabytes < 3

"""Several machines, played by network namespaces: what is lost on the way costs time and no rows."""

import json
import random
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from artsim.schemas import schema_of
from artsim.tables import Table, status
from artsim.turns import watching
from tests.cluster.programs import SMALL
from tests.cluster.test_kills import check_like
from tests.hosts import Ground, Host, Hosts, Program, hosts

pytestmark = pytest.mark.cluster
NUM_BUCKETS = 4
SEED = 7
ONE_CORE = ("--num-cpus=1",)
STAGE = re.compile(r"MapBatches\((\w+)\)")
ON_GPUS = {"Caption", "Generate", "EmbedImage", "EmbedCaption"}
GPU_KINDS = tuple(
    f"{kind}.workers.{setting}"
    for kind in ("caption", "generate", "embed")
    for setting in ("num_cpus=0", "num_gpus=0.5")
)


@pytest.fixture
def made() -> Iterator[Hosts]:
    with hosts() as made:
        yield made


@pytest.fixture
def ground(made: Hosts, tmp_path: Path) -> Ground:
    return Ground(made, tmp_path / "s3")


def sleep(ground: Ground, root: str, num_rows: int, *settings: str) -> Program:
    """A stage that does nothing but wait for a tenth of a second for each row, in parts of 8 rows."""
    own = (f"root=s3://art/{root}", f"num_rows={num_rows}", f"num_buckets={NUM_BUCKETS}", "seconds_per_row=0.1")
    parts = ("caption.workers.rows_per_part=8", "caption.workers.batch_size=8")
    return ground.program("jobs/bench.py", "sleep", *own, *parts, *settings)


def rows(root: Path, table: str) -> int:
    """How many are done so far."""
    return Table(str(root), table, NUM_BUCKETS).parts().num_rows if (root / table).exists() else 0


def wait_for(done: Callable[[], bool], program: Program, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert program.process.poll() is None, program.output
        assert time.monotonic() < deadline, program.output
        time.sleep(0.1)


def check_rows(root: Path, num_rows: int) -> None:
    """Each row is there once, and none in quarantine."""
    table = Table(str(root), "captions", NUM_BUCKETS)
    found = table.read_all(("id", "caption")).to_pylist()
    assert len(found) == num_rows
    assert {row["id"]: row["caption"] for row in found} == {f"g/{row:07d}": f"T{row}" for row in range(num_rows)}
    shown = status(str(root))["tables"]["captions"]
    assert (shown["state"], shown["done"], shown["quarantined"]) == ("finished", num_rows, {})


def test_hosts_are_apart_and_a_bad_link_is_slow_and_loses_frames(made: Hosts) -> None:
    """200 ms there and back; of 300 datagrams 2% get lost on each of their two ways."""
    near, far = made.add("near"), made.add("far", delay_s=0.1, loss=0.02)
    assert near.run("hostname").strip() == "near"
    echo = far.start(sys.executable, "-u", "-c", ECHO)
    assert echo.stdout is not None
    assert echo.stdout.readline() == "up\n"
    times = json.loads(near.run(sys.executable, "-c", PING, far.address))
    assert 250 < len(times) < 300
    assert 0.2 <= min(times) < 0.25
    assert {process.pid for process in near.processes()}.isdisjoint(process.pid for process in far.processes())
    made.unplug("far")
    assert json.loads(near.run(sys.executable, "-c", PING, far.address)) == []
    made.plug("far")
    assert len(json.loads(near.run(sys.executable, "-c", PING, far.address))) > 150
    made.kill("far")
    assert echo.wait(5) != 0


ECHO = """
import socket
mine = socket.socket(type=socket.SOCK_DGRAM)
mine.bind(("", 99))
print("up")
while True:
    mine.sendto(*mine.recvfrom(100))
"""
PING = """
import json, socket, sys, threading, time
mine, times = socket.socket(type=socket.SOCK_DGRAM), []
mine.connect((sys.argv[1], 99))
mine.settimeout(1)
def send():
    for _ in range(300):
        mine.send(repr(time.monotonic()).encode())
        time.sleep(0.003)
sending = threading.Thread(target=send)
sending.start()
try:
    while True:
        times.append(-float(mine.recv(100)) + time.monotonic())
except OSError:
    print(json.dumps(times))
"""


@pytest.mark.slow
def test_a_host_that_is_pulled_costs_time_and_no_rows(ground: Ground) -> None:
    ground.start(head=ONE_CORE, first=ONE_CORE, second=ONE_CORE)
    job = sleep(ground, "pulled", 240)
    wait_for(lambda: rows(ground.bucket / "pulled", "captions") >= 48, job)
    ground.hosts.unplug("first")
    assert job.wait(120) == 0, job.output
    check_rows(ground.bucket / "pulled", 240)
    assert "2" in re.findall(r'"num_machines": (\d)', job.output)
    assert "cannot go on" not in job.output
    assert "each is tried alone" not in job.output


@pytest.mark.hosts
@pytest.mark.parametrize("numbers", [range(4), range(4, 7), range(7, 10)], ids=["0-3", "4-6", "7-9"])
def test_ten_jobs_of_which_each_loses_a_host(ground: Ground, numbers: range) -> None:
    """Its cable is pulled at a random moment; it is back for the next job, which has nobody's help either."""
    chance = random.Random(SEED + numbers.start)
    ground.start(head=ONE_CORE, first=ONE_CORE, second=ONE_CORE)
    for number in numbers:
        root, name = f"round-{number}", chance.choice(("first", "second"))
        job, began = sleep(ground, root, 200), time.monotonic()
        at = chance.randrange(8, 130)
        wait_for(lambda root=root, at=at: rows(ground.bucket / root, "captions") >= at, job)
        ground.hosts.unplug(name)
        assert job.wait(200) == 0, job.output
        check_rows(ground.bucket / root, 200)
        print(f"{number}: {name} pulled at {at}: {time.monotonic() - began:.1f} s")
        bring_back(ground, name)


@pytest.mark.hosts
def test_one_job_that_loses_host_after_host(ground: Ground) -> None:
    """More losses than a chunk has tries: none of its rows is to blame."""
    chance = random.Random(SEED)
    ground.start(head=ONE_CORE, first=ONE_CORE, second=ONE_CORE)
    root = ground.bucket / "many"
    job = sleep(ground, "many", 1600)
    for number, name in enumerate(("first", "second", "first", "second")):
        at = rows(root, "captions") + chance.randrange(40, 80)
        wait_for(lambda at=at: rows(root, "captions") >= at, job)
        (ground.hosts.kill if number % 2 else ground.hosts.unplug)(name)
        time.sleep(12)  # until it counts as lost
        bring_back(ground, name)
    assert job.wait(250) == 0, job.output
    check_rows(root, 1600)
    assert "each is tried alone" not in job.output
    assert "cannot go on" not in job.output


def bring_back(ground: Ground, name: str) -> None:
    """What a cloud does: in the place of a machine that is lost there comes another."""
    if name in ground.hosts.alive:
        ground.hosts.kill(name)
    ground.start(**{name: ONE_CORE})


ONE_KILLER = """
import sys
from tests.cluster.test_pipeline import command, listing, run, step
listing(sys.argv[1], ["kill" if row == 5 else f"t{row}" for row in range(40)])
run(step(seconds_per_row=1.0), command(sys.argv[1]))
"""


@pytest.mark.hosts
def test_a_row_is_not_blamed_for_a_host_that_is_lost_while_it_is_tried_alone(ground: Ground) -> None:
    ground.start(head=("--num-cpus=0",), first=ONE_CORE, second=ONE_CORE)
    job = ground.program("-c", ONE_KILLER, "s3://art/killer")

    def lone() -> list[str]:
        return [name for name, host in ground.hosts.alive.items() for stage in titles(host) if "Alone.do" in stage]

    wait_for(lambda: bool(lone()), job)
    ground.hosts.kill(lone()[0])
    assert job.wait(200) == 0, job.output
    shown = status(str(ground.bucket / "killer"))["tables"]["captions"]
    assert (shown["state"], shown["done"], shown["quarantined"]) == ("finished", 39, {"killed_worker": 1})


def titles(host: Host) -> list[str]:
    """How the processes of a host call themselves."""
    found = []
    for process in host.processes():
        with suppress(psutil.Error):
            found.append(" ".join(process.cmdline()))
    return found


@pytest.mark.hosts
def test_a_bad_link_costs_time_and_no_rows(ground: Ground) -> None:
    """One of three hosts is 200 ms away, and one frame in fifty gets lost."""
    ground.hosts.add("far", delay_s=0.1, loss=0.02)
    ground.start(head=ONE_CORE, near=ONE_CORE, far=ONE_CORE)
    job = sleep(ground, "far", 300)
    with watching(partial(stages, ground.hosts), every_s=0.3) as seen:
        assert job.wait(250) == 0, job.output
    check_rows(ground.bucket / "far", 300)
    assert ("far", "Sleep") in set().union(*seen)


@pytest.mark.hosts
def test_three_hosts_do_nearly_three_times_the_rows_of_one(ground: Ground) -> None:
    ground.start(head=ONE_CORE)
    one = sleep(ground, "one", 300)
    assert one.wait(200) == 0, one.output
    ground.start(first=ONE_CORE, second=ONE_CORE)
    three = sleep(ground, "three", 900)
    assert three.wait(200) == 0, three.output
    reports = [report(each) for each in (one, three)]
    print(reports)
    assert [each["num_machines"] for each in reports] == [1, 3]
    assert reports[1]["ours"] >= 2.7 * reports[0]["ours"]


@pytest.mark.hosts
def test_the_driver_needs_no_more_memory_for_80000_rows_than_for_1000(ground: Ground) -> None:
    ground.start(head=ONE_CORE, first=ONE_CORE, second=ONE_CORE)
    reports = []
    for num_rows in (1000, 80_000):
        program = ground.program(
            *("jobs/bench.py", "sleep", f"root=s3://art/{num_rows}", f"num_rows={num_rows}", "seconds_per_row=0")
        )
        assert program.wait(250) == 0, program.output
        reports.append(report(program))
    print(reports)
    small, large = (each["driver_memory_mb"] for each in reports)
    assert large <= 1.15 * small


def report(program: Program) -> dict[str, Any]:
    """The JSON object that a benchmark prints last."""
    found: dict[str, Any] = json.loads(program.output[program.output.rindex("\n{") :])
    return found


def stages(made: Hosts) -> set[tuple[str, str]]:
    """Host and stage of all worker processes that there are, by their titles."""
    alive = list(made.alive.items())
    return {(name, stage) for name, host in alive for title in titles(host) for stage in STAGE.findall(title)}


@pytest.mark.hosts
def test_the_head_dies_and_the_next_job_does_the_rest_on_a_new_one(ground: Ground) -> None:
    """What Kubernetes does when a job's head is lost: another cluster, and the same job there."""
    places = {"head": ONE_CORE, "first": ONE_CORE, "second": ONE_CORE}
    root = ground.bucket / "headless"
    ground.start(**places)
    job = sleep(ground, "headless", 300)
    wait_for(lambda: rows(root, "captions") >= 60, job)
    ground.hosts.kill("head")
    assert job.wait(30) != 0
    for name in ("first", "second"):
        ground.hosts.kill(name)
    done = rows(root, "captions")
    ground.start(**places)
    job = sleep(ground, "headless", 300)
    while job.wait(150) != 0:
        assert "is writing the table captions below s3://art/headless: wait until it ends, or for 60 s" in job.output
        time.sleep(5)  # until the lease of the job that died runs out
        job = sleep(ground, "headless", 300)
    check_rows(root, 300)
    assert report(job)["runs"][0]["new_rows"] == 300 - done


@pytest.mark.hosts
def test_the_whole_job_gives_what_one_machine_gives(ground: Ground, whole: tuple[Path, str], paintings: Path) -> None:
    """Stages that ask for GPUs run on the host that has them, the others elsewhere; a host is pulled early on."""
    places = {"head": ("--num-cpus=2",), "cores": ONE_CORE, "gpus": ("--num-cpus=0", "--num-gpus=1")}
    shutil.copytree(paintings, ground.bucket / "paintings")
    ground.start(**places)
    settings = ("root=s3://art/root", "source.uri=s3://art/paintings", "max_failure_rate=0.1")
    with watching(partial(stages, ground.hosts), every_s=0.3) as seen:
        job = ground.program("jobs/run.py", *SMALL, *settings, *GPU_KINDS)
        wait_for(lambda: rows(ground.bucket / "root", "resized") > 0, job)
        ground.hosts.unplug("cores")
        assert job.wait(600) == 0, job.output
    check_like(ground.bucket / "root", whole[0], without=("artworks",))
    name = [column for column in schema_of("artworks").names if column not in ("uri", "input_hash", "row_hash")]
    here, there = (
        Table(str(root), "artworks", NUM_BUCKETS).read_all(name).sort_by("id")
        for root in (ground.bucket / "root", whole[0])
    )
    assert here.equals(there)
    by_host = {name: {stage for host, stage in set().union(*seen) if host == name} for name in places}
    assert by_host["gpus"] == ON_GPUS
    assert by_host["head"] | by_host["cores"] >= {"Measure", "Letterbox", "Thumbnail", "WritePrompt", "MeasureCues"}
    assert "Letterbox" in by_host["cores"]
    assert not (by_host["head"] | by_host["cores"]) & ON_GPUS

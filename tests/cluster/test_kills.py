"""Killed anywhere, a run ends as one that never was: the same rows once each, whole files, and no process left."""

import random
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from artsim.tables import Table, status
from tests.cluster.kills import KINDS, Victim, check_files, victim, wait_until
from tests.cluster.programs import contents, run

pytestmark = pytest.mark.cluster
NUM_KILLS = 50
"""Of `make soak`."""
SEED = 20
PATIENCE_S = {"driver": 60, "worker": 600, "raylet": 60, "ray": 2}
"""For the driver to end, before it is killed too: without any Ray it looks for one for a minute, then exits with 1."""
ROW_BY_ROW = tuple(f"generate.workers.{setting}=1" for setting in ("rows_per_part", "batch_size", "num_workers"))
"""So slow that there is something left to kill."""


def test_a_table_survives_a_kill_of_each_kind(whole: tuple[Path, str], tmp_path: Path) -> None:
    """Five kills in four runs: a worker's death must not even end the job, so the last run has two of them."""
    for name in ("_root.json", "prompts", "resized"):
        subprocess.run(["cp", "-r", whole[0] / name, tmp_path], check=True)
    chance = random.Random(SEED)
    for kind in ("driver", "raylet", "ray"):
        with victim("generate", tmp_path, *ROW_BY_ROW) as job:
            kill_at_work(job, kind, tmp_path, chance)
            assert job.wait(PATIENCE_S[kind]) != 0, f"{kind} was killed after the job was done"
        assert not (tmp_path / "generated/_parts.json").exists()
    with victim("generate", tmp_path, *ROW_BY_ROW) as job:
        for _ in range(2):
            kill_at_work(job, "worker", tmp_path, chance)
        assert job.wait(300) == 0, job.output
    assert contents(tmp_path, "generated") == contents(whole[0], "generated")
    check_files(tmp_path, "generated")


def kill_at_work(job: Victim, kind: str, root: Path, chance: random.Random) -> None:
    """Kill a kind of process as soon as the job has made another row of `generated`."""

    def rows() -> int:
        return Table(str(root), "generated", 4).parts().num_rows

    before = rows()
    wait_until(lambda: rows() > before, job.process)
    assert job.kill(kind, chance), job.output


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_all_tables_survive_many_kills(whole: tuple[Path, str], paintings: Path, tmp_path: Path) -> None:
    """jobs/run.py, killed at random moments and started again until it is done, over and over on new roots."""
    chance, killed, number = random.Random(SEED), 0, 0
    settings = (f"source.uri={paintings}", "max_failure_rate=0.1")
    while killed < NUM_KILLS:
        number, root = number + 1, tmp_path / str(number)
        while killed < NUM_KILLS:
            with victim("run", root, *settings) as job:
                kind, seconds = chance.choice(KINDS), chance.uniform(2, 40)
                hit = kill_after(job, kind, seconds, chance)
                killed += hit
                code, started = job.wait(PATIENCE_S[kind] if hit else 600), time.monotonic()
                left = job.bury()
            spent = time.monotonic() - started
            done = sum(table["done"] for table in status(str(root))["tables"].values()) if root.exists() else 0
            print(f"{killed}: {kind} after {seconds:.1f} s: exit {code}, {done} rows, {spent:.1f} s, left {left}")
            if code == 0:
                break
        run("run", root, *settings)
        check_like(root, whole[0])


def kill_after(job: Victim, kind: str, seconds: float, chance: random.Random) -> bool:
    """Kill a kind of process at that moment, or the first moment after it when there is one; whether there was."""
    deadline = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > deadline, job.process)
    while job.process.poll() is None:
        if job.kill(kind, chance):
            return True
        time.sleep(0.1)
    return False


def check_like(root: Path, whole: Path, without: Sequence[str] = ()) -> None:
    """The same rows as in a run that was never killed, no file too many, and a report.

    `without`: tables whose rows are not compared.
    """
    tables = status(str(whole))["tables"]
    assert list(status(str(root))["tables"]) == list(tables)
    for name in tables:
        # The inputs of splits and triplets are whole tables, parts and all: only the rows must be the same.
        here, there = ({key: row for key, (_, row) in contents(each, name).items()} for each in (root, whole))
        assert here == there or name in without, name
        check_files(root, name)
    assert not list(root.rglob(".tmp-*"))
    assert (root / "models/a70/report.html").exists()

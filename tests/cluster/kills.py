"""Jobs that are killed: the processes that belong to one, found by a mark in their environment, and how to end some."""

import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from artsim.tables import Table
from tests.cluster.programs import SMALL
from tests.conftest import REPOSITORY

KINDS = ("driver", "worker", "raylet", "ray")
"""What is killed: the job's own program, a process of its stage, what starts those, or all that Ray has started."""
_MARK = "ARTSIM_TEST_MARK"


class Victim:
    """A job as a program, and every process that it started, whoever their parent is by now."""

    def __init__(self, name: str, root: Path, *settings: str) -> None:
        self._mark, self._log = uuid.uuid4().hex, tempfile.TemporaryFile("w+")  # noqa: SIM115  # a pipe would wait for orphans
        self.process = subprocess.Popen(
            [sys.executable, f"jobs/{name}.py", f"root={root}", *SMALL, *settings],
            cwd=REPOSITORY,
            env=os.environ | {_MARK: self._mark},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    @property
    def output(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def family(self) -> list[psutil.Process]:
        """The processes of the job that are alive, the driver among them."""
        found = []
        for process in psutil.process_iter():
            try:
                marked = process.environ().get(_MARK) == self._mark
                if marked and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def kill(self, kind: str, chance: random.Random) -> bool:
        """Kill -9 one kind of process; whether there was one."""
        victims = [process for process in self.family() if _is(kind, process, self.process.pid)]
        if kind == "worker" and victims:
            victims = [chance.choice(sorted(victims, key=lambda process: process.pid))]
        return sum(_kill(victim) for victim in victims) > 0

    def wait(self, seconds: float) -> int:
        """The exit code of the driver, which is killed if it takes longer."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def bury(self, seconds: float = 20) -> list[str]:
        """Wait for the rest of the family to end, and end what does not; the names of those."""
        deadline = time.monotonic() + seconds
        while (left := self.family()) and time.monotonic() < deadline:
            time.sleep(0.2)
        names = [process.name() for process in left if _kill(process)]
        self._log.close()
        return names


def _is(kind: str, process: psutil.Process, driver: int) -> bool:
    try:
        name = " ".join(process.cmdline()[:1])
        stage = name.startswith("ray::") and not name.startswith(("ray::IDLE", "ray::_"))  # _StatsActor is Ray's own
        alike = {"driver": process.pid == driver, "worker": stage, "raylet": process.name() == "raylet"}
        return alike.get(kind, process.pid != driver)
    except psutil.NoSuchProcess:
        return False


def _kill(process: psutil.Process) -> bool:
    try:
        process.kill()
        return True
    except psutil.NoSuchProcess:
        return False


@contextmanager
def victim(name: str, root: Path, *settings: str) -> Iterator[Victim]:
    """A job that leaves no process behind, whatever the test does."""
    started = Victim(name, root, *settings)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
            started.process.wait()
        started.bury(5)


def wait_until(done: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    """Wait until something is so, or the process has ended."""
    deadline = time.monotonic() + seconds
    while not done() and process.poll() is None:
        assert time.monotonic() < deadline, "nothing happens"
        time.sleep(0.01)


def check_files(root: Path, name: str) -> None:
    """A finished table's folder holds what its manifest names, and no half file or part beside it."""
    manifest = Table(str(root), name, 4).finished()
    files = {path.relative_to(root / name).as_posix() for path in (root / name).rglob("*") if path.is_file()}
    parts = {*manifest["parts"], *(f"_quarantine/{part}" for part in manifest["quarantine_parts"])}
    assert files - {"_table.json", "_plan.json", "_lease.json"} == parts | {"_parts.json"}

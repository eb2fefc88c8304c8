"""One job at a time writes a table: locks on a local disk, conditional puts on an object store."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from artsim import lease, pipeline
from artsim.clients import StoreError
from artsim.lease import Lease, RemoteLease, hold
from artsim.pipeline import job as pipeline_job
from artsim.store import Store
from artsim.tables import Table, TableError, claim, create_root
from tests.cluster.programs import job
from tests.cluster.test_pipeline import command, listing, step
from tests.conftest import REPOSITORY
from tests.servers import serve_conditional_s3

NAME = r"another job \(process \d+ on \S+\)"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on a server that honours conditional puts."""
    from s3fs import S3FileSystem

    with serve_conditional_s3() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        S3FileSystem.clear_instance_cache()
        yield "s3://art/root"
        S3FileSystem.clear_instance_cache()


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Table:
    return Table(str(tmp_path) if request.param == "local" else request.getfixturevalue("bucket"), "captions", 4)


def test_the_second_is_refused_until_the_first_is_done(table: Table) -> None:
    with hold(table) as first:
        with pytest.raises(TableError, match=rf"^{NAME} is writing the table captions below .*: wait until it ends"):
            hold(table).__enter__()
        with hold(Table(table.root, "prompts", 4)):
            first.confirm()
    with hold(table) as second:
        second.confirm()


def test_a_table_that_is_made_anew_keeps_its_lease(table: Table) -> None:
    with hold(table) as first:
        claim(table, {"quality": 95}, {})
        table.store.write("_quarantine/notes", b"old")
        claim(table, {"quality": 90}, {}, overwrite=True)
        assert table.store.find() == {"_table.json", lease.NAME}
        first.confirm()
        with pytest.raises(TableError, match="is writing the table"):
            hold(table).__enter__()


@pytest.mark.s3
def test_of_two_that_saw_no_lease_one_wins(bucket: str) -> None:
    first, second = (RemoteLease(Table(bucket, "captions", 4)) for _ in range(2))
    seen = [each._find() for each in (first, second)]
    assert [found.etag for found in seen] == [None, None]
    assert [each._put(60.0, None) for each in (first, second)] == [True, False]
    first.confirm()
    with pytest.raises(TableError, match="has taken over the table"):
        second.confirm()


@pytest.mark.s3
def test_a_lease_that_ran_out_is_taken_over_and_its_holder_finds_out(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table(bucket, "captions", 4)
    killed, other, late = (RemoteLease(table) for _ in range(3))
    monkeypatch.setattr(lease, "SECONDS", 0.0)
    killed.take()
    seen = killed._find()
    monkeypatch.setattr(lease, "SECONDS", 60.0)
    other.take()
    assert not late._put(60.0, seen.etag), "who saw the same expired lease comes too late"
    with pytest.raises(TableError, match=rf"^{NAME} has taken over the table captions .*: let that one finish"):
        killed.confirm()
    killed.release()
    other.confirm()
    with pytest.raises(TableError, match="or for 60 s if it was killed"):
        late.take()


@pytest.mark.s3
def test_a_lease_is_renewed_while_the_job_runs(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SECONDS", 1.0)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.2)
    table = Table(bucket, "captions", 4)
    with hold(table):
        for _ in range(3):
            threading.Event().wait(1.0)
            with pytest.raises(TableError, match="is writing the table"):
                RemoteLease(table).take()
    RemoteLease(table).take()


HOLDER = """
import sys, time
from artsim.lease import hold
from artsim.tables import Table
with hold(Table(sys.argv[1], "captions", 4)):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_kill_gives_a_local_lock_back_at_once(tmp_path: Path) -> None:
    table = Table(str(tmp_path), "captions", 4)
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], cwd=REPOSITORY, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(TableError, match=rf"another job \(process {holder.pid} on "):
            hold(table).__enter__()
        holder.kill()
    with hold(table):
        pass


def test_a_folder_that_cannot_be_locked_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "captions").write_text("a file in the way")
    with pytest.raises(StoreError, match=r"^root: .*captions cannot be locked \("):
        hold(Table(str(tmp_path), "captions", 4)).__enter__()


@pytest.mark.cluster
def test_a_second_job_ends_in_one_sentence_and_changes_nothing(tmp_path: Path) -> None:
    listing(tmp_path, ["a", "b"])
    for name in ("_listing", "artworks"):
        Table(str(tmp_path), name, create_root(str(tmp_path), 4)).store.write(".tmp-half", b"of the first job")
    (tmp_path / "source" / "Baroque").mkdir(parents=True)
    (tmp_path / "source" / "Baroque" / "a_b.jpg").write_bytes(b"no picture")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.name != lease.NAME}
    with hold(Table(str(tmp_path), "_listing", 4)):
        process = job("ingest", tmp_path, f"source.uri={tmp_path}/source")
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    holder = rf"another job \(process {os.getpid()} on \S+\)"
    assert re.fullmatch(
        rf"error: {holder} is writing the table _listing below {tmp_path}: wait until it ends.*\n", output
    )
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.name != lease.NAME} == before


class Lost:
    """A lease that another job has taken over."""

    def confirm(self) -> None:
        raise TableError("another job has taken over")


@pytest.mark.cluster
@pytest.mark.usefixtures("cluster")
def test_who_lost_its_lease_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def lose(table: Table) -> Iterator[Lease]:
        yield Lost()

    listing(tmp_path, ["a", "b"])
    with monkeypatch.context() as patch:
        patch.setattr(pipeline_job, "hold", lose)
        with pytest.raises(TableError, match="another job has taken over"):
            pipeline.run(step(), command(tmp_path))
    assert Store(f"{tmp_path}/captions").read("_parts.json") is None
    assert pipeline.run(step(), command(tmp_path)).rows == 2

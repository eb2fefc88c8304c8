"""Faults of a store: those that pass cost time and no rows, those that last end in one sentence; what is done stays."""

import hashlib
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from artsim import clients
from artsim.clients import StoreError
from artsim.config import SourceConfig
from artsim.sources import fetch, list_source
from artsim.store import Store
from artsim.tables import Table, status
from tests.cluster.programs import NUM_PAINTINGS, contents, job, run
from tests.faults import PASSING, Faults, break_s3
from tests.unit.test_tables import captions, many

pytestmark = [pytest.mark.cluster, pytest.mark.s3]
DATA = np.random.default_rng(0).bytes(200_000)


@pytest.fixture
def faults(s3: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """What breaks requests between this process, with those that it starts, and the S3 server."""
    from s3fs import S3FileSystem

    with break_s3(os.environ["AWS_ENDPOINT_URL"]) as (url, faults):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        S3FileSystem.clear_instance_cache()  # they keep the endpoint that they were made with
        yield faults
        S3FileSystem.clear_instance_cache()


SLOW = [pytest.param(fault, marks=pytest.mark.slow) for fault in ("busy", "slow", "truncated")]


@pytest.mark.parametrize("fault", ["unavailable", "reset", *SLOW])
def test_a_fault_that_passes_changes_nothing(fault: str, faults: Faults) -> None:
    root = f"s3://art/passing-{fault}"
    store, table = Store(root), Table(root, "captions", 1)
    faults.burst(fault, fault, where="^PUT")
    store.write("Genre/a_b.jpg", DATA)
    (part,) = table.write(captions(many(9)))
    assert faults.hits[fault] == 2
    faults.burst(fault, fault, where="^GET .*a_b.jpg")
    assert store.read("Genre/a_b.jpg") == DATA
    faults.burst(fault, fault, where="^GET .*a_b.jpg")
    assert fetch([f"{root}/Genre/a_b.jpg"], max_bytes=1_000_000) == ([DATA], [None])
    faults.burst(fault, fault, where=r"^GET .*\.parquet")
    assert table.read([part], ["id"])["id"].to_pylist() == list(many(9))
    faults.burst(fault, fault, where=r"^GET /art\?")
    assert store.list() == ["Genre", "captions"]
    faults.burst(fault, fault, where=r"^GET /art\?")
    assert list_source(SourceConfig(uri=root))["id"].to_pylist() == ["Genre/a_b"]
    assert faults.hits[fault] == (8 if fault == "slow" else 12)  # what is slow is not asked for twice


LASTING = {
    "expired": r"(ExpiredToken: The provided token has expired|403: .*)\): renew the credentials \(AWS_\*\)",
    "no_bucket": r"NoSuchBucket: The specified bucket does not exist\): make that bucket or name another",
    "busy": r"(SlowDown: .*|503: .*)\): see that it is there and answers",
    "reset": r"Could not connect to the endpoint .*\): see that it is there and answers",
    "truncated": r".*\): see that it is there and answers",
}
"""What is said of each; the answer to a HEAD has a number and no more."""


@pytest.mark.parametrize("fault", LASTING)
def test_a_fault_that_lasts_is_one_sentence(fault: str, faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(clients.S3_OPTIONS["config_kwargs"]["retries"], "total_max_attempts", 2)  # or it takes minutes
    monkeypatch.setattr(clients, "S3_READS", 2)
    url = f"s3://art/lasting-{fault}"
    store, table = Store(url), Table(url, "captions", 1)
    (part,) = table.write(captions(many(9)))
    store.write("a.jpg", DATA)
    faults.last(fault, where="^(GET|PUT)" if fault == "no_bucket" else "")
    asked: dict[str, Callable[[], object]] = {
        "root: URL/a.jpg cannot be read": lambda: store.read("a.jpg"),
        "root: URL/ cannot be listed": lambda: store.list(),
        "root: URL/captions/PART cannot be read": lambda: table.read([part], ["id"]),
        "source.uri: URL/a.jpg cannot be read": lambda: fetch([f"{url}/a.jpg"], max_bytes=1_000_000),
        "root: URL/b.jpg cannot be written": lambda: store.write("b.jpg", b""),
    }
    if fault == "truncated":
        del asked["root: URL/b.jpg cannot be written"]  # the answer to a PUT has no body
    for words, ask in asked.items():
        with pytest.raises(StoreError, match=LASTING[fault]) as told:
            ask()
        assert str(told.value).startswith(words.replace("URL", url).replace("PART", part))
        assert str(told.value).endswith(", then start again; what is done is kept")
        assert "\n" not in str(told.value)
    faults.mend()
    assert store.read("a.jpg") == DATA


def ingest(root: str, source: str) -> tuple[int, str]:
    settings = (f"source.uri={source}", "max_failure_rate=0.1", "source.workers.rows_per_part=2")
    process = job("ingest", root, *settings, "source.workers.batch_size=2")
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


@pytest.mark.slow
def test_credentials_that_expire_end_a_job_in_one_sentence_and_the_next_ends_it(
    faults: Faults, paintings: Path
) -> None:
    root, source = "s3://art/faulty", "s3://art/source"
    pictures = {path.relative_to(paintings).as_posix(): path.read_bytes() for path in paintings.glob("*/*.jpg")}
    for name, data in pictures.items():
        Store(source).write(name, data)
    forbidden = sorted(pictures)[0]  # of a chunk in the middle: much is done before it, and much is left
    faults.last("expired", where=f"^GET .*{forbidden}")
    returncode, output = ingest(root, source)
    assert returncode == 1, output
    *_, last = output.strip().splitlines()
    assert last.startswith(f"error: source.uri: {source}/{forbidden} cannot be read (ExpiredToken: "), output
    assert "Traceback" not in output
    done = status(root)["tables"]["artworks"]["done"]
    assert 0 < done < NUM_PAINTINGS
    faults.sprinkle(every=20)
    returncode, output = ingest(root, source)
    assert returncode == 0, output
    assert all(faults.hits[fault] for fault in PASSING)
    assert int(re.findall(r"(\d+) new in", output)[0]) <= NUM_PAINTINGS - done
    faults.mend()
    table = status(root)["tables"]["artworks"]
    assert (table["done"], table["quarantined"]) == (NUM_PAINTINGS, {"not_an_image": 1})
    rows = Table(root, "artworks", 4).read_all(("uri", "sha256")).to_pylist()
    found = {row["uri"].removeprefix(f"{source}/"): row["sha256"] for row in rows}
    del pictures["Baroque/nobody_words.jpg"]
    assert found == {name: hashlib.sha256(data).hexdigest() for name, data in pictures.items()}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that holds few pictures; needs the right to mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", folder], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
def test_a_full_disk_keeps_what_is_done(small_disk: Path, whole: tuple[Path, str]) -> None:
    for name in ("_root.json", "_listing", "artworks"):
        subprocess.run(["cp", "-r", whole[0] / name, small_disk], check=True)
    process = job("resize", small_disk)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1, output
    *_, last = output.strip().splitlines()
    assert last.startswith(f"error: root: {small_disk}/resized/"), output
    assert "(No space left on device): make room or name another disk, then start again" in last
    assert "Traceback" not in output
    assert not list(small_disk.glob("resized/.tmp-*"))
    done = status(str(small_disk))["tables"]["resized"]["done"]
    assert 0 < done < NUM_PAINTINGS
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    assert f"{NUM_PAINTINGS - done} new in" in run("resize", small_disk)
    assert contents(small_disk, "resized") == contents(whole[0], "resized")

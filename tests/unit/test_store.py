"""Files are there whole or not at all, on a local disk and on what fsspec keeps in memory."""

import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artsim.store import Store


@pytest.fixture(params=["local", "file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    folder = tmp_path / "with space & ünïcode #1"
    url = {"local": str(folder), "file": f"file://{folder}", "memory": f"memory://{uuid.uuid4().hex}/root"}
    store = Store(url[request.param])
    yield store
    store.delete([""])


def test_what_is_written_is_read(store: Store) -> None:
    store.write("a/b/c.bin", b"\x00one")
    store.write("a/b/c.bin", b"")
    store.write_json("ä.json", {"name": "Ö", "list": [1, None]})
    assert store.read("a/b/c.bin") == b""
    assert store.read_json("ä.json") == {"name": "Ö", "list": [1, None]}
    assert store.list() == ["a", "ä.json"]
    assert store.list("a/b") == ["c.bin"]
    assert store.find() == {"a/b/c.bin", "ä.json"}


def test_what_is_not_there_is_none_or_empty(store: Store) -> None:
    assert store.read("none") is None
    assert store.read_json("no/such.json") is None
    assert (store.list(), store.list("none"), set(store.find())) == ([], [], set())
    store.delete(["none", "no/such"])


def test_a_file_has_nothing_below_it(store: Store) -> None:
    store.write("file", b"x")
    assert store.read("file/below") is None
    assert store.list("file/below") == []


def test_deleting_takes_folders_with_all_below_and_nothing_else(store: Store) -> None:
    for name in ("keep", "table/part", "table/_quarantine/part", "table2/part"):
        store.write(name, b"x")
    store.delete(["gone", "table"])
    assert store.find() == {"keep", "table2/part"}
    store.delete([""])
    assert store.find() == set()


def test_listing_sees_what_another_writer_added(store: Store) -> None:
    store.write("a", b"")
    assert store.list() == ["a"]
    Store(store.url).write("b", b"")
    assert store.list() == ["a", "b"]


def test_parquet_files_are_read_in_the_order_asked_for(store: Store) -> None:
    for number in range(12):
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"x": [number, number + 100]}), sink, row_group_size=1)
        store.write(f"_q/{number}.parquet", sink.getvalue().to_pybytes())
    order = [7, 0, 11, 3, 10, 1]
    read = store.read_parquet([f"_q/{number}.parquet" for number in order])["x"].to_pylist()
    assert read == [value for number in order for value in (number, number + 100)]


KILLED_WRITER = """
import resource, signal, sys
from artsim.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
for name in ("old", "new"):
    Store(sys.argv[1]).write(name, bytes(2_000_000))
"""


def test_a_writer_killed_half_way_leaves_no_half_file(tmp_path: Path) -> None:
    """The kernel ends the process in the middle of a file, at the byte that its limit forbids."""
    store = Store(str(tmp_path))
    store.write("old", b"old")
    ended = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGXFSZ
    assert store.read("old") == b"old"
    (left,) = set(store.list()) - {"old"}
    assert left.startswith(".tmp-")
    assert (tmp_path / left).stat().st_size == 1_000_000


FULL_WRITER = """
import resource, sys
from artsim.clients import StoreError
from artsim.store import Store
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    Store(sys.argv[1]).write("old", bytes(2_000_000))
except StoreError as error:
    print(error)
"""


def test_a_file_that_finds_no_room_is_one_sentence_and_leaves_no_half(tmp_path: Path) -> None:
    """The kernel refuses the byte that its limit forbids, as a full disk does, with EFBIG in the place of ENOSPC."""
    store = Store(str(tmp_path))
    store.write("old", b"old")
    writer = [sys.executable, "-c", FULL_WRITER, str(tmp_path)]
    told = subprocess.run(writer, capture_output=True, text=True, check=True).stdout
    assert told == (
        f"root: {tmp_path}/old cannot be written (File too large): make room or name another disk, then start again; "
        "what is done is kept\n"
    )
    assert store.list() == ["old"]
    assert store.read("old") == b"old"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path))
    store.write("a", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write("a", b"new")
    assert store.read("a") == b"old"


@pytest.mark.parametrize(("way", "place"), [("create", ""), ("put", ""), ("put", "memory://")])
def test_a_file_in_pieces_appears_whole_or_not_at_all(way: str, place: str, tmp_path: Path) -> None:
    store = Store(f"{place}{tmp_path}")
    with getattr(store, way)("a/b.bin") as file:
        file.write(b"12")
        assert store.read("a/b.bin") is None
        file.write(b"3")
    with pytest.raises(ZeroDivisionError), getattr(store, way)("a/c.bin") as file:
        file.write(bytes(1 // 0))
    assert (store.read("a/b.bin"), store.list("a")) == (b"123", ["b.bin"])

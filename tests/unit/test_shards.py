"""Parquet shards as on the Hugging Face Hub: labels by name, unpacked once, each picture read by its range."""

import sys
import tarfile
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artsim.config import SourceConfig
from artsim.sources import SourceError, count_paintings, fetch, list_source
from artsim.sources.shards import shards_at, unpack
from tests.unit.source_files import image, write_shard

DATA = [bytes([number]) * (700 + number) for number in range(5)]


def rows_of(uri: object, root: object, **settings: Any) -> list[dict[str, Any]]:
    return list_source(SourceConfig(uri=str(uri), **settings), str(root)).to_pylist()


def bytes_of(rows: list[dict[str, Any]]) -> tuple[list[bytes | None], list[str | None]]:
    return fetch([row["uri"] for row in rows], max_bytes=10_000)


@pytest.fixture
def wikiart(tmp_path: Path) -> Path:
    """Two shards of five paintings; one has a path without folders, one with."""
    first = [image(DATA[0]), image(DATA[1], "a_b.png"), image(DATA[2], "Cubism/juan-gris_c.jpg")]
    labels: dict[str, list[int | None]] = {"artist": [1, 2, 0], "genre": [0, 1, 2], "style": [0, 1, 1]}
    write_shard(tmp_path / "hub/data/train-00000-of-00002.parquet", {"image": first}, labels)
    labels = {"artist": [1, 0], "genre": [0, 2], "style": [1, -1]}
    second = {"image": [image(DATA[3]), image(DATA[4])]}
    write_shard(tmp_path / "hub/data/test-00001-of-00002.parquet", second, labels)
    (tmp_path / "hub/README.md").write_text("# A data set")
    return tmp_path / "hub"


def test_labels_names_and_the_very_bytes(wikiart: Path, tmp_path: Path) -> None:
    rows = rows_of(wikiart, tmp_path / "root")
    assert [tuple(row[name] for name in ("id", "genre", "artist", "title", "subset")) for row in rows] == [
        ("Cubism/juan-gris_c", "Cubism", "juan-gris", "c", "train"),
        ("landscape/claude-monet_a_b", "landscape", "claude-monet", "a_b", "train"),
        (
            "portrait/boris-kustodiev_test-00001-of-00002-000000",
            "portrait",
            "boris-kustodiev",
            "test-00001-of-00002-000000",
            "test",
        ),
        (
            "portrait/boris-kustodiev_train-00000-of-00002-000000",
            "portrait",
            "boris-kustodiev",
            "train-00000-of-00002-000000",
            "train",
        ),
        ("test-00001-of-00002-000001", "", None, "test-00001-of-00002-000001", "test"),
    ]
    assert bytes_of(rows) == ([DATA[2], DATA[1], DATA[3], DATA[0], DATA[4]], [None] * 5)
    assert all(row["uri"].startswith(f"{tmp_path}/root/_source/") for row in rows)
    by_style = rows_of(wikiart, tmp_path / "root", columns={"genre": "style"})
    assert {row["genre"] for row in by_style} == {"Art_Nouveau", "Impressionism", ""}


def test_each_shard_is_unpacked_once_and_again_when_it_changes(wikiart: Path, tmp_path: Path) -> None:
    before = rows_of(wikiart, tmp_path / "root")
    folder = tmp_path / "root/_source"
    written = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert rows_of(wikiart, tmp_path / "root") == before
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == written
    changed = [image(DATA[3]), image(b"new")]
    write_shard(wikiart / "data/test-00001-of-00002.parquet", {"image": changed}, {"artist": [1, 0]})
    (folder / ".tmp-half").write_bytes(b"left by a killed job")
    rows = rows_of(wikiart, tmp_path / "root")
    versions = {row["version"] for row in before}
    assert [row["id"] for row in rows if row["version"] not in versions] == ["test-00001-of-00002-000001"]
    assert len(list(folder.iterdir())) == len(written)
    with tarfile.open(next(folder.glob("train-*.tar"))) as tar:
        assert tar.getnames() == ["00000000.image.jpg", "00000001.image.png", "00000002.image.jpg"]


def test_one_file_a_limit_and_a_count(wikiart: Path, tmp_path: Path) -> None:
    assert len(rows_of(wikiart / "data/test-00001-of-00002.parquet", tmp_path / "one")) == 2
    assert len(rows_of(wikiart, tmp_path / "few", limit=1)) == 1
    assert {path.name[:4] for path in (tmp_path / "few/_source").iterdir()} == {"test"}
    assert [count_paintings(SourceConfig(uri=str(wikiart), limit=limit)) for limit in (0, 1, 3, 9)] == [5, 1, 3, 5]


def test_missing_pictures_and_labels_have_rows(tmp_path: Path) -> None:
    pictures = {"image": [None, image(b"", "x.jpg"), {"bytes": None, "path": "gone.jpg"}, image(DATA[0])]}
    write_shard(tmp_path / "s.parquet", pictures, {"artist": [1, 3, -1, None], "genre": [0, 0, 99, None]})
    rows = rows_of(tmp_path / "s.parquet", tmp_path / "root")
    assert [(row["id"], row["artist"]) for row in rows] == [
        ("gone", None),
        ("portrait/boris-kustodiev_s-000000", "boris-kustodiev"),
        ("portrait/x", None),
        ("s-000003", None),
    ]
    contents, errors = bytes_of(rows)
    assert contents == [None, None, None, DATA[0]]
    assert [error and error.split(":")[0] for error in errors] == ["empty", "empty", "empty", None]


def test_a_shard_that_cannot_be_read_is_one_sentence(wikiart: Path, tmp_path: Path) -> None:
    shard = wikiart / "data/train-00000-of-00002.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"of-00002\.parquet cannot be read as Parquet .*: copy it again") as caught:
        rows_of(wikiart, tmp_path / "root")
    assert "\n" not in str(caught.value)
    shard.write_bytes(whole[:4] + b"\xff" * 300 + whole[304:])  # its footer is whole, its pages are not
    with pytest.raises(SourceError, match=r"train-00000-of-00002\.parquet cannot be read as Parquet"):
        rows_of(wikiart, tmp_path / "root")
    assert not list((tmp_path / "root/_source").glob("train-*"))


def test_several_columns_of_pictures_need_a_name_and_equal_ones_are_one_painting(tmp_path: Path) -> None:
    pictures = {
        "original": [image(DATA[0]), image(DATA[0]), image(DATA[1])],
        "made": [image(data) for data in DATA[2:]],
    }
    write_shard(tmp_path / "pairs.parquet", pictures, {})
    with pytest.raises(SourceError, match=r"columns original, made: say which .* source\.columns=\{uri: original\}"):
        rows_of(tmp_path / "pairs.parquet", tmp_path / "root")
    rows = rows_of(tmp_path / "pairs.parquet", tmp_path / "root", columns={"uri": "original"})
    assert [row["id"] for row in rows] == ["pairs-000000", "pairs-000002"]
    assert bytes_of(rows)[0] == DATA[:2]
    with pytest.raises(SourceError, match=r"has no column painter: source\.columns names its columns"):
        rows_of(tmp_path / "pairs.parquet", tmp_path / "root", columns={"uri": "original", "artist": "painter"})


def test_shards_of_two_kinds_are_not_mixed(wikiart: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), wikiart / "data/train-9.parquet")
    with pytest.raises(SourceError, match=r"train-9\.parquet has other columns of pictures than .* \(none; image\)"):
        rows_of(wikiart, tmp_path / "root")


def test_a_remote_source_and_a_remote_root(wikiart: Path) -> None:
    files = fsspec.filesystem("memory")
    files.put(f"{wikiart}/", "/artsim-hub/", recursive=True)
    rows = rows_of("memory://artsim-hub", "memory://artsim-hub-root")
    assert rows[0]["uri"].startswith("memory://artsim-hub-root/_source/train-")
    assert bytes_of(rows) == ([DATA[2], DATA[1], DATA[3], DATA[0], DATA[4]], [None] * 5)
    files.rm(rows[0]["uri"].split("#")[0].removeprefix("memory:/"))
    assert str(bytes_of(rows[:1])[1][0]).startswith("missing_file: ")


def test_memory_does_not_grow_with_a_row_group(tmp_path: Path) -> None:
    data = [bytes([number]) * 400_000 for number in range(150)]
    table = pa.table({"image": pa.array([image(each) for each in data], pa.struct([("bytes", pa.binary())]))})
    options: dict[str, Any] = {"compression": "none", "use_dictionary": False, "write_batch_size": 8}
    pq.write_table(table, tmp_path / "big.parquet", **options)  # one row group of small pages
    (shard,) = shards_at(str(tmp_path / "big.parquet"))
    pool = pa.default_memory_pool()
    counted = pa.proxy_memory_pool(pool)
    pa.set_memory_pool(counted)
    try:
        assert unpack(shard, str(tmp_path / "root")) == 60_000_000
    finally:
        pa.set_memory_pool(pool)
    assert 5_000_000 < (counted.max_memory() or 0) < 40_000_000


def test_a_package_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "hf", raising=False)
    with pytest.raises(
        SourceError, match=r"source\.uri = hf://datasets/x/y: the package .* hf:// needs huggingface_hub"
    ):
        list_source(SourceConfig(uri="hf://datasets/x/y"))

"""Tars in WebDataset's layout: rows from keys and texts, pictures by their range, headers read alone."""

import json
import tarfile
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractBufferedFile

from artsim.config import SourceConfig
from artsim.sources import SourceError, fetch, list_source
from tests.unit.source_files import tar_bytes

MEMBERS = {
    "Cubism/juan-gris_a.jpg": b"first",
    "Cubism/juan-gris_a.json": json.dumps({"artist": "Juan Gris", "subset": "test", "tags": ["x"]}).encode(),
    "./Cubism/juan-gris_b.c.PNG": b"second",
    "000017.json": json.dumps({"painter": "Claude Monet", "title": ["Water Lilies"], "year": 1906}).encode(),
    "000017.jpg": b"third",
    "000017.cls": b"landscape\n",
    "000018.txt": b"a quiet street",
    "000018.webp": b"",
    "000019.json": b"{broken",
    "000019.jpg": b"x" * 100,
    "__MACOSX/._000017.jpg": b"hidden",
}


def rows_of(uri: object, **settings: Any) -> list[dict[str, Any]]:
    return list_source(SourceConfig(uri=str(uri), **settings)).to_pylist()


def test_keys_texts_and_the_very_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_bytes(MEMBERS))
    rows = rows_of(tmp_path, columns={"artist": "painter"})
    assert [tuple(row[name] for name in ("id", "genre", "artist", "title", "subset")) for row in rows] == [
        ("000018", "", None, "000018", None),
        ("000019", "", None, "000019", None),
        ("Cubism/juan-gris_a", "Cubism", "juan-gris", "a", "test"),
        ("Cubism/juan-gris_b.c", "Cubism", "juan-gris", "b.c", None),
        ("landscape/claude-monet_000017", "landscape", "claude-monet", "Water Lilies", None),
    ]
    contents, errors = fetch([row["uri"] for row in rows], max_bytes=10)
    assert contents == [None, None, b"first", b"second", b"third"]
    assert [error and error.split(":")[0] for error in errors] == ["empty", "too_large", None, None, None]
    titles = rows_of(tmp_path / "a.tar", columns={"title": "txt"})
    assert titles[0]["title"] == "a quiet street"


def test_equal_keys_of_two_archives_and_a_new_archive(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.tar").write_bytes(tar_bytes({"G/x_y.jpg": name.encode()}))
    rows = rows_of(tmp_path)
    assert [row["id"] for row in rows] == ["G/x_y", "G/x_y.jpg"]
    assert fetch([row["uri"] for row in rows], max_bytes=9)[0] == [b"a", b"b"]
    (tmp_path / "b.tar").write_bytes(tar_bytes({"G/x_y.jpg": b"other", "G/z.jpg": bytes(20_000)}))
    assert [row["version"] == again["version"] for row, again in zip(rows, rows_of(tmp_path), strict=False)] == [
        True,
        False,
    ]


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.tgz"])
def test_compressed_archives_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(tar_bytes(MEMBERS, "gz"))
    with pytest.raises(SourceError, match=rf"{name} is compressed, .*: uncompress it to a \.tar file"):
        rows_of(tmp_path)


@pytest.mark.parametrize("length", [1539, 1124, 1024], ids=["in a picture", "in a header", "before a header"])
def test_an_archive_cut_short_is_one_sentence(length: int, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_bytes({"a.jpg": b"1", "b.jpg": bytes(5000)})[:length])
    with pytest.raises(SourceError, match=r"a\.tar is cut short or no archive .*: copy it again, or take it away"):
        rows_of(tmp_path)


def test_an_archive_that_is_cut_or_lost_later_loses_rows_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_bytes({"a.jpg": b"1", "b.jpg": bytes(5000)}))
    uris = [row["uri"] for row in rows_of(tmp_path)]
    (tmp_path / "a.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:3000])
    assert str(fetch(uris, 9000)[1][1]).startswith("truncated: ")
    (tmp_path / "a.tar").unlink()
    assert [str(error).split(":")[0] for error in fetch(uris, 9000)[1]] == ["missing_file"] * 2


class CountedFile(AbstractBufferedFile):
    """Ranges of a file in memory; each one that is asked for is noted."""

    ranges: list[int] = []  # noqa: RUF012

    def _fetch_range(self, start: int, end: int) -> bytes:
        CountedFile.ranges.append(end - start)
        return self.fs.cat_file(self.path, start=start, end=end)


class CountedFiles(MemoryFileSystem):
    """An object store in memory that counts requests."""

    protocol = ("counted",)
    calls = 0

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode == "rb" and "cache_type" in options:
            return CountedFile(self, path, mode, **options)
        return super()._open(path, mode, **options)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        CountedFiles.calls += 1
        return super().cat_file(path, start, end, **options)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return MemoryFileSystem._strip_protocol(path.replace("counted://", "memory://"))

    def unstrip_protocol(self, name: str) -> str:
        return f"counted:/{name}"


def test_a_remote_listing_reads_headers_and_a_picture_is_one_request() -> None:
    fsspec.register_implementation("counted", CountedFiles, clobber=True)
    members: dict[str, bytes] = {}
    for number in range(50):
        members |= {f"G/a_{number}.jpg": bytes([number]) * 200_000, f"G/a_{number}.json": b'{"artist": "Ann"}'}
    CountedFiles().pipe_file("/tars/x.tar", tar_bytes(members))
    CountedFile.ranges.clear()
    rows = rows_of("counted://tars")
    assert {row["artist"] for row in rows} == {"ann"}
    assert len(CountedFile.ranges) <= 52
    assert sum(CountedFile.ranges) < 0.1 * 50 * 200_000
    CountedFiles.calls = 0
    contents, _ = fetch([row["uri"] for row in rows], max_bytes=300_000)
    assert CountedFiles.calls == 50
    assert sorted(set(map(bytes, contents))) == [bytes([number]) * 200_000 for number in range(50)]


def test_members_that_are_no_files(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind in (
            ("link.jpg", tarfile.SYMTYPE),
            ("folder.jpg", tarfile.DIRTYPE),
            ("one.jpg", tarfile.REGTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type = kind
            tar.addfile(member)
    assert [row["id"] for row in rows_of(tmp_path)] == ["one"]

"""Tables of URIs with columns of any names, and how the kind of a source is told."""

from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artsim.config import SourceConfig
from artsim.sources import SourceError, fetch, list_source
from tests.unit.source_files import image, tar_bytes, write_shard

COLUMNS = {"uri": "image_url", "artist": "painter", "genre": "style"}


def rows_of(uri: object, root: object = "", **settings: Any) -> list[dict[str, Any]]:
    return list_source(SourceConfig(uri=str(uri), **settings), str(root)).to_pylist()


def put(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())
    return folder


def test_relative_and_absolute_uris(tmp_path: Path) -> None:
    put(tmp_path, "data/Cubism/juan-gris_a.jpg", "data/007.png", "elsewhere/b c.jpg")
    fsspec.filesystem("memory").pipe("/artsim-urls/full/default.jpg", b"remote")
    lines = [
        "image_url,painter,style,year",
        "Cubism/juan-gris_a.jpg,Juan Gris,,1911",
        "007.png,Claude Monet,\"['Impressionism', 'Realism']\",1906",
        f"{tmp_path}/elsewhere/b c.jpg,,realism,",
        "memory://artsim-urls/full/default.jpg?w=300,Ann,Realism,".replace("?w=300", ""),
        "gone.jpg,Ann,Realism,",
        "memory://artsim-urls/nothing.jpg,,Realism,",
    ]
    (tmp_path / "data/list.csv").write_text("\n".join(lines))
    rows = rows_of(tmp_path / "data/list.csv", columns=COLUMNS)
    assert [tuple(row[name] for name in ("id", "genre", "artist", "title")) for row in rows] == [
        ("Cubism/juan-gris_a", "Cubism", "juan-gris", "a"),
        ("Impressionism/claude-monet_007", "Impressionism", "claude-monet", "007"),
        ("Realism/ann_default", "Realism", "ann", "default"),
        ("Realism/ann_gone", "Realism", "ann", "gone"),
        ("Realism/nothing", "Realism", None, "nothing"),
        ("realism/b c", "Realism", None, "b c"),
    ]
    contents, errors = fetch([row["uri"] for row in rows], max_bytes=100)
    assert contents == [b"data/Cubism/juan-gris_a.jpg", b"data/007.png", b"remote", None, None, b"elsewhere/b c.jpg"]
    assert [error and error.split(":")[0] for error in errors] == [None] * 3 + ["missing_file"] * 2 + [None]
    assert [row["version"] == "missing" for row in rows] == [False] * 3 + [True] * 2 + [False]


def test_parquet_of_uris_with_ids(tmp_path: Path) -> None:
    put(tmp_path, "1/default.jpg", "2/default.jpg")
    uris = [f"{tmp_path}/{number}/default.jpg" for number in (1, 2)]
    pq.write_table(pa.table({"uri": uris, "id": [11, 12], "key": ["m/11", "m/12"]}), tmp_path / "t.parquet")
    assert [row["id"] for row in rows_of(tmp_path / "t.parquet")] == ["default", "default.jpg"]
    assert [row["id"] for row in rows_of(tmp_path / "t.parquet", columns={"id": "key"})] == ["m/11", "m/12"]


def test_a_picture_that_changes_is_noticed(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "t.csv").write_text(f"uri\na.jpg\n{tmp_path}/b.jpg\n")
    before = [row["version"] for row in rows_of(tmp_path / "t.csv")]
    (tmp_path / "b.jpg").write_bytes(b"another")
    assert [old == row["version"] for old, row in zip(before, rows_of(tmp_path / "t.csv"), strict=True)] == [
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("url\na.jpg\n", {}, r"t\.csv has no column uri: .* source\.columns=\{uri: NAME\}; it has url"),
        ("url\na.jpg\n", {"uri": "image"}, r"has no column image: source\.columns names its columns, .* url"),
        ("uri,x\n,1\n", {}, "row 1 names no picture"),
        ("uri\n", {}, "has no rows"),
        ("uri,a\n1,2,3\n", {}, "cannot be read as a table"),
        ("", {}, "cannot be read as a table"),
    ],
)
def test_a_mistake_in_a_table_is_one_sentence(text: str, columns: dict[str, str], message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(SourceError, match=message) as caught:
        rows_of(tmp_path / "t.csv", columns=columns)
    assert "\n" not in str(caught.value)


def test_what_lies_there_must_be_of_one_kind(tmp_path: Path) -> None:
    put(tmp_path, "G/a_b.jpg", "notes.csv")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "numbers.parquet")
    assert len(rows_of(tmp_path)) == 1  # a table without pictures beside pictures changes nothing
    write_shard(tmp_path / "a.parquet", {"image": [image(b"1")]}, {})
    (tmp_path / "numbers.parquet").unlink()
    with pytest.raises(SourceError, match="holds 1 images and 1 Parquet files with pictures: give the folder or file"):
        rows_of(tmp_path)
    (tmp_path / "a.parquet").unlink()
    (tmp_path / "a.tar").write_bytes(tar_bytes({"a.jpg": b"1"}))
    with pytest.raises(SourceError, match=r"holds 1 images and 1 \.tar files"):
        rows_of(tmp_path)


def test_names_that_differ_in_case_alone(tmp_path: Path) -> None:
    put(tmp_path, "Cubism/juan-gris_a.JPG", "Cubism/Juan-Gris_b.jpg", "cubism/juan-gris_a.jpg", "none_c.Jpeg")
    (tmp_path / "classes.csv").write_text("filename,artist,subset\nCUBISM/juan-gris_b.JPG,juan gris,test\n")
    assert [tuple(row[name] for name in ("id", "genre", "artist", "subset")) for row in rows_of(tmp_path)] == [
        ("Cubism/Juan-Gris_b", "Cubism", "juan-gris", "test"),
        ("Cubism/juan-gris_a", "Cubism", "juan-gris", None),
        ("cubism/juan-gris_a", "Cubism", "juan-gris", None),
        ("none_c", "", "none", None),
    ]

"""Listing and reading sources: local folders as people have them, a remote filesystem, real mis-encoded names."""

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import fsspec
import pytest

from artsim.clients import StoreError
from artsim.config import SourceConfig
from artsim.sources import SourceError, fetch, list_source, repair_name
from tests.conftest import shared


def rows_of(uri: object, **settings: Any) -> list[dict[str, str | None]]:
    return list_source(SourceConfig(uri=str(uri), **settings)).to_pylist()


def ids_of(uri: object, **settings: Any) -> list[str | None]:
    return [row["id"] for row in rows_of(uri, **settings)]


def put(folder: Path, *paths: str, data: bytes = b"x") -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def test_folders_names_and_what_is_no_painting(tmp_path: Path) -> None:
    put(tmp_path, "Cubism/juan-gris_still-life.jpg", "Cubism/more/late/juan-gris_the_glass.JPG", "flat_one.png")
    put(tmp_path, "Cubism/untitled.webp", "Early Renaissance/a_b.c.tiff")
    put(tmp_path, "Cubism/.hidden_a.jpg", ".cache/x_y.jpg", "__MACOSX/Cubism/._a_b.jpg", "metadata.csv", "a/notes.txt")
    table = list_source(SourceConfig(uri=str(tmp_path)))
    assert table.column_names == ["id", "uri", "genre", "artist", "title", "subset", "version"]
    assert [(row["id"], row["genre"], row["artist"], row["title"]) for row in table.to_pylist()] == [
        ("Cubism/juan-gris_still-life", "Cubism", "juan-gris", "still-life"),
        ("Cubism/more/late/juan-gris_the_glass", "Cubism", "juan-gris", "the_glass"),
        ("Cubism/untitled", "Cubism", None, "untitled"),
        ("Early Renaissance/a_b.c", "Early Renaissance", "a", "b.c"),
        ("flat_one", "", "flat", "one"),
    ]
    assert set(table["subset"].to_pylist()) == {None}
    assert ids_of(tmp_path, limit=2) == table["id"].to_pylist()[:2]
    for uri in table["uri"].to_pylist():
        with fsspec.open(uri) as file:
            assert file.read() == b"x"


def test_one_id_for_two_files(tmp_path: Path) -> None:
    put(tmp_path, "G/a.jpg", "G/a.png", "G/a.png.jpg", "G/b.png")
    expected = [("G/a", "G/a.jpg"), ("G/a.png", "G/a.png"), ("G/a.png.jpg", "G/a.png.jpg"), ("G/b", "G/b.png")]
    assert [(row["id"], os.path.relpath(str(row["uri"]), tmp_path)) for row in rows_of(tmp_path)] == expected
    put(tmp_path, "H/josé.jpg", "H/josÃ©.jpg", "H/jose\u0301.jpg")  # three spellings of one name
    assert ids_of(tmp_path)[4:] == ["H/josé", "H/josé.jpg", "H/josé.jpg~2"]


def test_version_changes_with_the_file(tmp_path: Path) -> None:
    put(tmp_path, "G/a_b.jpg", "G/c_d.jpg")
    before = {row["id"]: row["version"] for row in rows_of(tmp_path)}
    os.utime(tmp_path / "G/a_b.jpg", ns=(1, 10**18))
    after = {row["id"]: row["version"] for row in rows_of(tmp_path)}
    assert (after["G/a_b"], after["G/c_d"]) == ("1-1000000000000000000", before["G/c_d"])


def test_linked_folders_and_broken_links(tmp_path: Path) -> None:
    source, disk = tmp_path / "source", put(tmp_path / "disk", "a_b.jpg")
    source.mkdir()
    (source / "Realism").symlink_to(disk)
    (disk / "round").symlink_to(source)
    (disk / "gone_x.jpg").symlink_to(tmp_path / "nowhere.jpg")
    rows = rows_of(source)
    assert [row["id"] for row in rows] == ["Realism/a_b", "Realism/gone_x"]
    contents, errors = fetch([str(row["uri"]) for row in rows], max_bytes=10)
    assert contents == [b"x", None]
    assert errors[0] is None
    assert str(errors[1]).startswith("missing_file: ")


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are always UTF-8")
def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"joaqu\xedn-sorolla_ni\xf1os%20#.jpg")  # Latin-1
    put(tmp_path, "G/" + name)
    (row,) = rows_of(tmp_path)
    assert row["id"] == "G/joaquín-sorolla_niños%20#"
    assert "%ED" in str(row["uri"])
    assert fetch([str(row["uri"])], max_bytes=10) == ([b"x"], [None])


WRONG_READINGS = {
    "joaquΓö£╨│Γö¼╨╜n-sorolla_after-the-bath-1908": "joaquín-sorolla_after-the-bath-1908",
    "joaqu├г┬нn-sorolla_bathing": "joaquín-sorolla_bathing",
    "joaquã\xadn-sorolla_bathing": "joaquín-sorolla_bathing",
    "joaquÃ£Â\xadn-sorolla_bathing": "joaquín-sorolla_bathing",
    "georges-lacombeΓö£╨▓Γö¼╨░_some-waves": "georges-lacombe_some-waves",
    "georges-lacombeâ\xa0_some-waves": "georges-lacombe_some-waves",
    "joseÌ\x81_x": "josé_x",
    "l-arl├йsienne": "l-arlésienne",
    "a \x1f\xa0b / c _d\x07": "a b/c_d",
}
RIGHT = (
    "são-tomé_irmã",
    "château_l’été",
    "Поцелуй_рад",
    "葛飾北斎_波",
    "søren_åse",
    "żółć_łódź",
    "Ελένη_x",
    "a_Ã",
    "plain",
)


def test_wrong_readings_are_undone_and_right_names_stay() -> None:
    assert {name: repair_name(name) for name in WRONG_READINGS} == WRONG_READINGS
    assert {name: repair_name(name) for name in WRONG_READINGS.values()} == {
        name: name for name in WRONG_READINGS.values()
    }
    assert [repair_name(name) for name in RIGHT] == list(RIGHT)


def test_folders_have_no_columns_to_name(tmp_path: Path) -> None:
    put(tmp_path, "Cubism/juan-gris_guitar.jpg")
    with pytest.raises(SourceError, match=r"source\.columns = .*: folders of images have no columns"):
        list_source(SourceConfig(uri=str(tmp_path), columns={"artist": "painter"}))


def test_real_names() -> None:
    rows = rows_of(shared("data/wikiart_224"))
    assert len(rows) == 1609
    artists = Counter(row["artist"] for row in rows if not str(row["uri"]).isascii())
    assert artists == {"joaquín-sorolla": 30, "mestre-ataíde": 4, "georges-lacombe": 4}
    characters = {character for row in rows for character in f"{row['id']}{row['artist']}{row['title']}"}
    assert {character for character in characters if not character.isascii()} == {"í"}
    contents, errors = fetch([str(row["uri"]) for row in rows], max_bytes=10**7)
    assert set(errors) == {None}
    assert [int(str(row["version"]).split("-")[0]) for row in rows] == [len(data or b"") for data in contents]


CLASSES = """filename,artist,genre,description,phash,width,height,genre_count,subset
Cubism/juan-gris_a.jpg,juan gris,['Cubism'],a,0f,1,1,1,train
Cubism/b.jpg,Pablo Picasso,"['Cubism', 'Realism']",b,0f,1,1,2,test
Cubism/x_c.jpg,unknown master,['Cubism'],c,0f,1,1,1,uncertain artist
Impressionism/joaquã\xadn-sorolla_d.jpg,joaquã\xadn sorolla,['Impressionism'],d,0f,1,1,1,train
Impressionism/nobody_gone.jpg,nobody,['Impressionism'],e,0f,1,1,1,train
"""


def test_kaggles_classes(tmp_path: Path) -> None:
    put(tmp_path, "Cubism/juan-gris_a.jpg", "Cubism/b.jpg", "Cubism/x_c.jpg", "Cubism/juan-gris_e.jpg")
    put(tmp_path, "Impressionism/joaquΓö£╨│Γö¼╨╜n-sorolla_d.jpg")
    put(tmp_path, "classes.csv", data=("\ufeff" + CLASSES).encode())
    assert [(row["id"], row["genre"], row["artist"], row["subset"]) for row in rows_of(tmp_path)] == [
        ("Cubism/b", "Cubism", "pablo-picasso", "test"),
        ("Cubism/juan-gris_a", "Cubism", "juan-gris", "train"),
        ("Cubism/juan-gris_e", "Cubism", "juan-gris", None),
        ("Cubism/x_c", "Cubism", "unknown-master", None),
        ("Impressionism/joaquín-sorolla_d", "Impressionism", "joaquín-sorolla", "train"),
    ]
    put(tmp_path, "classes.csv", data=b"file;artist\n")
    with pytest.raises(SourceError, match=r"classes\.csv has no column artist, filename, subset"):
        rows_of(tmp_path)


def test_a_remote_source() -> None:
    files = fsspec.filesystem("memory")
    files.pipe({"/artsim-source/G/a_b.jpg": b"12", "/artsim-source/G/zero_x.png": b"", "/artsim-source/n.txt": b"n"})
    rows = rows_of("memory://artsim-source")
    assert [(row["id"], row["genre"], row["artist"]) for row in rows] == [
        ("G/a_b", "G", "a"),
        ("G/zero_x", "G", "zero"),
    ]
    assert str(rows[0]["version"]).startswith("2-")
    uris = [str(row["uri"]) for row in rows]
    assert uris[0].startswith("memory://")
    contents, errors = fetch([*uris, "memory://artsim-source/gone.jpg"], max_bytes=2)
    assert contents == [b"12", None, None]
    assert [error and error.split(":")[0] for error in errors] == [None, "empty", "missing_file"]
    assert str(fetch(uris[:1], max_bytes=1)[1][0]).startswith("too_large: ")
    for uri in ("memory://artsim-nowhere", "memory://artsim-source/n.txt"):
        with pytest.raises(SourceError, match=uri):
            list_source(SourceConfig(uri=uri))


def test_fetch_keeps_order_and_raises_what_is_no_fault_of_the_file(tmp_path: Path) -> None:
    for number in range(50):
        put(tmp_path, f"{number}.jpg", data=b"x" * number)
    contents, errors = fetch([str(tmp_path / f"{number}.jpg") for number in range(50)], max_bytes=48, num_threads=4)
    assert contents == [None, *(b"x" * number for number in range(1, 49)), None]
    assert [(row, error.split(":")[0]) for row, error in enumerate(errors) if error] == [
        (0, "empty"),
        (49, "too_large"),
    ]
    assert fetch([], max_bytes=1) == ([], [])
    with pytest.raises(StoreError, match=r"^source.uri: .* cannot be read \(Is a directory\)"):
        fetch([str(tmp_path)], max_bytes=1)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing", r"missing: there is no such folder; check"),
        ("file.jpg", r"file\.jpg is a file: give the folder"),
        ("texts", r"texts: none of its 1 files is an image; give the folder"),
    ],
)
def test_folders_that_are_no_source(tmp_path: Path, path: str, message: str) -> None:
    put(tmp_path, "file.jpg", "texts/a.txt")
    with pytest.raises(SourceError, match=message):
        list_source(SourceConfig(uri=str(tmp_path / path)))


@pytest.mark.parametrize(("uri", "message"), [("", "source.uri is empty"), ("nonsense://x", "Protocol not known")])
def test_uris_that_lead_nowhere(uri: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        list_source(SourceConfig(uri=uri))

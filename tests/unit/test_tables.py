"""Parts on disk, roots, recipes, quarantine files and status."""

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artsim import tables
from artsim.resume import publish, replace
from artsim.schemas import bucket_of, key_of, quarantine_schema, row_hashes, schema_of, to_arrow
from artsim.store import Store
from artsim.tables import (
    Table,
    TableError,
    claim,
    create_root,
    fingerprint,
    open_root,
    parts_by_bucket,
    status,
    sweep,
)

NUM_BUCKETS = 4


@pytest.fixture(params=["local", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    url = str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4().hex}"
    create_root(url, NUM_BUCKETS)
    yield url
    Store(url).delete([""])


def captions(texts: dict[str, str]) -> pa.Table:
    rows = pa.table({"id": list(texts), "caption": list(texts.values())})
    rows = rows.append_column("input_hash", pa.array(np.ones(len(rows), np.uint64)))
    return rows.append_column("row_hash", pa.array(row_hashes(rows))).cast(schema_of("captions"))


def pictures(sizes: list[int]) -> pa.Table:
    """Versions of one painting, so of one bucket, with images of so many bytes."""
    columns: dict[str, Any] = {
        "id": np.array(["g/a_t"] * len(sizes), object),
        "level": np.array(["radical"] * len(sizes), object),
        "variant": np.arange(len(sizes), dtype=np.int32),
        "image": np.array([os.urandom(size) for size in sizes], object),
        "box": np.zeros((len(sizes), 4), np.int32),
        "input_hash": np.zeros(len(sizes), np.uint64),
    }
    rows = to_arrow(columns, schema_of("generated"))
    return rows.set_column(len(rows.schema) - 1, "row_hash", pa.array(row_hashes(rows)))


def failures(reasons: dict[str, str], attempts: int = 1) -> pa.Table:
    columns = {"id": list(reasons), "input_hash": [7] * len(reasons), "stage": ["Caption"] * len(reasons)}
    columns |= {"reason": list(reasons.values()), "message": ["why"] * len(reasons)}
    return pa.table(columns | {"attempts": [attempts] * len(reasons)}).cast(quarantine_schema("captions"))


def many(count: int) -> dict[str, str]:
    return {f"Genre/artist_{number:03d}": f"text {number}" for number in range(count)}


def test_a_model_is_known_by_its_files_wherever_they_lie() -> None:
    here, there = ({"model": {"id": f"/{place}/clip", "revision": "sha256-1"}} for place in ("a", "b"))
    assert fingerprint(here) == fingerprint(there) != fingerprint({"model": {"id": "/a/clip", "revision": "sha256-2"}})
    hub = [{"model": {"id": name, "revision": "main"}} for name in ("x/y", "x/z")]
    assert fingerprint(hub[0]) != fingerprint(hub[1])


def test_parts_hold_one_bucket_each_sorted_by_key(root: str) -> None:
    table = Table(root, "captions", NUM_BUCKETS)
    rows = captions(many(50)).take(np.random.default_rng(0).permutation(50))
    names = table.write(rows)
    assert len(names) == NUM_BUCKETS
    assert table.parts().num_rows == 50
    for name in names:
        ids = table.read([name], ["id"])["id"].to_pylist()
        assert ids == sorted(ids)
        assert {bucket_of(row_id, NUM_BUCKETS) for row_id in ids} == {int(name[:5])}
    assert table.read(names, rows.schema.names).sort_by("id").equals(rows.sort_by("id"))


def test_parts_are_named_by_what_they_hold(root: str) -> None:
    table = Table(root, "captions", NUM_BUCKETS)
    texts = many(30)
    names = table.write(captions(texts))
    shuffled = captions(texts).take(list(range(29, -1, -1)))
    assert table.write(pa.concat_tables([shuffled.slice(0, 7), shuffled.slice(7)])) == names
    assert len(table.store.list()) == len(names)
    others = table.write(captions(texts | {"Genre/artist_007": "another text"}))
    assert len(set(names) & set(others)) == NUM_BUCKETS - 1


def test_writing_no_rows_writes_nothing(root: str) -> None:
    table = Table(root, "captions", NUM_BUCKETS)
    assert table.write(schema_of("captions").empty_table()) == []
    assert table.write_quarantine(quarantine_schema("captions").empty_table()) == []
    assert table.parts().num_rows == 0


@pytest.mark.parametrize("sizes", [[1000] * 40, [10] * 40 + [5000] * 8, [5000] * 8 + [10] * 40, [50_000, 1, 1]])
def test_parts_and_row_groups_stay_below_their_limits(
    sizes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_PART_BYTES", 20_000)
    monkeypatch.setattr(tables, "MAX_ROW_GROUP_BYTES", 6_000)
    table = Table(str(tmp_path), "generated", NUM_BUCKETS)
    rows = pictures(sizes)
    names = table.write(rows)
    assert len(names) > 1
    for name in names:
        file = pq.ParquetFile(tmp_path / "generated" / name)
        assert file.read().nbytes <= 20_000 or file.metadata.num_rows == 1
        groups = [file.read_row_group(number) for number in range(file.num_row_groups)]
        assert all(group.nbytes <= 6_000 or len(group) == 1 for group in groups)
    assert len(names) <= 2 * rows.nbytes / 20_000 + 2, "no more parts than halving needs"
    assert table.read(names, rows.schema.names).equals(rows)


def test_readers_can_skip_row_groups_by_id_but_no_statistics_hold_images(tmp_path: Path) -> None:
    table = Table(str(tmp_path), "generated", NUM_BUCKETS)
    (name,) = table.write(pictures([10, 10]))
    metadata = pq.ParquetFile(tmp_path / "generated" / name).metadata.row_group(0)
    told = {metadata.column(at).path_in_schema: metadata.column(at).is_stats_set for at in range(metadata.num_columns)}
    assert told["id"]
    assert not told["image"]


KILLED_WRITER = """
import sys
from tests.unit.test_tables import captions, many
from artsim.tables import Table
table = Table(sys.argv[1], "captions", 4)
print("writing", flush=True)
while True:
    for number in range(2, 40):
        table.write(captions(many(number)))
"""


def test_a_killed_writer_leaves_only_whole_parts_and_what_is_swept(tmp_path: Path) -> None:
    folder = tmp_path / "captions"
    table = Table(str(tmp_path), "captions", NUM_BUCKETS)
    for milliseconds in (40, 90):
        command = [sys.executable, "-c", KILLED_WRITER, str(tmp_path)]
        with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                writer.wait(milliseconds / 1000)
            writer.kill()
        for part in folder.glob("*.parquet"):
            assert pq.read_table(part).num_rows == int(part.name.split("-")[1])
    (folder / ".tmp-left").write_bytes(b"PAR1 half")
    names = [name for names in table.parts().rows.values() for name in names]
    assert names
    sweep(table, None)
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


FULL_WRITER = """
import resource, sys
from artsim.clients import StoreError
from artsim.tables import Table
from tests.unit.test_tables import pictures
table = Table(sys.argv[1], "generated", 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    table.write(pictures([700_000, 700_000]))
except StoreError as error:
    print(error)
"""


def test_a_part_that_finds_no_room_is_one_sentence_and_leaves_no_half(tmp_path: Path) -> None:
    """The kernel refuses the byte that its limit forbids, in the middle of a Parquet file."""
    writer = subprocess.run(
        [sys.executable, "-c", FULL_WRITER, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(
        rf"root: {tmp_path}/generated/00000-2-\w+\.parquet cannot be written \(File too large\): make room or name "
        "another disk, then start again; what is done is kept\n",
        writer.stdout,
    ), writer.stdout
    assert list((tmp_path / "generated").iterdir()) == []


def test_sweeping_spares_what_a_manifest_names_and_what_it_does_not_know(root: str) -> None:
    table = Table(root, "captions", NUM_BUCKETS)
    claim(table, {}, {})
    bad = table.write_quarantine(failures({"x": "corrupt"}))
    manifest = publish(table, [parts_by_bucket(table.write(captions(many(9))), bad)])
    live = table.store.find()
    table.store.write("notes.txt", b"mine")
    stray = table.write(captions({"x": "stray"})) + table.write_quarantine(failures({"y": "truncated"}))
    assert len(table.store.find()) == len(live) + 1 + len(stray)
    assert table.parts(manifest).num_rows == 9
    sweep(table, manifest)
    assert table.store.find() == live | {"notes.txt"}


def test_quarantine_says_what_was_put_in(root: str) -> None:
    table = Table(root, "captions", NUM_BUCKETS)
    rows = failures({"a/b": "corrupt", "c/d": "killed_worker", "e/f": "corrupt", "ü/Ö": "timeout"})
    names = table.write_quarantine(rows)
    assert table.write_quarantine(rows) == names
    assert table.read_quarantine(names).sort_by("id").equals(rows.sort_by("id"))
    assert table.parts().reasons == {"corrupt": 2, "killed_worker": 1, "timeout": 1}
    assert len(table.read_quarantine([])) == 0
    again = table.write_quarantine(failures({"a/b": "corrupt"}, attempts=2))
    assert not set(again) & set(names)


def test_only_known_reasons_enter_the_quarantine(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="HTTP 404: not one of"):
        Table(str(tmp_path), "captions", NUM_BUCKETS).write_quarantine(failures({"a": "HTTP 404"}))


def test_a_root_keeps_its_number_of_buckets(tmp_path: Path) -> None:
    root = str(tmp_path / "new")
    with pytest.raises(TableError, match=r"new is not an ArtSim root .* run jobs/run.py"):
        open_root(root)
    assert create_root(root, 8) == 8
    assert create_root(root, 99) == 8
    assert open_root(root) == 8


def test_a_table_that_is_not_finished_cannot_be_read(root: str) -> None:
    table = Table(root, "resized", NUM_BUCKETS)
    with pytest.raises(TableError, match=r"table resized below .* is not finished: run jobs/resize.py first"):
        table.finished()
    replace(Table(root, "_listing", NUM_BUCKETS), schema_of("_listing").empty_table().drop(["input_hash", "row_hash"]))
    with pytest.raises(TableError, match=r"_listing below .* has no rows"):
        Table(root, "_listing", NUM_BUCKETS).read_all(["id"])


RECIPE = {"stage": "Resize", "version": 1, "settings": {"letterbox": {"sizes": (1024, 768), "jpeg_quality": 95}}}


def test_the_same_recipe_resumes_whatever_the_order_of_its_keys(root: str) -> None:
    table = Table(root, "resized", NUM_BUCKETS)
    claim(table, RECIPE, {})
    backwards = {name: RECIPE[name] for name in reversed(RECIPE)}
    backwards["settings"] = {"letterbox": {"jpeg_quality": 95, "sizes": [1024, 768]}}
    assert claim(table, backwards, {}) == []


def test_another_recipe_is_refused_and_only_what_differs_is_named(root: str) -> None:
    table = Table(root, "resized", NUM_BUCKETS)
    claim(table, RECIPE, {})
    other = RECIPE | {"settings": {"letterbox": {"sizes": (1024, 768), "jpeg_quality": 90}}, "new": True}
    with pytest.raises(TableError) as refused:
        claim(table, other, {})
    told = re.search(r"other settings \((.*)\)", str(refused.value))
    assert told is not None
    assert [difference.split(":")[0] for difference in told[1].split("; ")] == [
        "new",
        "settings.letterbox.jpeg_quality",
    ]
    assert "95" in told[1]
    assert "90" in told[1]
    assert "--overwrite" in str(refused.value)
    assert table.header() == {
        "format": tables.FORMAT,
        "packages": {},
        "fingerprint": fingerprint(RECIPE),
        "recipe": RECIPE | {"settings": {"letterbox": {"sizes": [1024, 768], "jpeg_quality": 95}}},
    }


def test_overwriting_removes_the_old_rows_and_no_other_table(root: str) -> None:
    table, other = (Table(root, name, NUM_BUCKETS) for name in ("captions", "prompts"))
    claim(other, {}, {})
    claim(table, {"quality": 95}, {})
    publish(table, [parts_by_bucket(table.write(captions(many(5))), table.write_quarantine(failures({"x": "empty"})))])
    assert claim(table, {"quality": 90}, {}, overwrite=True) == []
    assert table.store.find() == {"_table.json"}
    assert table.header() is not None
    assert other.header() is not None


def test_overwriting_with_the_same_recipe_keeps_what_is_done(root: str) -> None:
    table = Table(root, "captions", NUM_BUCKETS)
    claim(table, {}, {})
    table.write(captions(many(5)))
    claim(table, {}, {}, overwrite=True)
    assert table.parts().num_rows == 5


def test_other_package_versions_are_a_warning(root: str) -> None:
    table = Table(root, "captions", NUM_BUCKETS)
    assert claim(table, {}, {"numpy": "1", "pillow": "12"}) == []
    assert claim(table, {}, {"numpy": "2", "pillow": "12", "torch": "3"}) == [
        "captions: made with numpy 1, now 2",
        "captions: made with torch None, now 3",
    ]


def test_fingerprints_differ_when_anything_differs() -> None:
    recipes: list[dict[str, Any]] = [{}, {"a": 1}, {"a": "1"}, {"a": None}, {"a": {"b": 1}}, {"b": 1}]
    assert len({fingerprint(recipe) for recipe in recipes}) == len(recipes)
    assert re.fullmatch("[0-9a-f]{16}", fingerprint({}))


def test_status_of_finished_half_finished_and_empty_tables(root: str) -> None:
    assert status(root) == {"root": root, "tables": {}}
    done, half, begun = (Table(root, name, NUM_BUCKETS) for name in ("captions", "generated", "splits/a70"))
    for table in (done, half, begun):
        claim(table, {"table": table.name}, {})
    bad = done.write_quarantine(failures({"x": "corrupt", "y": "corrupt", "z": "empty"}))
    publish(done, [parts_by_bucket(done.write(captions(many(20))), bad)])
    half.write(pictures([5, 5]))
    half.store.write_json("_plan.json", {"expected": 30})
    empty = Table(root, "artworks", NUM_BUCKETS)
    claim(empty, {}, {})
    publish(empty, [])
    half.store.write(".tmp-123", b"half")
    done.write(captions({"stray": ""}))
    shown = status(root)["tables"]
    assert list(shown) == ["artworks", "captions", "generated", "splits/a70"]
    facts = {name: (told["expected"], told["done"], told["quarantined"]) for name, told in shown.items()}
    assert facts == {
        "artworks": (0, 0, {}),
        "captions": (23, 20, {"corrupt": 2, "empty": 1}),
        "generated": (30, 2, {}),
        "splits/a70": (None, 0, {}),
    }
    assert shown["captions"]["recipe"] == fingerprint({"table": "captions"})


def test_status_reads_neither_parts_nor_keys(tmp_path: Path) -> None:
    table = Table(str(tmp_path), "captions", create_root(str(tmp_path), NUM_BUCKETS))
    claim(table, {}, {})
    publish(table, [parts_by_bucket(table.write(captions(many(20))), [])])
    for part in (tmp_path / "captions").glob("*.parquet"):
        part.write_bytes(b"")
    assert status(str(tmp_path))["tables"]["captions"]["done"] == 20


def test_keys_of_the_quarantine_are_those_of_the_table() -> None:
    for name in ("captions", "prompts", "triplets/a70"):
        assert tuple(quarantine_schema(name).names[: len(key_of(name))]) == key_of(name)


def test_each_bucket_gets_its_rows_in_order_whatever_order_they_come_in(root: str) -> None:
    table = Table(root, "captions", NUM_BUCKETS)
    rows = captions(many(50))
    expected = {
        bucket: sorted(row_id for row_id in rows["id"].to_pylist() if bucket_of(row_id, NUM_BUCKETS) == bucket)
        for bucket in range(NUM_BUCKETS)
    }
    in_order = pa.concat_tables([chunk for _, chunk in table.by_bucket(rows)])
    for given in (rows, in_order, in_order.take(np.arange(50)[::-1])):
        found = {bucket: chunk["id"].to_pylist() for bucket, chunk in table.by_bucket(given)}
        assert found == expected

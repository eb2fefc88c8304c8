"""Works that are taken out: from every table, for good, with nothing made again, wherever the removal is cut off."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from artsim import lease
from artsim.cli import app
from artsim.config import IndexConfig
from artsim.index import FACTS, Index
from artsim.indexing import Builder, settings_of
from artsim.lease import hold
from artsim.removal import RemovalError, remove
from artsim.resume import replace
from artsim.schemas import bucket_of, quarantine_schema, schema_of
from artsim.store import Store
from artsim.tables import Table, TableError, create_root, status
from artsim.tombstones import TOMBSTONES, removed, without_removed
from tests.unit import small_root
from tests.unit.small_root import IDS, NUM_BUCKETS, READS
from tests.unit.test_resume import Fuse, Killed

GONE = IDS[3]
OTHER = IDS[8]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    small_root.make(str(folder))
    return folder


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> str:
    shutil.copytree(pristine, tmp_path / "root")
    return str(tmp_path / "root")


def mentions(root: str, *ids: str) -> list[str]:
    """Parquet files below a root, live or not, that hold one of the ids in any column."""
    found = []
    for path in sorted(Path(root).rglob("*.parquet")):
        rows = pq.read_table(path)
        named = {
            value for name in ("id", "negative_id") if name in rows.column_names for value in rows[name].to_pylist()
        }
        found += [str(path)] if named & set(ids) else []
    return found


def list_source(root: str, ids: tuple[str, ...] = IDS) -> None:
    """What jobs/ingest.py does, with a source that still holds all."""
    schema = pa.schema([field for field in schema_of("_listing") if not field.name.endswith("_hash")])
    rows = [{"id": row_id, "uri": f"/source/{row_id}.jpg", "version": "1"} | small_root.parts(row_id) for row_id in ids]
    listing = without_removed(root, pa.Table.from_pylist(rows, schema))
    replace(Table(root, "_listing", NUM_BUCKETS), listing)


def manifests(root: str) -> dict[str, dict[str, Any]]:
    """What the finished tables hold, without when they were finished."""
    found = {name: Table(root, name, NUM_BUCKETS).finished() for name in ("_listing", *READS)}
    return {
        name: {field: value for field, value in told.items() if field != "finished"} for name, told in found.items()
    }


def run_all(root: str) -> dict[str, int]:
    """Run each job that is not up to date; returns how many rows it made, for those that ran."""
    made = {}
    for name in READS:
        work = small_root.work_of(root, name)
        manifest = work.table.manifest()
        if manifest is None or not work.is_current(manifest):
            made[name] = small_root.fill(work)
    return made


def test_a_removed_work_is_in_no_table_and_all_others_are(root: str) -> None:
    before = status(root)["tables"]
    found = remove(root, [GONE])
    assert mentions(root, GONE) == []
    after = status(root)["tables"]
    for name, told in after.items():
        each = before[name]["done"] // len(IDS)
        assert told["done"] == told["expected"] == before[name]["done"] - each, name
        assert told["state"] == "finished"
    rest = set(IDS) - {GONE}
    assert set(Table(root, "generated", NUM_BUCKETS).read_all(["id"])["id"].to_pylist()) == rest
    # Four triplets have it as their anchor, and the painting behind it has it as its negative in four.
    assert found.rows["triplets/a70"] == 8
    assert {name: found.rows[name] for name in ("_listing", "artworks", "generated")} == {
        "_listing": 1,
        "artworks": 1,
        "generated": 2,
    }


def test_a_triplet_whose_negative_is_removed_keeps_its_pair(root: str) -> None:
    remove(root, [GONE])
    behind = IDS[IDS.index(GONE) + 1]
    table = Table(root, "triplets/a70", NUM_BUCKETS)
    rows = [row for row in table.store.read_parquet(table.finished()["parts"]).to_pylist() if row["id"] == behind]
    assert len(rows) == 4
    for row in rows:
        assert (row["negative_id"], row["negative_level"], row["negative_variant"]) == (None, None, None)
    others = [row for row in table.read_all(["id", "negative_id"]).to_pylist() if row["id"] not in (behind, GONE)]
    assert all(row["negative_id"] is not None for row in others)


def test_nothing_is_made_again_and_it_does_not_come_back(root: str) -> None:
    remove(root, [GONE, OTHER])
    before = manifests(root)
    list_source(root)
    assert run_all(root) == {}
    assert manifests(root) == before
    for name in READS:
        # As with --retry-quarantine: what is expected is what is there, row by row and hash by hash.
        assert small_root.fill(small_root.work_of(root, name)) == 0, name
    assert manifests(root) == before
    assert mentions(root, GONE, OTHER) == []


def test_what_was_not_up_to_date_does_not_become_so(root: str) -> None:
    more = (*IDS, "Genre 1/ärtist-9_new")
    list_source(root, more)
    remove(root, [GONE])
    work = small_root.work_of(root, "artworks")
    assert not work.is_current(work.table.finished())
    assert small_root.fill(work) == 1
    work = small_root.work_of(root, "resized")
    assert not work.is_current(work.table.finished())
    assert small_root.fill(work) == 1
    assert mentions(root, GONE) == []


def test_removing_again_and_more_goes_on_where_it_was(root: str) -> None:
    remove(root, [GONE])
    before = manifests(root)
    assert remove(root, [GONE]).rows == {}
    assert manifests(root) == before
    remove(root, [OTHER])
    list_source(root)
    assert run_all(root) == {}
    assert removed(root) == {GONE, OTHER}
    assert mentions(root, GONE, OTHER) == []


def test_the_tombstone_says_what_and_when(root: str) -> None:
    sha256 = small_root.contents("artworks", {"id": GONE})["sha256"]
    remove(root, [GONE])
    (work,) = json.loads((Path(root) / TOMBSTONES).read_text())["works"]
    assert (work["id"], work["sha256"]) == (GONE, sha256)
    assert work["when"].endswith("+00:00")


@pytest.mark.parametrize("ids", [["nobody_nothing"], [GONE, "nobody_nothing"]])
def test_an_unknown_work_is_one_sentence_and_nothing_changes(root: str, ids: list[str]) -> None:
    before = {name: Store(root).read(name) for name in Store(root).find()}
    with pytest.raises(RemovalError, match=rf"^nobody_nothing: no such work below {root}, and nothing was removed"):
        remove(root, ids)
    assert {name: Store(root).read(name) for name in Store(root).find()} == before


def test_no_work_is_removed_while_a_job_writes_a_table(root: str) -> None:
    before = {name: Store(root).read(name) for name in Store(root).find()}
    with hold(Table(root, "prompts", NUM_BUCKETS)), pytest.raises(TableError, match="is writing the table prompts"):
        remove(root, [GONE])
    assert {name: Store(root).read(name) for name in Store(root).find() if lease.NAME not in name} == before
    remove(root, [GONE])
    assert not mentions(root, GONE)


@pytest.mark.parametrize("kills", [(0, 1, 2, 25), pytest.param(range(3, 60, 3), marks=pytest.mark.slow)])
def test_wherever_it_is_killed_starting_again_finishes_it(
    kills: Iterable[int], pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, fuse = str(tmp_path / "whole"), Fuse(monkeypatch)
    shutil.copytree(pristine, whole)
    remove(whole, [GONE])
    for changes in kills:
        root = str(tmp_path / str(changes))
        shutil.copytree(pristine, root)
        fuse.set(changes)
        with pytest.raises(Killed):
            remove(root, [GONE])
        assert changes == 0 or removed(root) == {GONE}, "the tombstone comes first"
        fuse.set(float("inf"))
        remove(root, [GONE])
        assert manifests(root) == manifests(whole), changes
        assert mentions(root, GONE) == []


def test_a_job_between_a_killed_removal_and_its_end_loses_nothing(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fuse = Fuse(monkeypatch)
    for changes in (1, 9, 33):
        root = str(tmp_path / str(changes))
        shutil.copytree(pristine, root)
        fuse.set(changes)
        with pytest.raises(Killed):
            remove(root, [GONE])
        fuse.set(float("inf"))
        list_source(root, (*IDS[:5], *IDS[6:], "Genre 1/ärtist-9_new"))
        small_root.fill(small_root.work_of(root, "artworks"))
        remove(root, [GONE])
        run_all(root)
        expected = set(IDS) - {GONE, IDS[5]} | {"Genre 1/ärtist-9_new"}
        for name in READS:
            assert set(Table(root, name, NUM_BUCKETS).read_all(["id"])["id"].to_pylist()) == expected, name


def test_unfinished_tables_and_quarantine_lose_it_too(tmp_path: Path) -> None:
    root = str(tmp_path)
    create_root(root, NUM_BUCKETS)
    small_root.list_paintings(root)
    small_root.fill(small_root.work_of(root, "artworks"))
    work = small_root.work_of(root, "resized")
    rows = [row for bucket in range(NUM_BUCKETS) for row in work.expected(bucket).to_pylist()]
    beside = [row for row in rows if bucket_of(row["id"], NUM_BUCKETS) == bucket_of(GONE, NUM_BUCKETS)]
    small_root.write(work.table, [row for row in rows if row["id"] != OTHER])
    facts = {"stage": "Letterbox", "reason": "corrupt", "message": GONE, "attempts": 1}
    lost = [row | facts for row in beside]
    work.table.write_quarantine(pa.Table.from_pylist(lost, quarantine_schema("resized")))
    assert len(mentions(root, GONE)) == 4
    remove(root, [GONE])
    assert mentions(root, GONE) == []
    assert work.table.manifest() is None
    assert work.table.parts().num_rows == len(IDS) - 2
    assert work.table.parts().reasons == {"corrupt": len(beside) - 1}


def test_models_that_learned_from_it_are_named_and_reports_that_show_it_are_deleted(root: str) -> None:
    splits = {
        row["id"]: row["split"] for row in Table(root, "splits/a70", NUM_BUCKETS).read_all(["id", "split"]).to_pylist()
    }
    trained, unseen = (next(row_id for row_id in IDS if splits[row_id] == split) for split in ("train", "test"))
    for name, inputs in (("a70", {"triplets/a70": "x"}), ("b80", {"triplets/b80": "x"})):
        store = Store(f"{root}/models/{name}")
        store.write_json("config.json", {"info": {"recipe": {"inputs": inputs}}})
        store.write("report.html", f"Painting {unseen if name == 'b80' else 'another'}".encode())
        store.write("examples/painting.jpg", b"")
    Store(f"{root}/models/half").write("checkpoints/some/0", b"")
    found = remove(root, [trained, unseen])
    assert found.models == {"models/a70": [trained], "models/half": [trained]}
    assert found.reports == ["models/b80"]
    assert Store(f"{root}/models/b80").find() == {"config.json"}
    assert "report.html" in Store(f"{root}/models/a70").find()
    assert remove(root, [trained]).models == found.models, "told again after the splits have forgotten it"


def test_indexes_that_hold_it_are_deleted_and_others_kept(root: str) -> None:
    rest = tuple(row_id for row_id in IDS if row_id != GONE)
    for name, ids in (("holds", IDS), ("other", rest)):
        facts = pa.Table.from_pylist([{"id": row_id, "width": 64, "height": 48} for row_id in ids], FACTS)
        with Builder(settings_of(IndexConfig(), len(ids), 8), len(ids)) as builder:
            builder.add(facts, np.eye(len(ids), 8, dtype=np.float32))
            builder.publish(f"{root}/models/{name}/index", "f1", {})
    Store(f"{root}/models/half/index").write("index.faiss", b"not finished, so nobody knows what is in it")
    found = remove(root, [GONE])
    assert found.indexes == ["models/half", "models/holds"]
    assert mentions(root, GONE) == []
    assert Store(f"{root}/models/holds/index").find() == Store(f"{root}/models/half/index").find() == set()
    assert len(Index.load(f"{root}/models/other", "f1").search(np.eye(1, 8, dtype=np.float32), 99)[0]) == len(rest)
    assert remove(root, [GONE]).indexes == []


def test_the_command_takes_ids_from_a_file_and_tells_what_it_did(root: str, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text(f"{OTHER}\n\n")
    result = CliRunner().invoke(app, ["remove", root, GONE, "--from-file", str(tmp_path / "ids.txt")])
    assert result.exit_code == 0, result.output
    assert "removed 2 works" in result.output
    assert "generated: 4 rows" in result.output
    assert mentions(root, GONE, OTHER) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "error: no work is named: give ids, or --from-file"),
        (["--from-file", "/nowhere.txt"], "error: /nowhere.txt cannot be read: No such file or directory"),
        ([GONE, "--export", "/nowhere"], "error: --export /nowhere: holds no export, and nothing was removed"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_changes(root: str, arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["remove", root, *arguments])
    assert (result.exit_code, result.output) == (1, f"{words}\n")
    assert removed(root) == set()

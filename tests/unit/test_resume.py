"""What is missing, what is stale, and that any run that was killed anywhere ends like one that was not."""

import random
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pytest

from artsim.resume import Input, Work, publish, replace
from artsim.schemas import VERSION_KEY, bucket_of, digest64, quarantine_schema, row_hashes, schema_of
from artsim.store import Store
from artsim.tables import Parts, Table, TableError, claim, create_root, fingerprint, sweep

NUM_BUCKETS = 3
LEVELS = ("moderate", "radical")


@pytest.fixture
def root() -> Iterator[str]:
    url = f"memory://{uuid.uuid4().hex}"
    create_root(url, NUM_BUCKETS)
    yield url
    Store(url).delete([""])


def list_titles(root: str, titles: dict[str, str]) -> None:
    """Make the table `_listing` hold these titles by id."""
    rows = {name: [""] * len(titles) for name in ("uri", "genre", "artist", "subset", "version")}
    names = [name for name in schema_of("_listing").names if not name.endswith("_hash")]
    schema = pa.schema([(name, pa.string()) for name in names])
    columns = {"id": list(titles), "title": list(titles.values())} | rows
    replace(Table(root, "_listing", NUM_BUCKETS), pa.table(columns).select(names).cast(schema))


def put_splits(root: str, splits: dict[str, str]) -> None:
    """Make the table `splits/a70` hold these splits by id."""
    columns = {"id": list(splits), "group": list(splits), "split": list(splits.values())}
    schema = pa.schema([(name, pa.string()) for name in columns])
    replace(Table(root, "splits/a70", NUM_BUCKETS), pa.table(columns).cast(schema))


def captions_of_titles(root: str) -> Work:
    listing = Input.of(Table(root, "_listing", NUM_BUCKETS), {"title": "title"})
    return Work(Table(root, "captions", NUM_BUCKETS), (listing,))


def both_levels(ids: list[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    added = {"level": np.array(LEVELS * len(ids), object), "variant": np.array([0, 3] * len(ids), np.int64)}
    return np.repeat(np.arange(len(ids)), 2), added


def prompts_of_both(root: str, salt: int = 0) -> Work:
    listing = Input.of(Table(root, "_listing", NUM_BUCKETS), {"title": "name"})
    splits = Input.of(Table(root, "splits/a70", NUM_BUCKETS), {"split": "split"})
    return Work(Table(root, "prompts", NUM_BUCKETS), (listing, splits), both_levels, salt)


def each_bucket(found: Iterable[pa.Table]) -> list[dict[str, Any]]:
    return [row for table in found for row in table.to_pylist()]


def missing(work: Work, retry_quarantine: bool = False) -> dict[str, int]:
    """Former attempts of all missing rows, by id."""
    parts = work.table.parts()
    again = parts.quarantine if retry_quarantine else {}
    rows = each_bucket(work.missing(bucket, parts, again.get(bucket, ())) for bucket in range(NUM_BUCKETS))
    return {row["id"]: row["attempts"] for row in rows}


def write_captions(work: Work, captions: dict[str, str]) -> list[str]:
    """Write rows as if a stage had made them from what is upstream now."""
    rows = [row for row in each_bucket(map(work.expected, range(NUM_BUCKETS))) if row["id"] in captions]
    table = pa.Table.from_pylist(
        [row | {"caption": captions[row["id"]], "row_hash": 0} for row in rows], schema_of("captions")
    )
    return work.table.write(table.set_column(3, "row_hash", pa.array(row_hashes(table))))


def write_failures(work: Work, ids: Iterable[str], reason: str = "corrupt", attempts: int = 1) -> None:
    facts = {"stage": "Caption", "reason": reason, "message": "", "attempts": attempts}
    rows = [row | facts for row in each_bucket(map(work.expected, range(NUM_BUCKETS))) if row["id"] in ids]
    work.table.write_quarantine(pa.Table.from_pylist(rows, quarantine_schema("captions")))


def finish(work: Work) -> dict[str, Any]:
    """Settle all buckets, which must lack nothing, and publish."""
    parts = work.table.parts()
    settled = [work.settle(bucket, parts) for bucket in range(NUM_BUCKETS)]
    assert [count for _, count in settled] == [0] * NUM_BUCKETS
    return publish(work.table, [found for found, _ in settled], work.inputs)


def captions(table: Table) -> list[tuple[str, str]]:
    rows = table.read_all(["id", "caption"]).to_pylist()
    return sorted((row["id"], row["caption"]) for row in rows)


def quarantined(table: Table) -> list[tuple[str, str, int]]:
    names = [name for names in table.parts(table.manifest()).quarantine.values() for name in names]
    rows = table.read_quarantine(names).to_pylist()
    return sorted((row["id"], row["reason"], row["attempts"]) for row in rows)


TITLES = {f"g/ä{number}": f"t{number}" for number in range(10)}
MADE = {row_id: title.upper() for row_id, title in TITLES.items()}


def test_every_row_upstream_is_expected_in_its_bucket(root: str) -> None:
    list_titles(root, TITLES)
    work = captions_of_titles(root)
    for bucket in range(NUM_BUCKETS):
        ids = work.expected(bucket)["id"].to_pylist()
        assert sorted(ids) == sorted(row_id for row_id in TITLES if bucket_of(row_id, NUM_BUCKETS) == bucket)
    assert missing(work) == dict.fromkeys(TITLES, 0)


def test_nothing_upstream_is_nothing_to_do(root: str) -> None:
    list_titles(root, {})
    put_splits(root, {})
    for work in (captions_of_titles(root), prompts_of_both(root)):
        assert missing(work) == {}
        assert finish(work)["num_rows"] == 0


def test_rows_without_a_partner_in_all_inputs_are_not_expected(root: str) -> None:
    list_titles(root, {"a": "1", "b": "2", "c": "3"})
    put_splits(root, {"b": "train", "c": "val", "d": "test"})
    found = each_bucket(map(prompts_of_both(root).expected, range(NUM_BUCKETS)))
    keys = {tuple(row[name] for name in VERSION_KEY) for row in found}
    assert keys == {(row_id, level, variant) for row_id in "bc" for level, variant in zip(LEVELS, (0, 3), strict=True)}
    assert len(found) == len(keys)


def test_rows_of_any_buckets_are_read_under_the_stages_names(root: str) -> None:
    list_titles(root, TITLES)
    put_splits(root, {row_id: f"split of {row_id}" for row_id in TITLES})
    work = prompts_of_both(root)
    plans = [work.missing(bucket, work.table.parts()) for bucket in range(NUM_BUCKETS)]
    whole = pa.concat_tables(plans)
    for wanted in (*plans, whole, whole.take(list(range(len(whole) - 1, -1, -1))), whole.slice(1, 3)):
        rows = work.read(wanted).to_pylist()
        names = [tuple(row[name] for name in VERSION_KEY) for row in rows]
        assert sorted(names) == sorted(tuple(row[name] for name in VERSION_KEY) for row in wanted.to_pylist())
        assert all(row["name"] == TITLES[row["id"]] for row in rows)
        assert all(row["split"] == f"split of {row['id']}" for row in rows)


def test_what_is_done_is_not_missing_and_what_changed_upstream_is(root: str) -> None:
    list_titles(root, TITLES)
    work = captions_of_titles(root)
    write_captions(work, MADE)
    assert missing(work) == {}
    finish(work)
    list_titles(root, TITLES | {"g/ä3": "new", "g/new": "x"})
    assert missing(captions_of_titles(root)) == {"g/ä3": 0, "g/new": 0}
    put_splits(root, dict.fromkeys(TITLES, "train"))
    before = each_bucket(map(prompts_of_both(root).expected, range(NUM_BUCKETS)))
    put_splits(root, dict.fromkeys(TITLES, "train") | {"g/ä5": "val"})
    after = each_bucket(map(prompts_of_both(root).expected, range(NUM_BUCKETS)))
    assert {row["id"] for row in before if row not in after} == {"g/ä5"}


def test_another_salt_makes_all_anew(root: str) -> None:
    list_titles(root, TITLES)
    put_splits(root, dict.fromkeys(TITLES, "train"))
    hashes = [
        {row["input_hash"] for row in each_bucket(map(prompts_of_both(root, salt).expected, range(NUM_BUCKETS)))}
        for salt in (0, 1, 2**64 - 1)
    ]
    assert len(set.union(*hashes)) == sum(map(len, hashes)) == 3 * len(TITLES)


def test_stale_rows_leave_the_finished_table(root: str) -> None:
    list_titles(root, TITLES)
    write_captions(captions_of_titles(root), {row_id: text for row_id, text in MADE.items() if row_id != "g/ä1"})
    write_failures(captions_of_titles(root), ["g/ä1"])
    finish(captions_of_titles(root))
    left = {"g/ä3": "new", "g/ä4": "t4"}
    list_titles(root, left)
    work = captions_of_titles(root)
    write_captions(work, {"g/ä3": "NEW"})
    finish(work)
    assert captions(work.table) == [("g/ä3", "NEW"), ("g/ä4", "T4")]
    assert quarantined(work.table) == []


def test_rows_that_stand_twice_are_reduced_to_one(root: str) -> None:
    list_titles(root, TITLES)
    work = captions_of_titles(root)
    write_captions(work, MADE)
    write_captions(work, {row_id: MADE[row_id] for row_id in list(MADE)[:4]})
    write_captions(work, {"g/ä0": "sampled another time"})
    assert work.table.parts().num_rows == 15
    manifest = finish(work)
    assert manifest["num_rows"] == 10
    assert [row_id for row_id, _ in captions(work.table)] == sorted(TITLES)


def test_quarantined_rows_count_as_settled_until_they_are_retried(root: str) -> None:
    list_titles(root, TITLES)
    work = captions_of_titles(root)
    write_failures(work, ["g/ä0", "g/ä1"])
    write_captions(work, {row_id: text for row_id, text in MADE.items() if row_id not in ("g/ä0", "g/ä1")})
    assert missing(work) == {}
    assert missing(work, retry_quarantine=True) == {"g/ä0": 1, "g/ä1": 1}
    finish(work)
    write_captions(work, {"g/ä0": "done at last"})
    write_failures(work, ["g/ä1"], reason="timeout", attempts=2)
    assert missing(work, retry_quarantine=True) == {"g/ä1": 2}
    manifest = finish(work)
    assert quarantined(work.table) == [("g/ä1", "timeout", 2)]
    assert (manifest["num_rows"], manifest["quarantined"]) == (9, {"timeout": 1})
    assert ("g/ä0", "done at last") in captions(work.table)


def test_a_retry_that_begins_anew_leaves_out_what_failed_since_then(root: str) -> None:
    list_titles(root, {"a": "t", "b": "t"})
    work = captions_of_titles(root)
    write_failures(work, ["a", "b"])
    again = work.table.parts().quarantine
    write_failures(work, ["a"], attempts=2)
    parts = work.table.parts()
    left = each_bucket(work.missing(bucket, parts, again.get(bucket, ())) for bucket in range(NUM_BUCKETS))
    assert [(row["id"], row["attempts"]) for row in left] == [("b", 1)]


@pytest.mark.parametrize(("first", "second"), [("corrupt", "timeout"), ("timeout", "corrupt")])
def test_of_several_attempts_the_last_one_counts(root: str, first: str, second: str) -> None:
    list_titles(root, {"a": "t"})
    work = captions_of_titles(root)
    write_failures(work, ["a"], first, attempts=1)
    write_failures(work, ["a"], second, attempts=2)
    assert missing(work, retry_quarantine=True) == {"a": 2}
    finish(work)
    assert quarantined(work.table) == [("a", second, 2)]


def test_a_quarantined_row_that_changed_upstream_is_tried_as_new(root: str) -> None:
    list_titles(root, {"a": "broken", "b": "fine"})
    write_failures(captions_of_titles(root), ["a"], attempts=4)
    list_titles(root, {"a": "mended", "b": "fine"})
    assert missing(captions_of_titles(root)) == {"a": 0, "b": 0}


def test_what_is_missing_is_counted_and_nothing_is_deleted(root: str) -> None:
    list_titles(root, TITLES)
    work = captions_of_titles(root)
    write_captions(work, {"g/ä0": "0", "g/ä1": "1"})
    before = work.table.store.find()
    settled = [work.settle(bucket, work.table.parts()) for bucket in range(NUM_BUCKETS)]
    assert sum(count for _, count in settled) == 8
    assert work.table.store.find() == before


def test_a_crash_before_the_manifest_leaves_a_table_that_resumes(root: str) -> None:
    list_titles(root, TITLES)
    work = captions_of_titles(root)
    write_captions(work, MADE)
    manifest = finish(work)
    work.table.store.delete(["_parts.json"])
    write_captions(work, {"g/ä2": "stray"})
    work.table.store.write(".tmp-half", b"PAR1")
    with pytest.raises(TableError, match=r"captions .* is not finished"):
        Input.of(work.table, {})
    sweep(work.table, work.table.manifest())
    assert missing(work) == {}
    again = finish(work)
    assert again["num_rows"] == manifest["num_rows"] == len(captions(work.table))
    assert work.table.store.find() == {"_parts.json", *again["parts"]}


def test_a_table_is_current_until_an_input_changes(root: str) -> None:
    list_titles(root, TITLES)
    work = captions_of_titles(root)
    write_captions(work, MADE)
    manifest = finish(work)
    list_titles(root, dict(reversed(TITLES.items())))
    assert captions_of_titles(root).is_current(manifest)
    for other in (TITLES | {"g/ä0": ""}, TITLES | {"g/new": ""}, dict(list(TITLES.items())[1:])):
        list_titles(root, other)
        assert not captions_of_titles(root).is_current(manifest)


class Killed(BaseException):
    """The process ended here."""


class Fuse:
    """Ends the process at the n-th change on disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left: float = float("inf")
        put, delete = Store.put, Store.delete

        @contextmanager
        def fused_put(store: Store, name: str) -> Iterator[BinaryIO]:
            self._burn()
            with put(store, name) as file:
                yield file

        def fused_delete(store: Store, names: Iterable[str]) -> None:
            for name in names:
                below = sorted(store.find()) if name == "" else [name]  # a folder does not vanish at once
                for file in below:
                    self._burn()
                    delete(store, [file])

        monkeypatch.setattr(Store, "put", fused_put)
        monkeypatch.setattr(Store, "delete", fused_delete)

    def set(self, changes: float) -> None:
        self._left = changes

    def _burn(self) -> None:
        if self._left <= 0:
            raise Killed
        self._left -= 1


def prompt_job(root: str, recipe: dict[str, Any], retry_quarantine: bool = False) -> int:
    """What the pipeline does, without Ray: titles become prompts, bad ones are quarantined; returns rows tried."""
    work = prompts_of_both(root, digest64(fingerprint(recipe)))
    claim(work.table, recipe, {}, overwrite=True)
    manifest = work.table.manifest()
    sweep(work.table, manifest)
    if manifest is not None and work.is_current(manifest) and not retry_quarantine:
        return 0
    parts = work.table.parts()
    again = parts.quarantine if retry_quarantine else {}
    plans = [work.missing(bucket, parts, again.get(bucket, ())) for bucket in range(NUM_BUCKETS)]
    if any(map(len, plans)):
        work.table.store.delete(["_parts.json"])
    for plan in plans:
        for start in range(0, len(plan), 3):
            make_prompts(work.table, work.read(plan.slice(start, 3)), recipe)
    finish(work)
    return sum(map(len, plans))


def make_prompts(table: Table, rows: pa.Table, recipe: dict[str, Any]) -> None:
    done, failed = [], []
    for row in rows.to_pylist():
        prompt = f"{recipe['style']} {row['name']} {row['split']} {row['level']}"
        failure = {"stage": "Prompt", "reason": "corrupt", "message": "", "attempts": row["attempts"] + 1}
        made = {"approach": "", "prompt": prompt, "num_tokens": 1, "row_hash": digest64(prompt)}
        (failed if "bad" in row["name"] else done).append(row | (failure if "bad" in row["name"] else made))
    table.write(pa.Table.from_pylist(done, schema_of("prompts")))
    table.write_quarantine(pa.Table.from_pylist(failed, quarantine_schema("prompts")))


def change(choose: random.Random, titles: dict[str, str], splits: dict[str, str]) -> None:
    """Add, change or remove a few rows upstream."""
    for _ in range(choose.randrange(4)):
        row_id = f"g/{choose.randrange(12)}"
        if choose.random() < 0.3:
            titles.pop(row_id, None)
        else:
            titles[row_id] = choose.choice(["bad ", ""]) + str(choose.randrange(5))
        if choose.random() < 0.2:
            splits.pop(row_id, None)
        else:
            splits[row_id] = choose.choice(["train", "val"])


def check_prompts(root: str, titles: dict[str, str], splits: dict[str, str], recipe: dict[str, Any]) -> None:
    table = Table(root, "prompts", NUM_BUCKETS)
    parts: Parts = table.parts(table.finished())
    names = [name for names in parts.rows.values() for name in names]
    rows = table.read(names, [*VERSION_KEY, "prompt"]).to_pylist() if names else []
    both = [
        (row_id, level, variant)
        for row_id in titles.keys() & splits.keys()
        for level, variant in zip(LEVELS, (0, 3), strict=True)
    ]
    good = {key: f"{recipe['style']} {titles[key[0]]} {splits[key[0]]} {key[1]}" for key in both}
    good = {key: prompt for key, prompt in good.items() if "bad" not in prompt}
    assert sorted((row["id"], row["level"], row["variant"], row["prompt"]) for row in rows) == sorted(
        (*key, prompt) for key, prompt in good.items()
    )
    lost = [row for names in parts.quarantine.values() for row in table.read_quarantine(names).to_pylist()]
    assert sorted(tuple(row[name] for name in VERSION_KEY) for row in lost) == sorted(set(both) - set(good))
    quarantine = [f"_quarantine/{name}" for names in parts.quarantine.values() for name in names]
    assert table.store.find() == {"_table.json", "_parts.json", *names, *quarantine}


def check_manifests(root: str) -> None:
    """Whoever reads a table beside the job finds each part that a manifest names."""
    for name in ("_listing", "splits/a70", "prompts"):
        table = Table(root, name, NUM_BUCKETS)
        manifest = table.manifest() or {"parts": [], "quarantine_parts": []}
        named = {*manifest["parts"], *(f"_quarantine/{part}" for part in manifest["quarantine_parts"])}
        assert named <= table.store.find()


@pytest.mark.parametrize("seed", range(6))
def test_killed_anywhere_nothing_is_lost_or_doubled(seed: int, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    choose, fuse = random.Random(seed), Fuse(monkeypatch)
    titles: dict[str, str] = {}
    splits: dict[str, str] = {}
    recipe = {"style": 0}
    for _ in range(12):
        if choose.random() < 0.2:
            recipe = {"style": choose.randrange(3)}
        killed = True
        while killed:
            change(choose, titles, splits)
            fuse.set(choose.randrange(25))
            try:
                list_titles(root, titles)
                put_splits(root, splits)
                prompt_job(root, recipe, retry_quarantine=choose.random() < 0.2)
                killed = False
            except Killed:
                check_manifests(root)
        fuse.set(float("inf"))
        check_prompts(root, titles, splits, recipe)
        assert prompt_job(root, recipe) == 0


def test_every_single_place_to_be_killed_at_ends_in_the_same_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a local disk, one kill at each change in turn; rows done before it are not tried again."""
    fuse = Fuse(monkeypatch)
    titles, splits = (
        {f"g/{row}": str(row) for row in range(8)} | {"g/8": "bad"},
        {f"g/{row}": "train" for row in range(9)},
    )
    changes, survived = 0, False
    while not survived:
        root = str(tmp_path / str(changes))
        fuse.set(float("inf"))
        create_root(root, NUM_BUCKETS)
        list_titles(root, titles)
        put_splits(root, splits)
        fuse.set(changes)
        try:
            prompt_job(root, {"style": 1})
            survived = True
        except Killed:
            changes += 1
        fuse.set(float("inf"))
        found = Table(root, "prompts", NUM_BUCKETS).parts()
        accounted = found.num_rows + sum(found.reasons.values())
        assert prompt_job(root, {"style": 1}) == 18 - accounted
        check_prompts(root, titles, splits, {"style": 1})
    assert changes > 8

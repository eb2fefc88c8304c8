"""The regenerated set as others get it: every version with all that is known of it, marked, and a card at the end."""

import csv
import io
import json
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from artsim import formats
from artsim.card import CARD, makers
from artsim.cli import app
from artsim.export import ExportError, Samples, export
from artsim.images import decode_jpeg
from artsim.mark import ALGORITHMIC, TRAINED
from artsim.schemas import quarantine_schema
from artsim.store import Store
from artsim.tables import Table, TableError, create_root
from tests.unit import small_root
from tests.unit.small_root import IDS, NUM_BUCKETS, SIZE
from tests.unit.test_mark import source_type

Sample = dict[str, Any]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("root"))
    small_root.make(folder)
    return folder


@pytest.fixture(params=["local", "memory"])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    url = str(tmp_path / "out") if request.param == "local" else f"memory://{uuid.uuid4().hex}"
    yield url
    Store(url).delete([""])


def read_folders(store: Store) -> list[Sample]:
    lines = csv.DictReader(io.StringIO((store.read("metadata.csv") or b"").decode(), newline=""))
    names = {"image": "file_name", "original": "original_file_name"}
    return [row | {kind: store.read(row[name]) for kind, name in names.items() if name in row} for row in lines]


def read_parquet(store: Store) -> list[Sample]:
    names = sorted(name for name in store.find() if name.endswith(".parquet"))
    return [row for name in names for row in pq.read_table(io.BytesIO(store.read(name) or b"")).to_pylist()]


def read_webdataset(store: Store) -> list[Sample]:
    samples: dict[str, Sample] = {}
    for shard in sorted(name for name in store.list() if name.endswith(".tar")):
        with tarfile.open(fileobj=io.BytesIO(store.read(shard) or b"")) as tar:
            for member in tar:
                key, kind = member.name.split(".", 1)
                file = tar.extractfile(member)
                assert file is not None
                samples.setdefault(key, {})[kind] = file.read()
    names = {"jpg": "image", "original.jpg": "original", "txt": "text"}
    rows = [
        json.loads(sample["json"]) | {names[kind]: sample[kind] for kind in names if kind in sample}
        for sample in samples.values()
    ]
    assert all(row["text"].decode() == row["prompt"] for row in rows)
    return rows


READ = {"folders": read_folders, "parquet": read_parquet, "webdataset": read_webdataset}


def key(row: Sample) -> tuple[str, str, int]:
    return row["id"], row["level"], int(row["variant"])


def table(root: str, name: str) -> dict[tuple[Any, ...], Sample]:
    found = Table(root, name, NUM_BUCKETS)
    rows = found.store.read_parquet(found.finished()["parts"]).to_pylist()
    return {tuple(row[column] for column in found.key): row for row in rows}


@pytest.mark.parametrize("form", READ)
def test_every_version_comes_once_with_all_that_is_known_of_it(root: str, destination: str, form: str) -> None:
    counts = export(root, destination, form, "square")
    rows = READ[form](Store(destination))
    assert counts == {"versions": 28, "paintings": 14, "moderate": 14, "radical": 14}
    generated, prompts, captions = (table(root, name) for name in ("generated", "prompts", "generated_captions"))
    artworks, resized, splits = (table(root, name) for name in ("artworks", "resized", "splits/a70"))
    assert {key(row) for row in rows} == set(generated)
    assert len(rows) == len(generated)
    for row in rows:
        painting = artworks[row["id"],]
        assert int(row["seed"]) == generated[key(row)]["seed"]
        assert {name: row[name] for name in ("approach", "prompt")} == {
            name: prompts[key(row)][name] for name in ("approach", "prompt")
        }
        assert row["caption"] == table_caption(root, row["id"])
        assert row["generated_caption"] == captions[key(row)]["caption"]
        assert row["split_a70"] == splits[row["id"],]["split"]
        assert {name: row[name] for name in ("genre", "artist", "title", "sha256")} == {
            name: painting[name] for name in ("genre", "artist", "title", "sha256")
        }
        assert row["source_uri"] == painting["uri"]
        box = json.loads(row["box"]) if form == "folders" else row["box"]
        assert box == [0, 8, SIZE, 48]
        assert np.array_equal(decode_jpeg(row["image"]), decode_jpeg(generated[key(row)]["image"]))
        assert source_type(row["image"]) == ALGORITHMIC
        assert row["original"] == resized[row["id"],][f"image_{SIZE}"], "a painting is no machine's"


def table_caption(root: str, row_id: str) -> str:
    caption: str = table(root, "captions")[row_id,]["caption"]
    return caption


def test_paintings_can_be_cut_to_their_content_or_left_out(root: str, tmp_path: Path) -> None:
    export(root, str(tmp_path / "cut"), "parquet", "content")
    for row in read_parquet(Store(str(tmp_path / "cut"))):
        whole = decode_jpeg(table(root, "resized")[row["id"],][f"image_{SIZE}"])
        cut = decode_jpeg(row["original"])
        assert cut.shape == (48, SIZE, 3)
        assert np.abs(cut.astype(int) - whole[8:56]).mean() < 10  # a row too far: 85
    export(root, str(tmp_path / "none"), "folders")
    assert not (tmp_path / "none" / "originals").exists()
    assert "original_file_name" not in read_folders(Store(str(tmp_path / "none")))[0]


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_shards_stay_small_and_lose_nothing(
    root: str, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "SHARD_BYTES", 30_000)
    export(root, str(tmp_path / "out"), form, "square")
    shards = [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".parquet", ".tar")]
    assert len(shards) > 2
    assert {key(row) for row in READ[form](Store(str(tmp_path / "out")))} == set(table(root, "generated"))


def test_the_same_export_has_the_same_bytes(root: str, tmp_path: Path) -> None:
    for form in READ:
        for name in ("a", "b"):
            export(root, str(tmp_path / form / name), form, "square")
        one, other = (Store(str(tmp_path / form / name)) for name in ("a", "b"))
        assert one.find() == other.find()
        assert all(one.read(name) == other.read(name) for name in one.find())


def test_no_more_than_a_part_of_pictures_is_handed_out_at_once(root: str) -> None:
    num_parts = len(Table(root, "generated", NUM_BUCKETS).finished()["parts"])
    sizes = [len(some) for some in Samples(root)]
    assert num_parts > NUM_BUCKETS
    assert len(sizes) == num_parts
    assert sum(sizes) == 2 * len(IDS)


def test_the_card_is_written_last_and_says_what_made_it(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Store(str(tmp_path / "out"))

    def broken(*_: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(formats.ParquetShards, "close", broken)
        with pytest.raises(OSError, match="disk full"):
            export(root, out.url, "parquet")
    assert out.find()
    assert CARD not in out.find()
    with pytest.raises(ExportError, match=rf"is not empty, and has no {CARD}: .* name another destination"):
        export(root, out.url, "parquet")
    out.delete([""])
    lost = small_root.work_of(root, "artworks").table
    export(root, out.url, "parquet")
    card = (out.read(CARD) or b"").decode()
    for words in (
        "28 pictures (14 moderate, 14 radical)",
        "14 paintings",
        "| versions | Generate, ArtSim's local stand-in",
    ):
        assert words in card
    assert "The paintings' rights are their owners'" in card
    assert ALGORITHMIC in card
    assert "no row is in quarantine" in card
    assert lost.manifest() is not None
    with pytest.raises(ExportError, match="holds an export already"):
        export(root, out.url, "parquet")


def test_models_are_named_with_revision_and_licence(tmp_path: Path) -> None:
    refiner = {"id": "stabilityai/stable-diffusion-xl-refiner-1.0", "revision": "5d4c"}
    settings = {"generate": {"model": refiner, "vae": {"id": "me/mine", "revision": "r1"}}, "seed": 0}
    prompt = {"model": {"id": "meta-llama/Meta-Llama-3-8B-Instruct", "revision": "8afb"}, "tokenizer": refiner}
    found = makers(
        {
            "generated": {"stage": "GenerateWithModel", "version": 2, "settings": settings},
            "prompts": {"stage": "WritePromptWithModel", "version": 1, "settings": {"prompt": prompt}},
        }
    )
    assert [(maker.step, maker.model, maker.revision) for maker in found] == [
        ("prompts", "meta-llama/Meta-Llama-3-8B-Instruct", "8afb"),
        ("versions", "stabilityai/stable-diffusion-xl-refiner-1.0", "5d4c"),
        ("versions", "me/mine", "r1"),
    ]
    assert found[0].licence.startswith("Meta Llama 3 Community License")
    assert found[1].licence.startswith("CreativeML Open RAIL++-M")
    assert found[2].licence == "see its model card"


def test_what_a_model_made_is_marked_as_a_trained_models(tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    create_root(root, NUM_BUCKETS)
    small_root.list_paintings(root)
    for name in ("artworks", "resized", "captions", "prompts"):
        small_root.fill(small_root.work_of(root, name))
    small_root.fill(small_root.work_of(root, "generated", stage="GenerateWithModel"))
    export(root, str(tmp_path / "out"), "folders")
    rows = read_folders(Store(str(tmp_path / "out")))
    assert {source_type(row["image"]) for row in rows} == {TRAINED}
    assert "generated_caption" not in rows[0]
    assert not [name for name in rows[0] if name.startswith("split")]


def test_quarantined_rows_are_told(tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    create_root(root, NUM_BUCKETS)
    small_root.list_paintings(root)
    for name in small_root.READS:
        work = small_root.work_of(root, name)
        if name == "resized":
            row = work.missing(0, work.table.parts(), False).slice(0, 1).to_pylist()[0]
            facts = {"stage": "Letterbox", "reason": "truncated", "message": "", "attempts": 1}
            work.table.write_quarantine(quarantined(row | facts))
        small_root.fill(work)
    counts = export(root, str(tmp_path / "out"), "parquet")
    assert counts["paintings"] == len(IDS) - 1
    assert "- resized: truncated 1" in (tmp_path / "out" / CARD).read_text()


def quarantined(row: Sample) -> pa.Table:
    return pa.Table.from_pylist([row], quarantine_schema("resized"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--as", "zip"], "--as zip: must be one of folders, parquet, webdataset"),
        (["--originals", "all"], "--originals all: must be one of none, square, content"),
    ],
)
def test_a_mistake_is_one_sentence(root: str, tmp_path: Path, arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["export", root, str(tmp_path / "out"), *arguments])
    assert (result.exit_code, result.output) == (1, f"error: {words}\n")
    assert not (tmp_path / "out").exists()


def test_a_root_without_versions_has_nothing_to_export(tmp_path: Path) -> None:
    create_root(str(tmp_path / "root"), NUM_BUCKETS)
    with pytest.raises(TableError, match=r"table artworks below .* is not finished"):
        export(str(tmp_path / "root"), str(tmp_path / "out"), "folders")
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_it_wrote(root: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["export", root, str(tmp_path / "out"), "--as", "webdataset"])
    assert (result.exit_code, result.output) == (0, f"28 versions of 14 paintings in {tmp_path / 'out'}\n")

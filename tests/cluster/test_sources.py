"""A source of Parquet shards through real jobs: unpacked once, measured, resized, and its pairs taken."""

import re
from io import BytesIO
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from artsim.config import SourceConfig
from artsim.sources import fetch, list_source
from artsim.store import Store
from artsim.tables import Table, open_root, status
from jobs import ingest, pairs, resize

pytestmark = pytest.mark.cluster


def picture(seed: int) -> dict[str, object]:
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 60, 3), np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": f"ann_{seed}.png"}


def write_shards(folder: Path) -> None:
    """Two shards of three pairs; one painting is missing."""
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for shard in range(2):
        seeds = range(3 * shard, 3 * shard + 3)
        originals = [None if seed == 4 else picture(seed) for seed in seeds]
        columns = {
            "original_image": pa.array(originals, image),
            "generated_image": pa.array([picture(100 + seed) for seed in seeds], image),
            "prompt": pa.array([f"prompt {seed}" for seed in seeds]),
        }
        pq.write_table(pa.table(columns), folder / f"train-{shard:05d}-of-00002.parquet")


def test_shards_are_unpacked_once_and_read_by_the_jobs(
    cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, root = tmp_path / "source", tmp_path / "root"
    source.mkdir()
    write_shards(source)
    settings = [f"root={root}", "num_buckets=2", "max_failure_rate=0.5", "letterbox.sizes=[64]", "generate.size=64"]
    settings += [f"source.uri={source}", "source.columns={uri: original_image}", "embed.size=64"]
    ingest.main(settings)
    first = capsys.readouterr().out
    assert re.search(r"^2 Parquet files unpacked into .*/_source \(", first)
    assert "artworks: 5 rows, 1 quarantined, 5 new" in first
    copies = {path: path.stat().st_mtime_ns for path in (root / "_source").iterdir()}
    ingest.main(settings)
    second = capsys.readouterr().out
    assert "unpacked" not in second
    assert "0 new in" in second
    assert {path: path.stat().st_mtime_ns for path in (root / "_source").iterdir()} == copies
    resize.main(settings)
    pairs.main([*settings, f"pairs.uri={source}", "pairs.prompt=prompt"])
    tables = status(str(root))["tables"]
    assert tables["artworks"]["quarantined"] == {"empty": 1}
    assert [tables[name]["done"] for name in ("resized", "prompts", "generated")] == [5, 5, 5]
    prompts = Table(str(root), "prompts", open_root(str(root))).read_all(("id", "prompt")).to_pylist()
    assert {row["id"]: row["prompt"] for row in prompts} == {
        f"ann_{seed}": f"prompt {seed}" for seed in (0, 1, 2, 3, 5)
    }


@pytest.mark.s3
def test_a_source_and_a_root_on_an_object_store(s3: None, tmp_path: Path) -> None:
    write_shards(tmp_path)
    files = fsspec.filesystem("s3")
    files.put([str(path) for path in tmp_path.glob("*.parquet")], "art/shards/")
    config = SourceConfig(uri="s3://art/shards", columns={"uri": "original_image"})
    rows = list_source(config, "s3://art/root").to_pylist()
    assert rows == list_source(config, "s3://art/root").to_pylist()
    contents, errors = fetch([row["uri"] for row in rows], max_bytes=100_000)
    assert dict(zip([row["id"] for row in rows], contents, strict=True)) == {
        f"ann_{seed}": picture(seed)["bytes"] for seed in (0, 1, 2, 3, 5)
    } | {"train-00001-of-00002-000001": None}
    assert sorted(error.split(":")[0] for error in errors if error) == ["empty"]
    copies = list_source(SourceConfig(uri="s3://art/root/_source/"), "").to_pylist()
    assert len(copies) == 11  # as any tar: all pictures of both columns


@pytest.mark.s3
def test_a_file_in_pieces_on_an_object_store(s3: None) -> None:
    def write(name: str, divisor: int) -> None:
        with Store("s3://art/pieces").create(name) as file:
            file.write(bytes(60_000_000))  # more than one part of an upload
            file.write(bytes(1 // divisor))

    with pytest.raises(ZeroDivisionError):
        write("half", 0)
    write("whole", 1)
    assert Store("s3://art/pieces").list() == ["whole"]
    assert fsspec.filesystem("s3").info("art/pieces/whole")["size"] == 60_000_001


def test_a_broken_shard_is_one_sentence_and_the_others_are_kept(cluster: None, tmp_path: Path) -> None:
    write_shards(tmp_path)
    broken = tmp_path / "train-00001-of-00002.parquet"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:4] + b"\xff" * 300 + whole[304:])
    settings = [f"root={tmp_path}/root", f"source.uri={tmp_path}", "source.columns.uri=original_image"]
    with pytest.raises(ValueError, match=r"train-00001-of-00002\.parquet cannot be read as Parquet .*: copy it again"):
        ingest.main(settings)
    assert {path.name[:11] for path in (tmp_path / "root/_source").iterdir()} == {"train-00000"}

"""Tables of pairs that exist already: what becomes of their rows, and the sentence where one makes no sense."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artsim.config import GenerateConfig, PairsConfig, SourceConfig
from artsim.images import crop_box, decode_jpeg, encode_jpeg
from artsim.pairs import Paintings, list_pairs
from artsim.sources import SourceError, fetch, list_source
from artsim.stages.pair import TakePrompt, TakeVersion
from tests.unit.source_files import image, write_shard

PAINTINGS = Paintings(*[{"Baroque/ann_one", "Cubism/bob_two"}] * 2)
TABLE = """original,file,alpha,prompt
Baroque/ann_one.jpg,Baroque/one_030.jpg,0.3,softer
Baroque/ann_one.jpg,Baroque/one_100.jpg,1.0,
Baroque/ann_one.jpg,Baroque/one_101.jpg,1.0,again
Cubism/bob_two.png,Cubism/gone.jpg,1.0,louder
"""


def pairs(folder: Path, text: str = TABLE, **settings: object) -> PairsConfig:
    for name in ("one_030", "one_100", "one_101"):
        file = folder / "Baroque" / f"{name}.jpg"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(encode_jpeg(np.full((20, 40, 3), 90, np.uint8), 95))
    (folder / "pairs.csv").write_text(text)
    columns = {"original": "original", "generated": "file", "level": "alpha", "prompt": "prompt"}
    levels = {"levels": {"0.3": "moderate", "1.0": "radical"}}
    return PairsConfig(**{"uri": str(folder / "pairs.csv")} | columns | levels | settings)


def test_every_row_becomes_a_version_of_its_painting(tmp_path: Path) -> None:
    rows = list_pairs(pairs(tmp_path), PAINTINGS)[0].to_pylist()
    keys = [(row["id"], row["level"], row["variant"]) for row in rows]
    one = "Baroque/ann_one"
    assert keys == [(one, "moderate", 0), (one, "radical", 0), (one, "radical", 1), ("Cubism/bob_two", "radical", 0)]
    assert [Path(row["uri"]).name for row in rows] == ["one_030.jpg", "one_100.jpg", "one_101.jpg", "gone.jpg"]
    assert [row["prompt"] for row in rows] == ["softer", "", "again", "louder"]
    assert [row["version"] == "missing" for row in rows] == [False, False, False, True]


def test_a_version_that_changes_is_noticed(tmp_path: Path) -> None:
    config = pairs(tmp_path)
    before, _ = list_pairs(config, PAINTINGS)
    (tmp_path / "Baroque/one_100.jpg").write_bytes(b"longer or shorter than it was")
    changed = np.array(before["version"]) != np.array(list_pairs(config, PAINTINGS)[0]["version"])
    assert changed.tolist() == [False, True, False, False]


def test_parquet_and_one_level_for_all(tmp_path: Path) -> None:
    pairs(tmp_path)
    table = pa.table({"original_image": ["Baroque/ann_one.jpg"], "generated_image": ["Baroque/one_030.jpg"]})
    pq.write_table(table, tmp_path / "pairs.parquet")
    found, _ = list_pairs(PairsConfig(uri=str(tmp_path / "pairs.parquet"), default_level="moderate"), PAINTINGS)
    assert found.select(["level", "prompt"]).to_pylist() == [{"level": "moderate", "prompt": ""}]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"original": "painting"}, "has no column painting: .* one of original, file, alpha, prompt"),
        ({"levels": {"0.3": "moderate"}}, r"alpha = 1\.0: pairs\.levels knows only 0\.3"),
        ({"uri": "/nowhere/pairs.csv"}, "/nowhere/pairs.csv cannot be read"),
        ({"original": "file"}, r"file = Baroque/one_030\.jpg is no painting of the source"),
    ],
)
def test_a_mistake_is_one_sentence(settings: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        list_pairs(pairs(tmp_path, **settings), PAINTINGS)
    assert "\n" not in str(caught.value)


def test_pairs_of_paintings_in_quarantine_are_left_out_and_counted(tmp_path: Path) -> None:
    paintings = Paintings(PAINTINGS.listed, {"Cubism/bob_two"})
    rows, left_out = list_pairs(pairs(tmp_path), paintings)
    assert (rows["id"].to_pylist(), left_out) == (["Cubism/bob_two"], 3)
    assert list_pairs(pairs(tmp_path), Paintings(PAINTINGS.listed, set()))[1] == 4


def test_pictures_in_the_file_are_known_by_their_bytes(tmp_path: Path) -> None:
    originals = [image(b"one"), image(b"two"), image(b"one"), image(b"lost")]
    generated = [image(b"one moved"), image(b"two moved"), image(b"one again"), None]
    pictures, texts = {"original_image": originals, "generated_image": generated}, {"prompt": list("abcd")}
    uri = str(write_shard(tmp_path / "data/pairs.parquet", pictures, {"artist": [1, 2, 1, 0]}, texts))
    root = str(tmp_path / "root")
    source = list_source(SourceConfig(uri=uri, columns={"uri": "original_image"}), root).to_pylist()
    assert [row["artist"] for row in source] == ["boris-kustodiev", "claude-monet", None]
    versions = {row["version"]: row["id"] for row in source}
    paintings = Paintings(set(versions.values()), {row["id"] for row in source[:2]}, versions)
    config = PairsConfig(uri=str(tmp_path / "data"), prompt="prompt")
    rows, left_out = list_pairs(config, paintings, root)
    one, two = (row["id"] for row in source[:2])
    keys = [(row["id"], row["variant"], row["prompt"]) for row in rows.to_pylist()]
    assert (keys, left_out) == ([(one, 0, "a"), (two, 0, "b"), (one, 1, "c")], 1)
    assert fetch(rows["uri"].to_pylist(), 100) == ([b"one moved", b"two moved", b"one again"], [None] * 3)
    rows, _ = list_pairs(config, Paintings(paintings.listed, paintings.listed, versions), root)
    assert str(fetch(rows["uri"].to_pylist(), 100)[1][3]).startswith("empty: ")
    with pytest.raises(SourceError, match=r"is no painting of the source: ingest the same file first, source\.uri="):
        list_pairs(config, PAINTINGS, root)


def test_a_row_that_names_no_version_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"pairs\.csv: row 2 names no picture"):
        list_pairs(pairs(tmp_path, TABLE.replace("Baroque/one_100.jpg", "")), PAINTINGS)


def test_names_of_digits_are_names(tmp_path: Path) -> None:
    (tmp_path / "7.csv").write_text("original_image,generated_image\n7,8\n")
    rows, _ = list_pairs(PairsConfig(uri=str(tmp_path / "7.csv")), Paintings({"7"}, {"7"}))
    assert rows.select(["id", "version"]).to_pylist() == [{"id": "7", "version": "missing"}]


def test_a_table_without_rows_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no rows"):
        list_pairs(pairs(tmp_path, "original,file,alpha,prompt\n"), PAINTINGS)


def test_versions_are_fitted_into_squares_and_broken_ones_fail_alone() -> None:
    wide = encode_jpeg(np.full((30, 60, 3), 200, np.uint8), 95)
    result = TakeVersion(GenerateConfig(size=64), 10_000)({"image": np.array([wide, b"no picture"], object)})
    assert result["box"].tolist() == [[0, 16, 64, 32], [0, 0, 0, 0]]
    square = decode_jpeg(result["image"][0])
    assert square.shape == (64, 64, 3)
    assert abs(float(crop_box(square, result["box"][0]).mean()) - 200) < 2
    assert result["image"][1] is None
    assert result["error"][0] is None
    assert result["error"][1].startswith("not_an_image: ")


def test_prompts_are_kept_as_they_are() -> None:
    result = TakePrompt()({"prompt": np.array(["a wet street", None], object)})
    assert result["prompt"].tolist() == ["a wet street", ""]
    assert set(result["approach"]) == {"given"}

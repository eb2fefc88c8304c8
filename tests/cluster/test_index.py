"""Thumbnails and index as jobs make them: of every painting, found again, taken out with a work, made anew after."""

import io
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artsim.index import Index, IndexMissingError
from artsim.scorer import Scorer
from artsim.thumbnails import Thumbnails
from tests.cluster.programs import NUM_PAINTINGS, artsim, contents, run

pytestmark = pytest.mark.cluster


def test_a_painting_finds_itself_until_it_is_removed(whole: tuple[Path, str], paintings: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    subprocess.run(["cp", "-r", whole[0], root], check=True)
    model, ids = root / "models/a70", sorted(contents(root, "embeddings"))
    index = Index.load(str(model))
    assert (index.info.num_rows, index.info.is_exact) == (NUM_PAINTINGS, True)
    files = {name: next(paintings.glob(f"{name}.*")) for name in ids[::6]}
    queries = Scorer.load(str(model)).embed([(name, path.read_bytes()) for name, path in files.items()])
    for name, query, hits in zip(files, queries, index.search(queries, 3), strict=True):
        assert hits[0].id == name
        assert hits[0].similarity == pytest.approx(1, abs=1e-3)  # one step from the file, or through the tables
        np.testing.assert_allclose(index.vector(name), query, atol=0.02)
        with (
            Image.open(files[name]) as original,
            Image.open(io.BytesIO(Thumbnails(str(root)).read(name) or b"")) as small,
        ):
            assert (hits[0].width, hits[0].height) == original.size
            assert max(small.size) == 256
            assert small.width / small.height == pytest.approx(original.width / original.height, rel=0.02)

    gone = ids[6]
    assert "models/a70: its index held them and is gone" in artsim("remove", root, gone)
    assert Thumbnails(str(root)).read(gone) is None
    with pytest.raises(IndexMissingError):
        Index.load(str(model))
    assert f"models/a70/index: {NUM_PAINTINGS - 1} paintings, exact" in run("index", root)
    assert "indexed already" in run("index", root)
    found = json.loads(artsim("search", files[gone], "--model", model, "-k", 100, "--json"))
    assert sorted(hit["id"] for hit in found["results"]) == sorted(set(ids) - {gone})
    assert found["num_searched"] == NUM_PAINTINGS - 1


@pytest.mark.slow
def test_an_index_of_cells_is_made_in_two_rounds(whole: tuple[Path, str], tmp_path: Path) -> None:
    root = tmp_path / "root"
    subprocess.run(["cp", "-r", whole[0], root], check=True)
    output = run("index", root, "index.factory='IVF2,Flat'", "index.nprobe=2")
    assert f"models/a70/index: {NUM_PAINTINGS} paintings, IVF2,Flat" in output
    exact, cells = (Index.load(str(folder / "models/a70")) for folder in (whole[0], root))
    query = exact.vector(sorted(contents(root, "embeddings"))[3])[None]
    assert [hit.id for hit in exact.search(query, 9)[0]] == [hit.id for hit in cells.search(query, 9)[0]]

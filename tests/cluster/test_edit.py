"""The job that edits test pictures, end to end: its rows, their embeddings, and the same again however it is run."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from artsim.config import EDITS, FRAMINGS
from artsim.tables import Table
from tests.cluster.programs import contents, run

pytestmark = pytest.mark.cluster


def keys(root: Path, name: str) -> Counter[tuple[str, str]]:
    rows = Table(str(root), name, 4).read_all(("id", "edit")).to_pylist()
    return Counter((row["id"], row["edit"]) for row in rows)


def test_test_paintings_are_edited_and_embedded(whole: tuple[Path, str]) -> None:
    root, _ = whole
    splits = Table(str(root), "splits/a70", 4).read_all(("id", "split")).to_pylist()
    test = {row["id"] for row in splits if row["split"] == "test"}
    framed = {(painting, framing) for painting in test for framing in FRAMINGS}
    found = keys(root, "edited")
    edited = {painting for painting, edit in found if edit not in FRAMINGS}
    assert len(edited) == 3
    assert edited <= test
    assert found == Counter(framed | {(painting, edit) for painting in edited for edit in EDITS})
    assert keys(root, "edited_versions") == Counter(dict.fromkeys(framed, 2))
    assert keys(root, "edited_embeddings") == found
    assert keys(root, "edited_version_embeddings") == keys(root, "edited_versions")


@pytest.mark.slow
def test_rows_are_the_same_whatever_the_batches(whole: tuple[Path, str], tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(whole[0], root)
    for name in ("edited", "edited_versions"):
        expected = contents(root, name)
        shutil.rmtree(root / name)
        run("edit", root, f"edit.table={name}", "edit.workers.batch_size=3", "edit.workers.rows_per_part=5")
        assert contents(root, name) == expected
    assert "0 new in" in run("edit", root)

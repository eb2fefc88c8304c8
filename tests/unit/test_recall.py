"""Works that are taken out of exports: every form, wherever it lies, and again after a kill."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from artsim import formats
from artsim.card import CARD
from artsim.cli import app
from artsim.export import export
from artsim.recall import recall
from artsim.store import Store
from tests.unit import small_root
from tests.unit.small_root import IDS
from tests.unit.test_export import READ
from tests.unit.test_resume import Fuse, Killed

GONE = (IDS[0], IDS[9])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("root"))
    small_root.make(folder)
    return folder


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    url = str(tmp_path / "out") if request.param == "local" else f"memory://{uuid.uuid4().hex}"
    yield url
    Store(url).delete([""])


@pytest.mark.parametrize("form", READ)
def test_a_recalled_work_is_in_no_file_and_the_others_are_as_they_were(
    root: str, place: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "SHARD_BYTES", 60_000)  # several shards
    export(root, place, form, "square")
    before, files = READ[form](Store(place)), Store(place).find()
    assert recall(place, GONE) == 4
    after = READ[form](Store(place))
    assert after == [row for row in before if row["id"] not in GONE]
    assert len(after) == 2 * len(IDS) - 4
    left = Store(place).find()
    assert left <= files, "nothing temporary stays"
    assert form != "folders" or len(files - left) == 6, "two versions and an original each"
    card = (Store(place).read(CARD) or b"").decode()
    assert "4 versions that are counted above were taken out on 20" in card
    assert recall(place, GONE) == 0
    assert (Store(place).read(CARD) or b"").decode() == card


def test_a_recall_that_was_killed_is_finished_by_the_next(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fuse = Fuse(monkeypatch)
    for changes in range(8):
        store = Store(str(tmp_path / str(changes)))
        fuse.set(float("inf"))
        export(root, store.url, "folders", "square")
        fuse.set(changes)
        try:
            recall(store.url, GONE)
        except Killed:
            fuse.set(float("inf"))
            recall(store.url, GONE)
        assert {row["id"] for row in READ["folders"](store)} == set(IDS) - set(GONE)
        assert not [name for name in store.find() if any(row_id in name for row_id in GONE)]


def test_the_command_recalls_from_exports_too(tmp_path: Path) -> None:
    root, out = str(tmp_path / "root"), str(tmp_path / "out")
    small_root.make(root)
    export(root, out, "parquet")
    result = CliRunner().invoke(app, ["remove", root, *GONE, "--export", out])
    assert result.exit_code == 0, result.output
    assert f"{out}: 4 versions" in result.output
    assert {row["id"] for row in READ["parquet"](Store(out))} == set(IDS) - set(GONE)

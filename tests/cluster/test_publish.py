"""A finished root in other hands: its quarantine, its export, and a work that is taken out and does not come back."""

import csv
import json
import re
import subprocess
from pathlib import Path

import pytest

from artsim.tables import status
from tests.cluster.programs import NUM_PAINTINGS, artsim, contents, run

pytestmark = pytest.mark.cluster


def test_what_was_removed_stays_away_and_nothing_else_is_made_again(
    whole: tuple[Path, str], paintings: Path, tmp_path: Path
) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    subprocess.run(["cp", "-r", whole[0], root], check=True)
    lost = json.loads(artsim("quarantine", root, "--json"))
    assert [(row["table"], row["id"], row["reason"]) for row in lost["rows"]] == [
        ("artworks", "Baroque/nobody_words", "not_an_image")
    ]
    artsim("export", root, out, "--originals", "square")
    gone = sorted(contents(root, "artworks"))[5]
    told = artsim("remove", root, gone, "--export", out)
    assert f"{out}: 2 versions" in told
    with (out / "metadata.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 2 * (NUM_PAINTINGS - 1)
    assert all((out / row["file_name"]).is_file() and row["id"] != gone for row in rows)
    before = {name: contents(root, name) for name in ("artworks", "generated", "splits/a70", "triplets/a70")}
    assert not any(key.startswith(gone) for keys in before.values() for key in keys)
    for name, settings in (("ingest", (f"source.uri={paintings}",)), ("resize", ()), ("split", ()), ("triplets", ())):
        output = run(name, root, *settings, "max_failure_rate=0.1")
        assert re.findall(r"(\d+) new in", output) == ["0"], output
    assert {name: contents(root, name) for name in before} == before
    tables = status(str(root))["tables"]
    assert {tables[name]["state"] for name in tables} == {"finished"}
    assert tables["generated"]["rate"] > 0
    assert tables["generated"]["elapsed_s"] > 0

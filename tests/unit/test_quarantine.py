"""The quarantine as a tool: counts, rows, files for other programs, and one sentence for what is not known."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from artsim.cli import app
from artsim.quarantine import FORMATS, SCHEMA, Quarantine, QuarantineError
from artsim.schemas import REASONS, quarantine_schema
from artsim.tables import Table, TableError, claim, create_root
from tests.conftest import REPOSITORY

NUM_BUCKETS = 4
PAINTINGS = {"Genre/ä_1": "corrupt", "Genre/b_2": "truncated", "Genre/c_3": "corrupt", "Genre/d_4": "corrupt"}


def failures(table: str, reasons: dict[str, str], message: str = 'why, "it"\nis so') -> pa.Table:
    rows = [
        {"id": row_id, "level": "radical", "variant": 2, "input_hash": 7, "stage": "Some", "reason": reason}
        | {"message": message, "attempts": 3}
        for row_id, reason in reasons.items()
    ]
    return pa.Table.from_pylist(rows, quarantine_schema(table))


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A root with four lost paintings and one lost version."""
    create_root(str(tmp_path), NUM_BUCKETS)
    for name, reasons in (("resized", PAINTINGS), ("generated", {"Genre/e_5": "black_image"}), ("captions", {})):
        table = Table(str(tmp_path), name, NUM_BUCKETS)
        claim(table, {}, {})
        table.write_quarantine(failures(name, reasons))
    return str(tmp_path)


def call(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["quarantine", *arguments])
    return result.exit_code, result.output


def test_counts_come_by_table_and_reason(root: str) -> None:
    counts = {"resized": {"corrupt": 3, "truncated": 1}, "generated": {"black_image": 1}}
    assert Quarantine.of(root).counts() == counts
    assert Quarantine.of(root, reason="corrupt").counts() == {"resized": {"corrupt": 3}}
    assert Quarantine.of(root, table="generated").counts() == {"generated": {"black_image": 1}}
    assert Quarantine.of(root, table="captions").counts() == {}


def test_rows_say_everything_and_versions_their_level(root: str) -> None:
    rows = [row for some in Quarantine.of(root).rows() for row in some.to_pylist()]
    assert {(row["table"], row["id"], row["reason"]) for row in rows} == {
        *(("resized", row_id, reason) for row_id, reason in PAINTINGS.items()),
        ("generated", "Genre/e_5", "black_image"),
    }
    for row in rows:
        assert (row["level"], row["variant"]) == (("radical", 2) if row["table"] == "generated" else (None, None))
        assert (row["attempts"], row["stage"]) == (3, "Some")


def test_rows_of_edits_say_which(tmp_path: Path) -> None:
    create_root(str(tmp_path), NUM_BUCKETS)
    table = Table(str(tmp_path), "edited", NUM_BUCKETS)
    claim(table, {}, {})
    (row,) = failures("generated", {"Genre/a_1": "corrupt"}).to_pylist()
    schema = quarantine_schema("edited")
    table.write_quarantine(pa.Table.from_pylist([row | {"edit": "jpeg-30"}], schema))
    assert "edited  Genre/a_1 jpeg-30  corrupt: " in call(str(tmp_path))[1]


def test_only_files_of_the_reason_are_read(root: str) -> None:
    for file in Path(root).glob("*/_quarantine/*"):
        if "-corrupt-" not in file.name:
            file.write_bytes(b"")
    (rows,) = [pa.concat_tables(Quarantine.of(root, reason="corrupt").rows())]
    assert sorted(rows["id"].to_pylist()) == sorted(row_id for row_id, why in PAINTINGS.items() if why == "corrupt")
    with pytest.raises(pa.ArrowInvalid):
        list(Quarantine.of(root).rows())


def test_files_beyond_the_limit_are_not_read_but_counted(root: str) -> None:
    *first, last = Quarantine.of(root, table="resized").files[0][1]
    (Path(root) / "resized" / "_quarantine" / last).write_bytes(b"")
    shown = Quarantine.of(root, table="resized").first(2)
    assert len(shown) == 2 <= len(first)
    code, output = call(root, "--table", "resized", "--limit", "2")
    assert code == 0
    assert "and 2 more: --limit shows more rows, --export writes all" in output
    assert sum(line.startswith("resized  Genre/") for line in output.splitlines()) == 2


@pytest.mark.parametrize("extension", FORMATS)
def test_an_export_holds_every_row_of_every_column(root: str, tmp_path: Path, extension: str) -> None:
    file = tmp_path / f"lost{extension}"
    assert call(root, "--export", str(file)) == (0, f"5 rows in {file}\n")
    if extension == ".csv":
        with file.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        assert {(row["id"], row["variant"]) for row in rows} == {
            *((name, "") for name in PAINTINGS),
            ("Genre/e_5", "2"),
        }
    else:
        table = pq.read_table(file)
        assert table.schema.equals(SCHEMA)
        rows = table.to_pylist()
    assert len(rows) == 5
    assert {row["message"] for row in rows} == {'why, "it"\nis so'}
    assert not list(tmp_path.glob(".tmp-*"))


def test_an_export_that_breaks_leaves_the_old_file(root: str, tmp_path: Path) -> None:
    file = tmp_path / "lost.csv"
    file.write_text("old")
    next(Path(root).glob("generated/_quarantine/*")).write_bytes(b"")
    with pytest.raises(pa.ArrowInvalid):
        Quarantine.of(root).export(str(file))
    assert file.read_text() == "old"
    assert not list(tmp_path.glob(".tmp-*"))


def test_programs_get_one_object(root: str) -> None:
    code, output = call(root, "--json", "--limit", "1")
    told = json.loads(output)
    assert code == 0
    assert told["root"] == root
    assert told["quarantined"]["resized"] == {"corrupt": 3, "truncated": 1}
    assert (len(told["rows"]), told["more"]) == (1, 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--table", "resised"], r"no such table below .*; known are resized, captions, generated$"),
        (["--reason", "bored"], rf"no such reason; known are {', '.join(REASONS)}$"),
        (["--export", "rows.xlsx"], r"must end in .csv or .parquet$"),
        (["--export", "/nowhere/rows.csv"], r"/nowhere/rows.csv: cannot be written \(No such file or directory\)$"),
    ],
)
def test_a_mistake_is_one_sentence(root: str, arguments: list[str], words: str) -> None:
    code, output = call(root, *arguments)
    assert code == 1
    assert re.search(words, output.strip())
    assert output.startswith("error: ")
    assert len(output.strip().splitlines()) == 1


def test_no_root_and_nothing_lost(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="is not an ArtSim root"):
        Quarantine.of(str(tmp_path))
    create_root(str(tmp_path), NUM_BUCKETS)
    assert call(str(tmp_path)) == (0, "nothing is in quarantine\n")
    with pytest.raises(QuarantineError, match=r"must end in"):
        Quarantine.of(str(tmp_path)).export("x")


def test_the_reasons_are_printed_and_are_those_of_the_readme() -> None:
    code, output = call("--reasons")
    assert code == 0
    assert dict(line.split(None, 1) for line in output.splitlines()) == REASONS
    table = re.findall(r"^\| `(\w+)` \| (.+) \|$", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
    assert {name: text for name, text in table if name in REASONS} == REASONS
    section = (REPOSITORY / "README.md").read_text().split("| reason | what it means |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == list(REASONS)


def test_the_command_imports_no_heavy_library() -> None:
    code = "import sys, artsim.cli; print([name for name in ('pyarrow', 'torch', 'ray', 'PIL') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

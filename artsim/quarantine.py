"""What lies in quarantine, for people and programs: counts from the files' names, rows file by file."""

from __future__ import annotations

import os
import posixpath
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from artsim import UserError
from artsim.schemas import REASONS
from artsim.tables import Table, open_root, part_facts, table_names

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("table", "id", "level")),
        ("variant", pa.int32()),
        *((name, pa.string()) for name in ("edit", "reason", "message")),
        ("attempts", pa.int32()),
        ("stage", pa.string()),
    ]
)
"""What is told of a row; level and variant are null in tables of paintings, edit in tables without edits."""
FORMATS = (".csv", ".parquet")


class QuarantineError(UserError, ValueError):
    """A quarantine that cannot be shown as asked; the message says what can."""


@dataclass(frozen=True)
class Quarantine:
    """Names of quarantine files by table, in the order in which rows walk through the tables."""

    files: list[tuple[Table, list[str]]]

    @classmethod
    def of(cls, root: str, table: str | None = None, reason: str | None = None) -> Quarantine:
        """The files of a root, of one table or of one reason, chosen by their names.

        Raises QuarantineError where the table or the reason is not known, TableError where there is no root.
        """
        num_buckets, known = open_root(root), table_names(root)
        if reason is not None and reason not in REASONS:
            raise QuarantineError(f"--reason {reason}: no such reason; known are {', '.join(REASONS)}")
        if table is not None and table not in known:
            raise QuarantineError(f"--table {table}: no such table below {root}; known are {', '.join(known)}")
        tables = [Table(root, name, num_buckets) for name in known if table in (None, name)]
        return cls([(found, _names(found, reason)) for found in tables])

    def counts(self) -> dict[str, dict[str, int]]:
        """Rows by table and reason, commonest first, read from the names; tables without any are left out."""
        counts = {}
        for table, names in self.files:
            by_reason: Counter[str] = Counter()
            for name in names:
                _, num_rows, reason = part_facts(name)
                by_reason[reason] += num_rows
            if by_reason:
                counts[table.name] = dict(by_reason.most_common())
        return counts

    @property
    def num_rows(self) -> int:
        """Rows in all files."""
        return sum(part_facts(name)[1] for _, names in self.files for name in names)

    def rows(self) -> Iterator[pa.Table]:
        """Rows of SCHEMA, a file at a time."""
        for table, names in self.files:
            for name in names:
                yield _told(table.name, table.read_quarantine([name]))

    def first(self, limit: int) -> list[dict[str, Any]]:
        """At most `limit` rows; files beyond them are not read."""
        rows: list[dict[str, Any]] = []
        found = self.rows()
        while len(rows) < limit and (some := next(found, None)) is not None:
            rows += some.slice(0, limit - len(rows)).to_pylist()
        return rows

    def export(self, file: str) -> int:
        """Write all rows as CSV or Parquet, whole or not at all; returns how many there were.

        Raises QuarantineError where the name ends otherwise or the file cannot be written.
        """
        extension = posixpath.splitext(file)[1]
        if extension not in FORMATS:
            raise QuarantineError(f"--export {file}: must end in {' or '.join(FORMATS)}")
        path = Path(file).absolute()
        try:
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".tmp-") as folder:
                num_rows = self._write(str(Path(folder) / path.name), extension)
                os.replace(Path(folder) / path.name, path)
        except OSError as error:
            raise QuarantineError(f"--export {file}: cannot be written ({error.strerror})") from error
        return num_rows

    def _write(self, path: str, extension: str) -> int:
        kinds: Any = {".csv": pyarrow.csv.CSVWriter, ".parquet": pq.ParquetWriter}
        num_rows = 0
        with kinds[extension](path, SCHEMA) as writer:
            for some in self.rows():
                writer.write_table(some)
                num_rows += len(some)
        return num_rows


def _names(table: Table, reason: str | None) -> list[str]:
    names = [name for names in table.parts(table.manifest()).quarantine.values() for name in names]
    return sorted(name for name in names if reason in (None, part_facts(name)[2]))


def _told(table: str, rows: pa.Table) -> pa.Table:
    """Rows of `quarantine_schema` as rows of SCHEMA."""
    rows = rows.append_column("table", pa.array([table] * len(rows), pa.string()))
    columns = [
        rows[field.name] if field.name in rows.column_names else pa.nulls(len(rows), field.type) for field in SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def counts_lines(counts: dict[str, dict[str, int]]) -> list[str]:
    """A line for each table and reason."""
    return [
        f"{table:<30} {reason:<15} {count:>9,}"
        for table, reasons in counts.items()
        for reason, count in reasons.items()
    ]


def row_line(row: dict[str, Any]) -> str:
    """One row of SCHEMA on one line, whatever its message holds."""
    version = "" if row["level"] is None else f" {row['level']} {row['variant']}"
    version += f" {row['edit']}" if row["edit"] else ""
    tries = f"{row['attempts']} attempt{'s' if row['attempts'] != 1 else ''}"
    message = " ".join((row["message"] or "").split())
    return f"{row['table']}  {row['id']}{version}  {row['reason']}: {message} ({row['stage']}, {tries})"

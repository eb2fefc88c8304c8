"""Which rows a table must have, which of them are missing, and what makes it finished: bucket by bucket."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artsim.schemas import key_strings, mix_hashes, row_hashes
from artsim.tables import FORMAT, Parts, Table, claim, identities, parts_by_bucket, read_or_empty, sweep

Expand = Callable[[list[str]], tuple[np.ndarray, dict[str, np.ndarray]]]
"""The rows that each painting gets: ids (P,) -> (which painting (B,) int64, further key columns (B,))."""


@dataclass(frozen=True)
class Input:
    """A table that a stage reads: which columns, and what the stage calls them."""

    table: Table
    columns: dict[str, str]
    parts: Parts = field(repr=False)
    fingerprint: str
    digest: str

    @classmethod
    def of(cls, table: Table, columns: dict[str, str]) -> Input:
        """An input from a finished table; raises TableError where it is not finished."""
        manifest = table.finished()
        header = table.header()
        assert header is not None
        return cls(table, columns, table.parts(manifest), header["fingerprint"], manifest["digest"])

    def keys(self, bucket: int) -> pa.Table:
        """Key columns and row_hash of one bucket."""
        return read_or_empty(self.table, self.parts.rows.get(bucket, []), (*self.table.key, "row_hash"))

    def rows(self, bucket: int, wanted: pa.Table) -> dict[str, pa.ChunkedArray]:
        """The columns for the wanted keys, row by row in their order, under the stage's names."""
        low, high = pc.min_max(wanted["id"]).values()
        within = (pc.field("id") >= low) & (pc.field("id") <= high)
        names = [*self.table.key, *(name for name in self.columns if name not in self.table.key)]
        found = self.table.read(self.parts.rows[bucket], names, within)
        at = pc.index_in(key_strings(wanted, self.table.key), value_set=key_strings(found, self.table.key))
        assert not at.null_count, f"{self.table.name} lost rows while it was read"
        return {new: found[old].take(at) for old, new in self.columns.items()}


@dataclass(frozen=True)
class Work:
    """What one table is made from: enough to say, bucket by bucket, which rows must be there and which are missing."""

    table: Table
    inputs: tuple[Input, ...]
    expand: Expand | None = None
    salt: int = 0

    def is_current(self, manifest: dict[str, Any]) -> bool:
        """Whether a finished table was made from the inputs as they are now."""
        return bool(manifest["inputs"] == {source.table.name: source.digest for source in self.inputs})

    def expected(self, bucket: int) -> pa.Table:
        """Keys and input_hash of all rows that the table must have in one bucket."""
        rows = self.inputs[0].keys(bucket)
        if self.expand is not None:
            index, added = self.expand(rows["id"].to_pylist())
            rows = rows.take(pa.array(index))
            for name, values in added.items():
                rows = rows.append_column(
                    name, pa.array(values.tolist(), pa.int32() if values.dtype.kind == "i" else None)
                )
        hashes = [np.full(len(rows), self.salt, np.uint64), rows["row_hash"].to_numpy()]
        for other in self.inputs[1:]:
            keys = other.keys(bucket)
            at = pc.index_in(key_strings(rows, other.table.key), value_set=key_strings(keys, other.table.key))
            there = pc.is_valid(at)
            rows, at = rows.filter(there), at.filter(there)
            hashes = [column[there.to_numpy(zero_copy_only=False)] for column in hashes]
            hashes.append(keys["row_hash"].take(at).to_numpy())
        return rows.select(list(self.table.key)).append_column("input_hash", pa.array(mix_hashes(*hashes)))

    def missing(self, bucket: int, parts: Parts, again: Collection[str] = ()) -> pa.Table:
        """Keys, input_hash and former attempts of the rows of one bucket that are neither done nor quarantined.

        `again`: names of quarantined parts whose rows are to be tried once more.
        """
        expected = self.expected(bucket)
        done = read_or_empty(self.table, parts.rows.get(bucket, []), (*self.table.key, "input_hash"))
        names = parts.quarantine.get(bucket, [])
        given_up = self.table.read_quarantine([name for name in names if name not in again])
        former = pa.concat_tables([given_up, self.table.read_quarantine([name for name in names if name in again])])
        former = former.sort_by([("attempts", "descending")])  # of several tries the last one counts
        identity = identities(expected, self.table.key)
        at = pc.index_in(identity, value_set=identities(former, self.table.key))
        expected = expected.append_column("attempts", pc.fill_null(former["attempts"].take(at), 0))
        settled = [pc.is_in(identity, value_set=identities(rows, self.table.key)) for rows in (done, given_up)]
        rows = expected.filter(pc.invert(pc.or_(*settled)))
        return rows.sort_by([(name, "ascending") for name in self.table.key])

    def read(self, wanted: pa.Table) -> pa.Table:
        """What the stage needs for wanted rows of any buckets: their columns, and those of all inputs."""
        return pa.concat_tables([self._read(bucket, rows) for bucket, rows in self.table.by_bucket(wanted)])

    def _read(self, bucket: int, wanted: pa.Table) -> pa.Table:
        for source in self.inputs:
            for name, column in source.rows(bucket, wanted).items():
                if name not in wanted.column_names:
                    wanted = wanted.append_column(name, column)
        return wanted

    def settle(self, bucket: int, parts: Parts) -> tuple[Parts, int]:
        """Make one bucket hold each expected row once, done or quarantined; returns its parts and what is missing.

        Rows that are no longer expected, or stand twice, are left out of rewritten parts; nothing is deleted here.
        """
        expected = identities(self.expected(bucket), self.table.key)
        seen: set[str] = set()
        rows: list[str] = []
        for name in parts.rows.get(bucket, []):
            keep = self._fresh(self.table.read([name], (*self.table.key, "input_hash")), expected, seen)
            rows += [name] if keep.all() else self._rewrite(name, keep)
        quarantine = list(parts.quarantine.get(bucket, []))
        found = self.table.read_quarantine(quarantine).sort_by([("attempts", "descending")])
        keep = self._fresh(found, expected, seen)
        if not keep.all():
            quarantine = self.table.write_quarantine(found.filter(pa.array(keep)))
        return Parts({bucket: rows}, {bucket: quarantine}), len(expected) - len(seen)

    def _fresh(self, keys: pa.Table, expected: pa.Array, seen: set[str]) -> np.ndarray:
        """Which rows are expected and were not seen before (B,) bool; adds them to what was seen."""
        names = identities(keys, self.table.key)
        wanted = pc.is_in(names, value_set=expected).to_pylist()
        keep = np.zeros(len(keys), bool)
        for row, name in enumerate(names.to_pylist()):
            if wanted[row] and name not in seen:
                keep[row] = True
                seen.add(name)
        return keep

    def _rewrite(self, name: str, keep: np.ndarray) -> list[str]:
        whole = self.table.store.read_parquet([name])
        return self.table.write(whole.filter(pa.array(keep)))


def digest_of(names: Iterable[str]) -> str:
    """What identifies the rows of a finished table: a hash of the names of its parts, 16 hexadecimal digits."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:16]


def publish(
    table: Table, settled: Iterable[Parts], inputs: Iterable[Input] = (), finished: float | None = None
) -> dict[str, Any]:
    """Write the manifest of a table whose buckets are settled, then delete what it does not name.

    `finished`: since when the table is, epoch s; None: since now.
    """
    settled = list(settled)
    rows = sorted(name for parts in settled for names in parts.rows.values() for name in names)
    quarantine = sorted(name for parts in settled for names in parts.quarantine.values() for name in names)
    everything = parts_by_bucket(rows, quarantine)
    manifest = {
        "format": FORMAT,
        "num_rows": everything.num_rows,
        "quarantined": everything.reasons,
        "digest": digest_of(rows),
        "inputs": {source.table.name: source.digest for source in inputs},
        "finished": time.time() if finished is None else finished,
        "parts": rows,
        "quarantine_parts": quarantine,
    }
    table.store.write_json("_parts.json", manifest)
    sweep(table, manifest)
    return manifest


def replace(table: Table, rows: pa.Table) -> None:
    """Make a table of metadata hold exactly these rows, which come from no other table."""
    unmade = pa.array(np.zeros(len(rows), np.uint64))
    rows = rows.append_column("input_hash", unmade).append_column("row_hash", pa.array(row_hashes(rows)))
    claim(table, {}, {})
    publish(table, [parts_by_bucket(table.write(rows), [])])

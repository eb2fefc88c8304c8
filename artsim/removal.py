"""Taking works out of a root for good: tombstones, every table, and what models and reports show of them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

import markupsafe
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artsim import UserError
from artsim.lease import hold
from artsim.resume import Input, digest_of, publish
from artsim.schemas import WHOLE, bucket_of, digest64, key_strings, mix_hashes, row_hashes
from artsim.store import Store
from artsim.tables import QUARANTINE, Parts, Table, open_root, sweep, table_names
from artsim.tombstones import TOMBSTONES, read_book, removed

_NEGATIVE = ("negative_id", "negative_level", "negative_variant")
_SOURCES = ("_listing", "_pairs")
_MAX_NAMED = 5


class RemovalError(UserError, ValueError):
    """Works that cannot be removed as asked; nothing was changed."""


class Removed(NamedTuple):
    """What became of a removal."""

    rows: dict[str, int]
    """rows that left each table, or were made to name no negative"""
    models: dict[str, list[str]]
    """ids that each model learned from"""
    reports: list[str]
    """models whose report and examples showed a work, and were deleted"""
    indexes: list[str]
    """models whose index held a work, and was deleted"""


def remove(root: str, ids: Sequence[str]) -> Removed:
    """Take works out of all tables of a root. A removal that was cut off is finished too.

    First comes the tombstone, then table after table. Raises RemovalError where an id is not known, and TableError
    where a job is writing one of the tables: both before anything is changed.
    """
    num_buckets = open_root(root)
    new = sorted(set(ids) - removed(root))
    found = _find(root, num_buckets, new)
    if unknown := [row_id for row_id in new if row_id not in found]:
        more = f" and {len(unknown) - _MAX_NAMED} more" if len(unknown) > _MAX_NAMED else ""
        raise RemovalError(
            f"{', '.join(unknown[:_MAX_NAMED])}{more}: no such work below {root}, and nothing was removed; ids are the "
            "paths below the source without extension, as in the table artworks"
        )
    with ExitStack() as leases:
        for name in (*_SOURCES, *table_names(root)):
            if (table := Table(root, name, num_buckets)).header() is not None:
                leases.enter_context(hold(table))
        return _remove(root, ids, num_buckets, found)


def _remove(root: str, ids: Sequence[str], num_buckets: int, found: dict[str, str | None]) -> Removed:
    book = read_book(root)
    new = sorted(found.keys() - {work["id"] for work in book["works"]})
    when, learned = datetime.now(UTC).isoformat(timespec="seconds"), _learned(root, num_buckets, new)
    book["works"] += [
        {"id": row_id, "sha256": found[row_id], "when": when, "models": learned[row_id]} for row_id in new
    ]
    Store(root).write_json(TOMBSTONES, book)
    takedown = _Takedown(root, num_buckets, pa.array([work["id"] for work in book["works"]], pa.string()), book)
    rows = {name: takedown.clean(Table(root, name, num_buckets)) for name in (*_SOURCES, *table_names(root))}
    models: dict[str, list[str]] = {}
    for work in book["works"]:
        for name in work["models"] if work["id"] in ids else ():
            models.setdefault(name, []).append(work["id"])
    reports, indexes = _delete_reports(root, ids), _delete_indexes(root, takedown.ids)
    return Removed({name: count for name, count in rows.items() if count}, models, reports, indexes)


def _find(root: str, num_buckets: int, ids: Sequence[str]) -> dict[str, str | None]:
    """Those of the ids that a root knows, and the sha256 of their files where it was measured."""
    found: dict[str, str | None] = {}
    buckets = {bucket_of(row_id, num_buckets) for row_id in ids}
    wanted = pc.field("id").isin(pa.array(ids, pa.string()))
    for name, columns in (("_listing", ["id"]), ("artworks", ["id", "sha256"])):
        table = Table(root, name, num_buckets)
        parts = table.parts(table.manifest())
        names = [name for bucket in buckets for name in parts.rows.get(bucket, [])]
        rows = table.read(names, columns, wanted).to_pylist() if names else []
        found |= {row["id"]: row.get("sha256") for row in rows}
    return found


def _learned(root: str, num_buckets: int, ids: Sequence[str]) -> dict[str, list[str]]:
    """The models that saw each id while they were trained, or chosen by validation."""
    learned: dict[str, list[str]] = {row_id: [] for row_id in ids}
    splits = {name: _splits(Table(root, name, num_buckets), ids) for name in table_names(root) if "splits/" in name}
    for name in Store(f"{root}/models").list():
        info = (Store(f"{root}/models/{name}").read_json("config.json") or {}).get("info", {})
        inputs = info.get("recipe", {}).get("inputs", {})
        # A folder without a model may hold checkpoints of any configuration.
        used = {table.replace("triplets/", "splits/") for table in inputs if table.startswith("triplets/")} or set(
            splits
        )
        for row_id in ids:
            if any(splits.get(table, {}).get(row_id) in ("train", "val") for table in used):
                learned[row_id].append(f"models/{name}")
    return learned


def _splits(table: Table, ids: Sequence[str]) -> dict[str, str]:
    names = [name for names in table.parts(table.manifest()).rows.values() for name in names]
    if not names:
        return {}
    rows = table.read(names, ["id", "split"], pc.field("id").isin(pa.array(ids, pa.string()))).to_pylist()
    return {row["id"]: row["split"] for row in rows}


def _delete_reports(root: str, ids: Iterable[str]) -> list[str]:
    """Delete the report and examples of models whose report shows one of the works; returns the models."""
    shown = []
    for name in Store(f"{root}/models").list():
        store = Store(f"{root}/models/{name}")
        report = (store.read("report.html") or b"").decode()
        if any(str(markupsafe.escape(row_id)) in report for row_id in ids):
            store.delete(["examples", "metrics.json", "report.html"])
            shown.append(f"models/{name}")
    return shown


def _delete_indexes(root: str, ids: pa.Array) -> list[str]:
    """Delete the indexes that hold one of the works, or may hold one, as they are half-written; returns the models."""
    held = []
    stores = {name: Store(f"{root}/models/{name}/index") for name in Store(f"{root}/models").list()}
    for name, there in ((name, store.list()) for name, store in stores.items()):
        if there and _may_hold(stores[name], there, ids):
            stores[name].delete(["index.json", ""])
            held.append(f"models/{name}")
    return held


def _may_hold(index: Store, there: list[str], ids: pa.Array) -> bool:
    from artsim.index import ARTWORKS, FILES  # loads FAISS and torch

    if set(there) != set(FILES):
        return True
    return len(index.read_parquet([ARTWORKS], ["id"], pc.field("id").isin(ids))) > 0


@dataclass(frozen=True)
class _Takedown:
    """The works to take out of tables, one after the other in the order in which rows walk through them."""

    root: str
    num_buckets: int
    ids: pa.Array
    book: dict[str, Any]

    @cached_property
    def buckets(self) -> set[int]:
        """The buckets that rows of the works lie in."""
        return {bucket_of(row_id, self.num_buckets) for row_id in self.ids.to_pylist()}

    def clean(self, table: Table) -> int:
        """Take the works out of one table; returns how many rows changed. A finished table stays finished.

        Its manifest names the present digests of its inputs where it named those from before the removal: what was up
        to date stays so, and what was not does not become so.
        """
        if table.header() is None:
            return 0
        manifest = table.manifest()
        inputs = self._inputs(manifest) if manifest is not None else []
        salt = self._salt(table, manifest, inputs)
        settled, changed = [], 0
        found = table.parts(manifest)
        for bucket in sorted(found.rows.keys() | found.quarantine.keys()):
            rows, num_rows = self._rewrite(table, bucket, found.rows.get(bucket, []), (salt, inputs))
            quarantine, num_lost = self._rewrite_quarantine(table, bucket, found.quarantine.get(bucket, []))
            settled.append(Parts({bucket: rows}, {bucket: quarantine}))
            changed += num_rows + num_lost
        if manifest is None:
            self._delete_old(table, found, settled)
        else:
            self._publish(table, manifest, settled, inputs)
        return changed

    def _inputs(self, manifest: dict[str, Any]) -> list[Input]:
        """What a finished table was made from, with the digests that its new manifest will name."""
        inputs = []
        for name, digest in manifest["inputs"].items():
            table = Table(self.root, name, self.num_buckets)
            current, known = table.manifest(), self.book["digests"].get(name, [])
            if current is not None and digest in known and current["digest"] == known[-1]:
                digest = known[-1]
            parts = table.parts(current) if current is not None else Parts({}, {})
            inputs.append(Input(table, {}, parts, "", digest))
        return inputs

    def _salt(self, table: Table, manifest: dict[str, Any] | None, inputs: list[Input]) -> int | None:
        """What the input_hash of rows must begin with from now on, where they depend on all rows of other tables."""
        if manifest is None or table.name.split("/")[0] not in WHOLE or not inputs:
            return None
        current = [source.table.manifest() for source in inputs]
        if any(
            found is None or found["digest"] != source.digest for found, source in zip(current, inputs, strict=True)
        ):
            return None  # the table was not up to date: a job will make it anew
        if manifest["inputs"] == {source.table.name: source.digest for source in inputs}:
            return None
        header = table.header()
        assert header is not None
        return digest64(header["fingerprint"], *(source.digest for source in inputs))

    def _rewrite(
        self, table: Table, bucket: int, names: Sequence[str], salted: tuple[int | None, list[Input]]
    ) -> tuple[list[str], int]:
        """Parts of a bucket without the works, and how many rows changed."""
        salt, inputs = salted
        kept, changed = [], 0
        for name in names:
            hit = self._hit(table, bucket, name)
            if salt is None and not hit.any():
                kept.append(name)
                continue
            rows = table.store.read_parquet([name])
            if table.name.startswith("triplets/"):
                rows = _without_negatives(rows, self.ids)
            rows = rows.filter(pc.invert(pc.is_in(rows["id"], value_set=self.ids)))
            if salt is not None:
                rows = rows.set_column(
                    rows.column_names.index("input_hash"), "input_hash", _hashes(rows, bucket, salt, inputs)
                )
            kept += table.write(rows)
            changed += int(hit.sum())
        return kept, changed

    def _hit(self, table: Table, bucket: int, name: str) -> np.ndarray:
        """Which rows of a part mention a work (B,) bool; empty for parts that cannot."""
        columns = ["id", "negative_id"] if table.name.startswith("triplets/") else ["id"]
        if len(columns) == 1 and bucket not in self.buckets:
            return np.zeros(0, bool)
        rows = table.read([name], columns)
        return np.logical_or.reduce([pc.is_in(rows[column], value_set=self.ids).to_numpy() for column in columns])

    def _rewrite_quarantine(self, table: Table, bucket: int, names: Sequence[str]) -> tuple[list[str], int]:
        if bucket not in self.buckets:
            return list(names), 0
        kept, changed = [], 0
        for name in names:
            rows = table.read_quarantine([name])
            hit = pc.is_in(rows["id"], value_set=self.ids).to_numpy()
            kept += table.write_quarantine(rows.filter(pa.array(~hit))) if hit.any() else [name]
            changed += int(hit.sum())
        return kept, changed

    def _publish(self, table: Table, manifest: dict[str, Any], settled: list[Parts], inputs: list[Input]) -> None:
        """Note the table's new digest, then put its new manifest in place and delete what that does not name."""
        names = [name for parts in settled for names in parts.rows.values() for name in names]
        digest = digest_of(names)
        if digest != manifest["digest"]:
            known = self.book["digests"].get(table.name, [])
            before = known if known[-1:] == [manifest["digest"]] else [manifest["digest"]]
            self.book["digests"][table.name] = [*before, digest]
            Store(self.root).write_json(TOMBSTONES, self.book)
        publish(table, settled, inputs, finished=manifest.get("finished"))

    def _delete_old(self, table: Table, found: Parts, settled: list[Parts]) -> None:
        """Delete the parts of an unfinished table that others have taken the place of."""
        for folder, kind in (("", "rows"), (QUARANTINE, "quarantine")):
            kept = {name for parts in settled for names in getattr(parts, kind).values() for name in names}
            old = {name for names in getattr(found, kind).values() for name in names} - kept
            table.store.delete(posixpath.join(folder, name) for name in old)
        sweep(table, None)


def _without_negatives(rows: pa.Table, ids: pa.Array) -> pa.Table:
    """Triplets whose negative was removed have none, as those in whose tier nobody was; the positive pair stays."""
    gone = pc.is_in(rows["negative_id"], value_set=ids)
    for name in _NEGATIVE:
        at = rows.column_names.index(name)
        rows = rows.set_column(at, name, pc.if_else(gone, pa.scalar(None, rows.schema.field(name).type), rows[name]))
    return rows.set_column(rows.column_names.index("row_hash"), "row_hash", pa.array(row_hashes(rows)))


def _hashes(rows: pa.Table, bucket: int, salt: int, inputs: Sequence[Input]) -> pa.Array:
    """input_hash of rows of one bucket (B,) uint64, as `Work.expected` gives them."""
    hashes = [np.full(len(rows), salt, np.uint64)]
    for source in inputs:
        keys = source.keys(bucket)
        key = source.table.key
        at = pc.index_in(key_strings(rows, key), value_set=key_strings(keys, key))
        hashes.append(keys["row_hash"].take(at).to_numpy())
    return pa.array(mix_hashes(*hashes))

"""Tables on disk: hash buckets, parts that appear whole, recipes, resume, quarantine and status. No Ray in here."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from artsim import UserError, progress
from artsim.schemas import REASONS, bucket_of, key_of, key_strings, quarantine_schema
from artsim.store import Store

FORMAT = 1
MAX_ROW_GROUP_BYTES = 16_000_000
MAX_THUMBNAILS_BYTES = 250_000
"""Of a row group of `thumbnails`, whose rows are read one at a time."""
MAX_PART_BYTES = 128_000_000
QUARANTINE = "_quarantine"
_SCRIPTS = {
    "resized": "resize",
    "thumbnails": "thumbnail",
    "generated": "generate",
    **dict.fromkeys(("edited", "edited_versions"), "edit"),
}
_PART_NAME = re.compile(r"(?P<bucket>\d{5})-(?:(?P<reason>[a-z_]+)-)?(?P<rows>\d+)-[0-9a-f]{16}\.parquet")


class TableError(UserError, RuntimeError):
    """A table or root that cannot be used as asked; the message says what was found and what to do."""


class Parts(NamedTuple):
    """Names of the Parquet files of a table, by bucket."""

    rows: dict[int, list[str]]
    quarantine: dict[int, list[str]]

    @property
    def num_rows(self) -> int:
        """Rows in all parts, read from their names."""
        return sum(part_facts(name)[1] for names in self.rows.values() for name in names)

    @property
    def reasons(self) -> dict[str, int]:
        """Quarantined rows by reason, commonest first, read from the names."""
        counts: Counter[str] = Counter()
        for name in (name for names in self.quarantine.values() for name in names):
            counts[part_facts(name)[2]] += part_facts(name)[1]
        return dict(counts.most_common())


@dataclass(frozen=True)
class Table:
    """One table below a root: a folder of parts, its recipe in `_table.json`, its live parts in `_parts.json`."""

    root: str
    name: str
    num_buckets: int

    @property
    def store(self) -> Store:
        """The table's folder."""
        return Store(posixpath.join(self.root, self.name))

    @property
    def key(self) -> tuple[str, ...]:
        """Names of the key columns."""
        return key_of(self.name)

    def header(self) -> dict[str, Any] | None:
        """Recipe, fingerprint and package versions; None where the table was never begun."""
        return self.store.read_json("_table.json")

    def manifest(self) -> dict[str, Any] | None:
        """What a finished table holds; None while rows may be missing."""
        return self.store.read_json("_parts.json")

    def finished(self) -> dict[str, Any]:
        """The manifest of a table that others read; raises TableError where it is not finished."""
        manifest = self.manifest()
        if manifest is None:
            script = _SCRIPTS.get(self.name, "run")
            raise TableError(f"table {self.name} below {self.root} is not finished: run jobs/{script}.py first")
        return manifest

    def begin(self, expected: int, missing: int) -> None:
        """Say that rows are being made: how many the table will account for, how many it lacks, and since when.

        A run that goes on where another was killed keeps the time of that one.
        """
        before = self.store.read_json("_plan.json") if self.manifest() is None else None
        plan = progress.Plan(expected, missing, time.time())
        if before is not None and progress.Plan.of(before).begun is not None:
            plan = progress.Plan.of(before)._replace(expected=expected)
        self.store.write_json("_plan.json", plan._asdict())
        self.store.delete(["_parts.json"])

    def parts(self, manifest: dict[str, Any] | None = None) -> Parts:
        """The live parts: those that a manifest names, else those that are there."""
        if manifest is not None:
            return parts_by_bucket(manifest["parts"], manifest["quarantine_parts"])
        return parts_by_bucket(self.store.list(), self.store.list(QUARANTINE))

    def read(self, names: Sequence[str], columns: Sequence[str], filter: pc.Expression | None = None) -> pa.Table:
        """Some columns of some parts, in the order of the parts."""
        return self.store.read_parquet(names, columns, filter)

    def read_all(self, columns: Sequence[str]) -> pa.Table:
        """Some columns of the whole finished table: for metadata, not for images."""
        names = [name for names in self.parts(self.finished()).rows.values() for name in names]
        if not names:
            raise TableError(f"table {self.name} below {self.root} has no rows")
        return self.read(names, columns)

    def write(self, rows: pa.Table) -> list[str]:
        """Write rows of any buckets as parts below MAX_PART_BYTES, each sorted by key; returns their names.

        The same rows always get the same name, so a task that is tried again replaces its own file.
        """
        names = []
        for bucket, chunk in self.by_bucket(rows):
            for part in _cut(chunk, MAX_PART_BYTES):
                size = MAX_THUMBNAILS_BYTES if self.name == "thumbnails" else MAX_ROW_GROUP_BYTES
                name = f"{bucket:05d}-{len(part)}-{_digest(part, (*self.key, 'input_hash', 'row_hash'))}.parquet"
                with self.store.put(name) as file:
                    _write_parquet(file, part, self.key, size)
                names.append(name)
        return names

    def write_quarantine(self, rows: pa.Table) -> list[str]:
        """Write rows of `quarantine_schema`, one file per bucket and reason; returns their names."""
        names = []
        for bucket, chunk in self.by_bucket(rows):
            for reason in sorted(set(chunk["reason"].to_pylist())):
                assert reason in REASONS, f"{reason}: not one of schemas.REASONS"
                part = chunk.filter(pc.equal(chunk["reason"], reason))
                digest = _digest(part, (*self.key, "input_hash", "attempts"))
                name = f"{bucket:05d}-{reason}-{len(part)}-{digest}.parquet"
                with self.store.put(posixpath.join(QUARANTINE, name)) as file:
                    _write_parquet(file, part, self.key)
                names.append(name)
        return names

    def by_bucket(self, rows: pa.Table) -> Iterable[tuple[int, pa.Table]]:
        """Rows of any buckets: each bucket that has some, and its rows, sorted by key. Rows in order are not copied."""
        buckets = np.array([bucket_of(row_id, self.num_buckets) for row_id in rows["id"].to_pylist()], np.int64)
        by_key = [(name, "ascending") for name in self.key]
        order = pc.sort_indices(rows.select(list(self.key)), by_key).to_numpy().astype(np.int64)
        for bucket in np.unique(buckets):
            at = order[buckets[order] == bucket]
            if (np.diff(at) == 1).all():
                yield int(bucket), rows.slice(at[0], len(at))
            else:
                yield int(bucket), rows.filter(pa.array(buckets == bucket)).sort_by(by_key)

    def read_quarantine(self, names: Sequence[str]) -> pa.Table:
        """All that some quarantine files say."""
        if not names:
            return quarantine_schema(self.name).empty_table()
        parts = [posixpath.join(QUARANTINE, name) for name in names]
        return self.store.read_parquet(parts, quarantine_schema(self.name).names)


def open_root(root: str) -> int:
    """Number of buckets of a root that exists; raises TableError where there is none."""
    settings = Store(root).read_json("_root.json")
    if settings is None:
        raise TableError(f"{root} is not an ArtSim root (it has no _root.json): run jobs/run.py root={root} first")
    return int(settings["num_buckets"])


def create_root(root: str, num_buckets: int) -> int:
    """Make a root, or open the one that is there; returns its number of buckets, which never changes."""
    store = Store(root)
    if store.read("_root.json") is None:
        store.write_json("_root.json", {"format": FORMAT, "num_buckets": num_buckets})
    return open_root(root)


def fingerprint(recipe: dict[str, Any]) -> str:
    """What identifies a table's contents: a hash of its recipe, 16 hexadecimal digits.

    A model that is pinned by the digest of its files is the same wherever they lie.
    """
    return hashlib.sha256(json.dumps(_without_places(recipe), sort_keys=True).encode()).hexdigest()[:16]


def _without_places(recipe: Any) -> Any:
    if not isinstance(recipe, dict):
        return recipe
    pinned = str(recipe.get("revision", "")).startswith("sha256-")
    return {name: _without_places(value) for name, value in recipe.items() if not (pinned and name == "id")}


def claim(table: Table, recipe: dict[str, Any], packages: dict[str, str], overwrite: bool = False) -> list[str]:
    """Begin or resume a table under a recipe; returns warnings about package versions.

    Raises TableError where the table holds rows of another recipe, unless it may be overwritten.
    """
    header = table.header()
    if header is not None and header["fingerprint"] != fingerprint(recipe):
        if not overwrite:
            changes = "; ".join(differences(header["recipe"], json.loads(json.dumps(recipe))))
            raise TableError(
                f"table {table.name} below {table.root} was made with other settings ({changes}): "
                "choose another root, or make it anew with --overwrite"
            )
        others = set(table.store.list()) - {"_parts.json", "_table.json", "_lease.json"}
        table.store.delete(["_parts.json", "_table.json", *sorted(others)])
        header = None
    if header is None:
        value = {"format": FORMAT, "recipe": recipe, "fingerprint": fingerprint(recipe), "packages": packages}
        table.store.write_json("_table.json", value)
        return []
    changed = [name for name, version in packages.items() if header["packages"].get(name) != version]
    return [f"{table.name}: made with {name} {header['packages'].get(name)}, now {packages[name]}" for name in changed]


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Where two recipes differ, a phrase each: `settings.quality: 95 before, 90 now`."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [line for key in keys for line in differences(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))]
    return [] if old == new else [f"{path}: {old} before, {new} now"]


def sweep(table: Table, manifest: dict[str, Any] | None) -> None:
    """Delete what a killed job left: unfinished temporary files, and parts that a manifest does not name."""
    for folder, live in (("", "parts"), (QUARANTINE, "quarantine_parts")):
        names = table.store.list(folder)
        stray = [name for name in names if name.startswith(".tmp-")]
        if manifest is not None:
            stray += sorted(set(filter(_PART_NAME.fullmatch, names)) - set(manifest[live]))
        table.store.delete(posixpath.join(folder, name) for name in stray)


def status(root: str) -> dict[str, Any]:
    """How far each table of a root is: rows expected, done and quarantined; state, rate in rows/s, and seconds.

    Reads manifests and, of tables that are not finished, one list of the folder: names of parts say what they hold.
    """
    num_buckets, now = open_root(root), time.time()
    found = {name: _status(Table(root, name, num_buckets), now) for name in table_names(root)}
    return {"root": root, "tables": {name: told for name, told in found.items() if told is not None}}


def _status(table: Table, now: float) -> dict[str, Any] | None:
    header, manifest = table.header(), table.manifest()
    if header is None:
        return None
    plan = progress.Plan.of(table.store.read_json("_plan.json"))
    if manifest is not None:
        parts = table.parts(manifest)
        expected: int | None = parts.num_rows + sum(parts.reasons.values())
        told = progress.finished(plan, manifest.get("finished"))
    else:
        rows = table.store.times()
        lost = table.store.times(QUARANTINE) if QUARANTINE in rows else {}
        parts, expected = parts_by_bucket(list(rows), list(lost)), plan.expected
        arrivals = [(when, part_facts(name)[1]) for name, when in (rows | lost).items() if _PART_NAME.fullmatch(name)]
        told = progress.unfinished(plan, rows.get("_plan.json"), arrivals, now)
    counts = {"expected": expected, "done": parts.num_rows, "quarantined": parts.reasons}
    return counts | {"recipe": header["fingerprint"]} | told


def sample_quarantine(table: Table, num_rows: int = 5) -> list[dict[str, Any]]:
    """Some rows of a table's quarantine, to show: table, id, reason and message."""
    names = [name for names in table.parts(table.manifest()).quarantine.values() for name in names]
    rows = table.read_quarantine(names[:num_rows]).slice(0, num_rows).to_pylist()
    return [{"table": table.name} | {name: row[name] for name in ("id", "reason", "message")} for row in rows]


ORDER = (
    *("artworks", "duplicates", "resized", "thumbnails", "captions", "prompts", "generated", "generated_captions"),
    "embeddings",
    *("generated_embeddings", "caption_embeddings", "generated_caption_embeddings", "cues", "generated_cues"),
    *("splits", "triplets"),
    *("edited", "edited_versions", "edited_embeddings", "edited_version_embeddings", "edited_cues"),
)
"""Tables in the order in which a row walks through them."""


def table_names(root: str) -> list[str]:
    """The tables that a root holds, in the order in which a row walks through them."""
    there = Store(root).list()
    names = []
    for kind in ORDER:
        if kind in ("splits", "triplets"):
            names += [posixpath.join(kind, name) for name in Store(posixpath.join(root, kind)).list()]
        elif kind in there:
            names.append(kind)
    return names


def part_facts(name: str) -> tuple[int, int, str]:
    """What the name of a part says: its bucket, its number of rows, and the reason if it is one of quarantine."""
    match = _PART_NAME.fullmatch(name)
    assert match is not None, name
    return int(match["bucket"]), int(match["rows"]), match["reason"] or ""


def parts_by_bucket(rows: Sequence[str], quarantine: Sequence[str]) -> Parts:
    parts = Parts(defaultdict(list), defaultdict(list))
    for names, found in ((rows, parts.rows), (quarantine, parts.quarantine)):
        for name in filter(_PART_NAME.fullmatch, names):
            found[part_facts(name)[0]].append(name)
    return parts


def read_or_empty(table: Table, names: Sequence[str], columns: Sequence[str]) -> pa.Table:
    if names:
        return table.read(names, columns)
    types = {"variant": pa.int32(), "draw": pa.int32(), "row_hash": pa.uint64(), "input_hash": pa.uint64()}
    return pa.schema([(name, types.get(name, pa.string())) for name in columns]).empty_table()


def identities(keys: pa.Table, key: Sequence[str]) -> pa.Array:
    """One string per row for its key together with the hash of what it was made from."""
    return key_strings(keys, (*key, "input_hash"))


def _digest(rows: pa.Table, columns: Sequence[str]) -> str:
    text = "\n".join(key_strings(rows, columns).to_pylist())
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _cut(rows: pa.Table, max_bytes: int) -> Iterable[pa.Table]:
    """Consecutive slices of at most max_bytes each, or of one row; halves, because rows differ in size."""
    if rows.nbytes <= max_bytes or len(rows) == 1:
        yield rows
        return
    half = len(rows) // 2
    yield from _cut(rows.slice(0, half), max_bytes)
    yield from _cut(rows.slice(half), max_bytes)


def _write_parquet(
    file: BinaryIO, rows: pa.Table, key: Sequence[str], max_group_bytes: int = MAX_ROW_GROUP_BYTES
) -> None:
    """One Parquet file with row groups of at most so many bytes; statistics for scalars, so that readers can skip."""
    # Key and hashes lie together, in the middle: with either square of `resized` they are one range of bytes.
    others = [name for name in rows.column_names if name not in (*key, "input_hash", "row_hash")]
    middle = [name for name in rows.column_names if name not in others]
    rows = rows.select([*others[: len(others) // 2], *middle, *others[len(others) // 2 :]])
    scalars = [name for name in rows.column_names if not _is_bulky(rows.schema.field(name).type)]
    compression = "zstd" if len(scalars) == rows.num_columns else "none"  # JPEGs and features do not shrink
    with pq.ParquetWriter(
        file, rows.schema, compression=compression, use_dictionary=False, write_statistics=scalars
    ) as writer:
        for group in _cut(rows, max_group_bytes):
            writer.write_table(group)


def _is_bulky(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_nested(kind))

"""Taking works out of an export that was made before: whatever its form, file by file, each whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Collection
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from artsim.card import CARD
from artsim.formats import image_names
from artsim.removal import RemovalError
from artsim.store import Store

_NEW = ".tmp-"
"""Before the name of a file that will take another's place."""

Recall = Callable[[Store, Collection[str]], int]


def form_of(url: str) -> Recall:
    """What takes works out of an export of this form; RemovalError where there is no export."""
    there = Store(url).list()
    if "metadata.csv" in there:
        return _from_folders
    if "data" in there:
        return _from_parquet
    if any(name.endswith(".tar") for name in there):
        return _from_webdataset
    raise RemovalError(f"--export {url}: holds no export, and nothing was removed")


def recall(url: str, ids: Collection[str]) -> int:
    """Take works out of an export and say so in its card; returns how many versions went. Can be started again."""
    store = Store(url)
    num_versions = form_of(url)(store, frozenset(ids))
    card = store.read(CARD)
    if num_versions and card is not None:
        day = datetime.now(UTC).date().isoformat()
        line = f"\n{num_versions:,} versions that are counted above were taken out on {day}.\n"
        store.write(CARD, card + line.encode())
    return num_versions


def _from_folders(store: Store, ids: Collection[str]) -> int:
    """Pictures first: as long as metadata.csv names them, they can be found."""
    count = 0
    with (
        io.TextIOWrapper(store.stream("metadata.csv", "rb"), encoding="utf-8", newline="") as old,
        io.TextIOWrapper(store.stream(f"{_NEW}metadata.csv"), encoding="utf-8", newline="") as new,
    ):
        rows = csv.DictReader(old)
        kept = csv.DictWriter(new, rows.fieldnames or [], lineterminator="\n")
        kept.writeheader()
        for row in rows:
            if row["id"] in ids:
                store.delete(image_names(row).values())
                count += 1
            else:
                kept.writerow(row)
    _put(store, "metadata.csv", count)
    return count


def _from_parquet(store: Store, ids: Collection[str]) -> int:
    return sum(
        _from_shard(store, f"data/{name}", ids)
        for name in store.list("data")
        if name.endswith(".parquet") and not name.startswith(_NEW)
    )


def _from_shard(store: Store, name: str, ids: Collection[str]) -> int:
    wanted = pa.array(sorted(ids), pa.string())
    with store.stream(name, "rb") as stream, pq.ParquetFile(stream) as file:
        count: int = pc.sum(pc.is_in(file.read(["id"])["id"], value_set=wanted)).as_py() or 0
        if not count:
            return 0
        with (
            store.stream(_new_name(name)) as target,
            pq.ParquetWriter(target, file.schema_arrow, compression="zstd") as new,
        ):
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group)
                new.write_table(rows.filter(pc.invert(pc.is_in(rows["id"], value_set=wanted))))
    _put(store, name, count)
    return count


def _from_webdataset(store: Store, ids: Collection[str]) -> int:
    return sum(
        _from_tar(store, name, ids) for name in store.list() if name.endswith(".tar") and not name.startswith(_NEW)
    )


def _from_tar(store: Store, name: str, ids: Collection[str]) -> int:
    gone = set()
    with store.stream(name, "rb") as stream, tarfile.open(fileobj=stream) as tar:
        for member in tar:
            if member.name.endswith(".json") and json.load(_contents(tar, member))["id"] in ids:
                gone.add(member.name.split(".")[0])
    if not gone:
        return 0
    with (
        store.stream(name, "rb") as stream,
        tarfile.open(fileobj=stream) as tar,
        store.stream(_new_name(name)) as target,
        closing(tarfile.TarFile(fileobj=target, mode="w", format=tarfile.PAX_FORMAT)) as new,
    ):
        for member in tar:
            if member.name.split(".")[0] not in gone:
                new.addfile(member, _contents(tar, member))
    _put(store, name, len(gone))
    return len(gone)


def _contents(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    """The contents of a member, which our shards always have."""
    file = tar.extractfile(member)
    assert file is not None, member.name
    return file


def _new_name(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{_NEW}{file}"


def _put(store: Store, name: str, changed: int) -> None:
    if changed:
        store.rename(_new_name(name), name)
    else:
        store.delete([_new_name(name)])

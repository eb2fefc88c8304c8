"""Which works were taken out of a root and must not come back."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from artsim.store import Store

TOMBSTONES = "_removed.json"
"""`works`: id, sha256 of the file where it was known, when (UTC), and the models that learned from it. `digests`: of
each table, those that its contents had in turn while works were taken out of it, so that a removal that was cut off
can tell a table that was up to date from one that was not."""


def read_book(root: str) -> dict[str, Any]:
    """What TOMBSTONES holds; empty where nothing was ever removed."""
    return Store(root).read_json(TOMBSTONES) or {"works": [], "digests": {}}


def removed(root: str) -> set[str]:
    """Ids of the works that were taken out of a root."""
    return {work["id"] for work in read_book(root)["works"]}


def without_removed(root: str, rows: pa.Table) -> pa.Table:
    """The rows of a listing but those of works that were taken out of the root."""
    return rows.filter(pc.invert(pc.is_in(rows["id"], value_set=pa.array(sorted(removed(root)), pa.string()))))

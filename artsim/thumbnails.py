"""The thumbnail of one painting out of its table, for who shows paintings one by one."""

from __future__ import annotations

from functools import cached_property

import pyarrow.compute as pc

from artsim.schemas import bucket_of
from artsim.tables import Parts, Table, open_root


class Thumbnails:
    """Those of a root, as its finished table held them when this was made."""

    def __init__(self, root: str) -> None:
        """Raises TableError where there is no root."""
        self._table = Table(root, "thumbnails", open_root(root))

    @cached_property
    def _parts(self) -> Parts:
        return self._table.parts(self._table.finished())

    def read(self, painting: str) -> bytes | None:
        """JPEG bytes of a painting, by its id; None where there is no such row.

        Reads one row group of the painting's bucket, 0.25 MB. Raises TableError where the table is not finished, and
        StoreError where it cannot be read, as where a part was replaced meanwhile: then make another of this class.
        """
        names = self._parts.rows.get(bucket_of(painting, self._table.num_buckets), [])
        if not names:
            return None
        found = self._table.read(names, ["image"], pc.field("id") == painting)["image"].to_pylist()
        return found[0] if found else None

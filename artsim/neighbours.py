"""The nearest versions of other paintings in the frozen embedding: the hardest negatives there are.

N pictures, D width of the pooled features, A anchors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from artsim.schemas import to_array
from artsim.tables import Table

Kind = tuple[str, str | None, int | None]
"""Split, level and variant of versions; level and variant are None for paintings."""
_NUM_AT_ONCE = 256
"""Anchors that are compared with all candidates at a time: 58 MB of similarities for 57,000 candidates."""
_MARGIN = 8
"""Candidates beyond those asked for that are compared again in float64, so that order is not left to rounding."""


class Pictures(NamedTuple):
    """Paintings or versions and their features."""

    keys: pa.Table
    """id, and level and variant of versions; N rows"""
    pooled: Iterable[np.ndarray]
    """(n, D) float32 each, N rows in all, in the order of the keys"""

    @classmethod
    def of(cls, table: Table) -> Pictures:
        """Those of a finished table, whose features are read bucket by bucket."""
        return cls(table.read_all(table.key), _pooled(table))


def _pooled(table: Table) -> Iterator[np.ndarray]:
    for names in table.parts(table.finished()).rows.values():
        if names:
            yield to_array(table.read(names, ["pooled"])["pooled"])


class _Matrix:
    """Features of the pictures of all splits, sorted by kind and then id: N x D float32 in memory, once."""

    def __init__(self, pictures: Pictures, split_of: dict[str, str]) -> None:
        keys = [pictures.keys[name].to_pylist() for name in pictures.keys.column_names]
        levels, variants = keys[1:] if len(keys) > 1 else ([None] * len(keys[0]), [None] * len(keys[0]))
        rows = [(split_of.get(row_id), *kind) for row_id, *kind in zip(keys[0], levels, variants, strict=True)]
        inside = [at for at, row in enumerate(rows) if row[0] is not None]
        order = sorted(inside, key=lambda at: (rows[at][0], rows[at][1] or "", rows[at][2] or 0, keys[0][at]))
        self.ids: list[str] = [keys[0][at] for at in order]
        self.kinds: dict[Kind, slice] = {}
        for to, at in enumerate(order):
            self.kinds[rows[at]] = slice(self.kinds.get(rows[at], slice(to, to)).start, to + 1)
        place = np.full(len(rows), -1, np.int64)
        place[order] = np.arange(len(order))
        self.vectors = _filled(pictures.pooled, place, len(order))

    def train(self) -> np.ndarray:
        """Features of the training split, (n, D) float32."""
        rows = [rows for kind, rows in self.kinds.items() if kind[0] == "train"]
        return self.vectors[rows[0].start : rows[-1].stop] if rows else self.vectors[:0]

    def centre(self, mean: np.ndarray) -> None:
        """Take a mean (D,) off and bring every row to length 1, in place."""
        for start in range(0, len(self.vectors), 4096):
            some = self.vectors[start : start + 4096]
            some -= mean.astype(np.float32)
            some /= np.maximum(np.linalg.norm(some, axis=1, keepdims=True), 1e-12)


def _filled(chunks: Iterable[np.ndarray], place: np.ndarray, num_rows: int) -> np.ndarray:
    """Chunks (n, D) as one array (num_rows, D): row r of all chunks goes to place[r], or nowhere where that is -1."""
    found, start = np.zeros((num_rows, 0), np.float32), 0
    for chunk in chunks:
        if not start:
            found = np.zeros((num_rows, chunk.shape[1]), np.float32)
        to = place[start : start + len(chunk)]
        found[to[to >= 0]] = chunk[to >= 0]
        start += len(chunk)
    return found


class Neighbours:
    """Which versions lie nearest to a painting, once the mean of the training split's pictures is taken off.

    Holds all features in float32: 81,445 paintings with two versions each and 512 numbers are 0.5 GB.
    """

    def __init__(self, splits: pa.Table, paintings: Pictures, versions: Pictures) -> None:
        """`splits` has the columns id, split and component; pictures of paintings that are not there are left out."""
        ids, names, components = (splits[name].to_pylist() for name in ("id", "split", "component"))
        split_of = dict(zip(ids, names, strict=True))
        number = dict(zip(ids, np.unique(np.array(components, str), return_inverse=True)[1].tolist(), strict=True))
        self._paintings, self._versions = _Matrix(paintings, split_of), _Matrix(versions, split_of)
        matrices = self._paintings, self._versions
        num_train = sum(len(matrix.train()) for matrix in matrices)
        mean = sum(matrix.train().sum(0, dtype=np.float64) for matrix in matrices) / max(1, num_train)
        for matrix in matrices:
            matrix.centre(mean)
        self._row = {painting: row for row, painting in enumerate(self._paintings.ids)}
        self._component = [np.array([number[i] for i in m.ids], np.int64) for m in matrices]

    @classmethod
    def load(cls, root: str, num_buckets: int, split: str) -> Neighbours:
        """Those of a root, by the names that a split gives: `a70`."""
        splits, *pictures = (
            Table(root, name, num_buckets) for name in (f"splits/{split}", "embeddings", "generated_embeddings")
        )
        return cls(splits.read_all(("id", "split", "component")), *map(Pictures.of, pictures))

    def nearest(self, kind: Kind, anchors: Sequence[str], count: int) -> dict[str, list[str]]:
        """The paintings whose versions of a kind are nearest to each anchor, nearest first: `count`, or all there are.

        None is of the anchor's own component. An anchor without features has none.
        """
        known = [anchor for anchor in anchors if anchor in self._row]
        found: dict[str, list[str]] = {anchor: [] for anchor in anchors}
        if kind in self._versions.kinds:
            for start in range(0, len(known), _NUM_AT_ONCE):
                some = known[start : start + _NUM_AT_ONCE]
                found |= dict(zip(some, self._nearest(kind, some, count), strict=True))
        return found

    def _nearest(self, kind: Kind, anchors: list[str], count: int) -> list[list[str]]:
        rows, within = np.array([self._row[anchor] for anchor in anchors]), self._versions.kinds[kind]
        queries, candidates = self._paintings.vectors[rows], self._versions.vectors[within]
        similarities = queries @ candidates.T
        similarities[self._component[0][rows, None] == self._component[1][within]] = -np.inf
        few = min(count + _MARGIN, len(candidates))
        best = np.sort(np.argpartition(-similarities, few - 1, axis=1)[:, :few], axis=1)
        exact = np.einsum("ad,and->an", queries, candidates[best], dtype=np.float64)
        exact[np.isneginf(np.take_along_axis(similarities, best, 1))] = -np.inf
        order = np.argsort(-exact, axis=1, kind="stable")[:, :count]  # of equals, the smaller id
        ids = self._versions.ids[within]
        return [[ids[best[a, at]] for at in order[a] if exact[a, at] > -np.inf] for a in range(len(anchors))]

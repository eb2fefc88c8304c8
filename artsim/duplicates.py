"""Which paintings are the same: equal files, near perceptual hashes, and the components that these pairs form.

R rows, P pairs of row numbers. A component is named by its smallest row.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import comb
from typing import ClassVar

import numpy as np
import pyarrow as pa

from artsim.config import DuplicatesConfig
from artsim.schemas import Batch

HASH_BITS = 64
MIN_BITS_SET = 24
"""ImageHash sets the bits of coefficients above their median, 32 of 64. Where fewer are set, many equal the median: a
flat or ruled picture, whose hash does not tell it from others."""
_NUM_COMPARED = 4_000_000
"""Pairs of one component that are compared at a time, which bounds the memory."""
_NUM_AT_ONCE = 512
"""Rows that are compared with all others at a time."""
_SORT_COST = 10
"""Comparisons that take as long as putting one row in order."""


def join(labels: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The component of each row (R,) int64 once rows a (P,) and b (P,) are joined; `labels` are those before."""
    while True:
        low, high = np.minimum(labels[a], labels[b]), np.maximum(labels[a], labels[b])
        if (low == high).all():
            return labels
        labels = labels.copy()
        np.minimum.at(labels, high, low)
        while (labels != labels[labels]).any():
            labels = labels[labels]


def near_components(hashes: np.ndarray, kinds: np.ndarray, max_distance: int) -> np.ndarray:
    """Components (R,) int64 of rows of one kind whose hashes differ in max_distance bits or less.

    hashes (R,) uint64 and kinds (R,) int64; no two rows may have both the same. Exact: the bits are cut into
    max_distance + k blocks, of which two near hashes share k at least, so for every choice of k blocks only rows are
    compared that agree there (k = 1: multi-index hashing, Norouzi et al. 2012, section 3; more: Manku et al. 2007,
    "Detecting near-duplicates for web crawling", section 3).
    """
    labels = np.arange(len(hashes))
    for mask in _masks(hashes, kinds, max_distance):
        order = np.lexsort((hashes & mask, kinds))
        labels = _join_near(labels, order, hashes[order], _groups(hashes[order] & mask, kinds[order]), max_distance)
    return labels


def _masks(hashes: np.ndarray, kinds: np.ndarray, max_distance: int) -> Iterator[np.uint64]:
    """The bits of every choice of k blocks, with the k for which sorting and comparing cost least.

    Bits that tell little, because most hashes have them alike, are dealt out to all blocks.
    """
    shares = np.array([np.mean(hashes >> np.uint64(bit) & np.uint64(1)) for bit in range(HASH_BITS)]).clip(
        1e-9, 1 - 1e-9
    )
    entropy = -shares * np.log2(shares) - (1 - shares) * np.log2(1 - shares)
    num_pairs = float((np.unique(kinds, return_counts=True)[1].astype(float) ** 2).sum()) / 2

    def cost(k: int) -> float:
        alike = 2 ** -(entropy.sum() * k / (max_distance + k))
        return comb(max_distance + k, k) * (_SORT_COST * len(hashes) + num_pairs * alike)

    num_shared = min(range(1, 5), key=cost)
    bits, num_blocks = np.argsort(-entropy, kind="stable"), max_distance + num_shared
    for chosen in combinations([bits[block::num_blocks] for block in range(num_blocks)], num_shared):
        yield np.uint64(sum(1 << int(bit) for block in chosen for bit in block))


def _groups(*columns: np.ndarray) -> np.ndarray:
    """Where each run of rows begins that agree in all columns, and the number of rows at the end."""
    differ = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return np.concatenate([[0], np.flatnonzero(differ) + 1, [len(columns[0])]])


def _join_near(
    labels: np.ndarray, order: np.ndarray, ordered: np.ndarray, bounds: np.ndarray, max_distance: int
) -> np.ndarray:
    """Labels after the near pairs of each group were joined; group g is order[bounds[g]:bounds[g + 1]].

    Every row is compared with the next of its group, then with the one after it, and so on: memory stays that of a few
    columns. A group that has become one component is left, so that a heap of alike hashes does not cost its square.
    """
    sizes = np.diff(bounds)
    group = np.repeat(np.arange(len(sizes)), sizes)
    at, gap = np.arange(len(ordered)), 1
    while len(at := at[at + gap < bounds[group[at] + 1]]):
        near = at[np.bitwise_count(ordered[at] ^ ordered[at + gap]) <= max_distance]
        labels = join(labels, order[near], order[near + gap])
        if gap & (gap - 1) == 0:  # 1, 2, 4, ...
            found = labels[order]
            torn = np.minimum.reduceat(found, bounds[:-1]) < np.maximum.reduceat(found, bounds[:-1])
            at = at[torn[group[at]]]
        gap += 1
    return labels


def components(artworks: pa.Table, config: DuplicatesConfig) -> np.ndarray:
    """The component of each row (R,) int64: equal files, and near hashes by one artist or by any two.

    `artworks` has the columns id, artist, sha256 and phash.
    """
    rows = np.arange(len(artworks))
    hashes, artists = _hashes(artworks), _codes(artworks["artist"])
    files = _codes(artworks["sha256"])
    labels = join(rows, rows, np.unique(files, return_index=True)[1][files])
    telling = np.bitwise_count(hashes) >= MIN_BITS_SET
    known = telling & np.array([bool(artist) for artist in artworks["artist"].to_pylist()], bool)
    labels = _join_rows(labels, rows[telling], hashes, np.zeros_like(rows), config.max_distance_across)
    return _join_rows(labels, rows[known], hashes, artists, config.max_distance)


def _join_rows(
    labels: np.ndarray, rows: np.ndarray, hashes: np.ndarray, kinds: np.ndarray, max_distance: int
) -> np.ndarray:
    """Labels after the near pairs of one kind among some rows were joined; equal hashes are compared once."""
    if not len(rows):
        return labels
    rows = rows[np.lexsort((hashes[rows], kinds[rows]))]
    bounds = _groups(hashes[rows], kinds[rows])
    first = rows[bounds[:-1]]
    found = first[near_components(hashes[first], kinds[first], max_distance)]
    return join(labels, rows, np.repeat(found, np.diff(bounds)))


def join_similar(components: np.ndarray, vectors: np.ndarray, min_similarity: float) -> np.ndarray:
    """Components (R,) in which those that hold two rows as alike as min_similarity are one, named by the smallest.

    components (R,) str and vectors (R, D) float32, compared by cosine once the mean of all is taken off. Every pair is
    looked at, in chunks of a matrix product: R * R * D operations, and 4 * R * 512 bytes at a time.
    """
    centred = vectors - vectors.mean(0, dtype=np.float64).astype(np.float32)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    names, labels = np.unique(components, return_inverse=True)
    found = np.arange(len(names))
    for start in range(0, len(unit), _NUM_AT_ONCE):
        a, b = np.nonzero(unit[start : start + _NUM_AT_ONCE] @ unit[start:].T >= min_similarity)
        found = join(found, labels[start + a], labels[start + b])
    return names[found[labels]]


def _hashes(artworks: pa.Table) -> np.ndarray:
    return np.array([int(phash, 16) for phash in artworks["phash"].to_pylist()], np.uint64)


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    """A number for each different value (R,) int64."""
    return column.combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy().astype(np.int64)


def _nearest(labels: np.ndarray, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest other row of each row's component (R,) int64, the first of equals, and its distance in bits.

    A row that is alone is its own, at distance 0.
    """
    nearest, distance = np.arange(len(labels)), np.zeros(len(labels), np.int32)
    order = np.argsort(labels, kind="stable")
    bounds = _groups(labels[order])
    for group in np.flatnonzero(np.diff(bounds) > 1):
        members = order[bounds[group] : bounds[group + 1]]
        step = max(1, _NUM_COMPARED // len(members))
        for start in range(0, len(members), step):
            some = members[start : start + step]
            bits = np.bitwise_count(hashes[some, None] ^ hashes[members])
            bits[np.arange(len(some)), start + np.arange(len(some))] = HASH_BITS + 1
            at = bits.argmin(1)
            nearest[some], distance[some] = members[at], bits[np.arange(len(some)), at]
    return nearest, distance


def _none_where(absent: np.ndarray, values: np.ndarray) -> np.ndarray:
    values = values.astype(object)
    values[absent] = None
    return values


class FindDuplicates:
    """Say which paintings of a set are the same file, or look the same.

    Reads  id (B,).
    Adds   exact_of (B,) the smallest id with the same file, None for that painting itself;
           near_of (B,) the other painting of its component whose phash is nearest; distance (B,) bits between the two;
           both None for a painting that is alone;
           component (B,) the smallest id that equal files and near hashes lead to; num_in_component (B,) int32.
    """

    version: ClassVar[int] = 1
    determinism: ClassVar[str] = "exact"

    def __init__(self, config: DuplicatesConfig, artworks: pa.Table) -> None:
        """`artworks`: id, artist, sha256 and phash of the whole set, which is looked through here, once."""
        artworks = artworks.sort_by("id")
        ids = np.array(artworks["id"].to_pylist(), object)
        labels = components(artworks, config)
        files = _codes(artworks["sha256"])
        first = np.unique(files, return_index=True)[1][files]
        nearest, distance = _nearest(labels, _hashes(artworks))
        rows, sizes = np.arange(len(ids)), np.bincount(labels, minlength=len(ids))[labels]
        self._row = {painting: row for row, painting in enumerate(ids)}
        self._columns = {
            "exact_of": _none_where(first == rows, ids[first]),
            "near_of": _none_where(sizes == 1, ids[nearest]),
            "distance": _none_where(sizes == 1, distance),
            "component": ids[labels],
            "num_in_component": sizes.astype(np.int32),
        }

    def __call__(self, batch: Batch) -> Batch:
        rows = np.array([self._row[painting] for painting in batch["id"]], np.int64)
        return batch | {name: values[rows] for name, values in self._columns.items()}

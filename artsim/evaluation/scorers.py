"""Everything that scores a pair of pictures, as one unit vector for each picture: heads, and baselines beside them.

Shapes: n pictures, D width of the pooled features, E channels of the early layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch

from artsim import baselines
from artsim.baselines import SCORERS
from artsim.cache import Key, load_bucket
from artsim.config import Config, HeadConfig
from artsim.resume import Input
from artsim.schemas import VERSION_KEY, to_array
from artsim.siamese import Head, Sizes, build_head
from artsim.tables import Table

NUM_FITTED = 20_000
"""Pictures of the training set, about, that means, whitening and the like are fitted on: more change nothing."""
FILE_CUES = ("num_bytes", "jpeg_quality", "aspect")
"""What a file gives away of itself."""
_CUES = ("histogram", "phash", *FILE_CUES)


class Vectors(NamedTuple):
    """The pictures of val and test: which row is whose, and what is known of each."""

    row_of: dict[Key, int]
    by_scorer: dict[str, np.ndarray]
    """unit vectors (n, D)"""
    cues: dict[str, np.ndarray]
    """FILE_CUES (n,) float64, NaN where one is not known"""
    train: dict[str, np.ndarray]
    """pooled and early of the pictures of the training set, which baselines are fitted on"""


class Sources(NamedTuple):
    """The tables that scorers read."""

    features: tuple[Input, ...]
    """as cache.inputs_of gives them"""
    early: tuple[Input, ...]
    cues: tuple[Input, ...]
    num_buckets: int

    @classmethod
    def of(cls, config: Config, features: tuple[Input, ...], num_buckets: int) -> Sources:
        """Those of a root; TableError where one is not finished."""
        early = {"early": "early"}
        cues = {name: name for name in _CUES}
        names = {"embeddings": early, "generated_embeddings": early, "cues": cues, "generated_cues": cues}
        found = [Input.of(Table(config.root, name, num_buckets), columns) for name, columns in names.items()]
        return cls(features, tuple(found[:2]), tuple(found[2:]), num_buckets)


def random_head(pooled_size: int, seed: int) -> Head:
    """The thesis's head as it is before training: what its shape alone does to features."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_head(HeadConfig(preset="pooled"), *Sizes(pooled_size)).eval()


class Loaded(NamedTuple):
    """One bucket's pictures of val and test, and its features of the training set."""

    keys: list[Key]
    columns: dict[str, np.ndarray]
    """pooled (n, D), early (n, 2E), histogram (n, H), phash (n,) str, FILE_CUES (n,), and what heads say (n, D)"""
    train: dict[str, np.ndarray]
    """pooled and early of pictures of the training set"""


def load(sources: Sources, heads: Mapping[str, Head], split_of: Mapping[str, str], bucket: int) -> Loaded | None:
    """What scorers need of one bucket; None where it is empty."""
    keys, features = load_bucket(sources.features, bucket)
    there = np.flatnonzero(_are_in(sources.cues, keys, bucket))
    if not len(there):
        return None
    keys = [keys[row] for row in there]
    pooled, tokens, captions = (None if column is None else column[there] for column in features)
    assert pooled is not None
    columns = {"pooled": pooled, **_look_up(sources.early, keys, bucket), **_look_up(sources.cues, keys, bucket)}
    splits = np.array([split_of.get(painting, "") for painting, _, _ in keys])
    judged, train = np.flatnonzero(np.isin(splits, ("val", "test"))), splits == "train"
    found = {name: column[judged] for name, column in columns.items()}
    for name, head in heads.items():
        found[name] = embed(head, (pooled, tokens, captions), judged)
    rows = np.flatnonzero(train)
    rows = rows[:: max(1, len(rows) * sources.num_buckets // NUM_FITTED)]
    fitted = {name: columns[name][rows] for name in ("pooled", "early")}
    return Loaded([keys[row] for row in judged], found, fitted)


def _are_in(inputs: Sequence[Input], keys: Sequence[Key], bucket: int) -> np.ndarray:
    """Whether paintings and versions (n,) are in their tables too, and not in quarantine there."""
    known = {(painting, None, None) for painting in inputs[0].keys(bucket)["id"].to_pylist()}
    versions = inputs[1].keys(bucket)
    known |= set(zip(*(versions[name].to_pylist() for name in VERSION_KEY), strict=True))
    return np.array([key in known for key in keys], bool)


def _look_up(inputs: Sequence[Input], keys: Sequence[Key], bucket: int) -> dict[str, np.ndarray]:
    """Columns of paintings and of versions, row by row in the order of the keys, where paintings come first."""
    paintings = [painting for painting, level, _ in keys if level is None]
    versions = [key for key in keys if key[1] is not None]
    wanted = pa.table({"id": pa.array(paintings, pa.string())}), _version_keys(versions)
    parts = [source.rows(bucket, rows) for source, rows in zip(inputs, wanted, strict=True) if len(rows)]
    return {name: np.concatenate([to_array(part[name]) for part in parts]) for name in parts[0]}


def _version_keys(keys: Sequence[Key]) -> pa.Table:
    types = pa.string(), pa.string(), pa.int32()
    columns = zip(*keys, strict=True) if keys else ([], [], [])
    return pa.table(
        {name: pa.array(column, kind) for name, column, kind in zip(VERSION_KEY, columns, types, strict=True)}
    )


@torch.no_grad()
def embed(head: Head, columns: Sequence[np.ndarray | None], rows: np.ndarray) -> np.ndarray:
    """What a head makes of some rows of pooled, tokens and captions, (n, D) float32 of length 1."""
    parts = [np.zeros((0, head.sizes.pooled_size), np.float32)]
    reads = (True, head.sizes.token_size is not None, head.config.caption_fusion)
    needed = [column if read else None for column, read in zip(columns, reads, strict=True)]
    for some in np.array_split(rows, max(1, len(rows) // 256)):
        inputs = [None if column is None else torch.from_numpy(column[some]) for column in needed]
        parts.append(head(*inputs).numpy())
    return np.concatenate(parts)


def join(parts: Iterable[Loaded | None], train: dict[str, np.ndarray] | None = None) -> Vectors:
    """Put buckets together, fit the baselines on the training set, and give each picture its unit vectors.

    `train`: that of another root, whose head is judged here.
    """
    found = [part for part in parts if part is not None]
    columns = {name: np.concatenate([part.columns[name] for part in found]) for name in found[0].columns}
    if train is None:
        train = {name: np.concatenate([part.train[name] for part in found]) for name in found[0].train}
    vectors = {name: columns[name] for name in SCORERS if name.endswith(("model", "head")) and name in columns}
    vectors |= {
        "frozen": baselines.frozen(columns["pooled"]),
        "frozen_centred": baselines.centred(train["pooled"], columns["pooled"]),
        "frozen_whitened": baselines.whitened(train["pooled"], columns["pooled"]),
        "style": baselines.style(train["early"], columns["early"]),
        "colours": baselines.colours(columns["histogram"]),
        "phash": baselines.signs(columns["phash"]),
        "bars": baselines.bars(columns["aspect"]),
    }
    row_of = {key: row for row, key in enumerate(key for part in found for key in part.keys)}
    return Vectors(row_of, vectors, {name: columns[name].astype(float) for name in FILE_CUES}, train)

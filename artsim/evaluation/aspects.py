"""Sub-scores of a run: learned from its training set, and the evidence for them from its edited test paintings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artsim.config import Config
from artsim.evaluation.edited import of_split
from artsim.resume import Input
from artsim.schemas import to_array
from artsim.subscores import EXPECTED, Pictures, Subscores, evidence
from artsim.tables import Table

NUM_PICTURES = 400
"""Pictures of each split, about: train is learned from, val tells what unrelated pairs score, test is tried."""
NUM_PAIRS = 2000
"""Unrelated pairs, at most."""


class Hand(NamedTuple):
    """Who made a painting, and what it shows."""

    artist: str
    component: str


class Found(NamedTuple):
    """Some pictures and what they are."""

    ids: list[str]
    edits: list[str]
    """empty for paintings as they are"""
    pictures: Pictures


def aspect_inputs(config: Config, num_buckets: int) -> tuple[tuple[Input, Input], tuple[Input, Input]] | None:
    """Features and cues of paintings and of edited ones; None where the latter, or features of patches, are missing."""
    names = (("embeddings", "cues"), ("edited_embeddings", "edited_cues"))
    tables = [[Table(config.root, name, num_buckets) for name in pair] for pair in names]
    if not (config.embed.tokens and of_split(config, num_buckets)) or any(
        table.manifest() is None for pair in tables for table in pair
    ):
        return None
    columns = [{name: name for name in some} for some in (("pooled", "tokens", "early"), ("histogram",))]
    paintings, edited = ([Input.of(*each) for each in zip(pair, columns, strict=True)] for pair in tables)
    return (paintings[0], paintings[1]), (edited[0], edited[1])


def load_aspects(
    inputs: tuple[tuple[Input, Input], tuple[Input, Input]], split_of: Mapping[str, str], num_buckets: int, bucket: int
) -> dict[str, Found]:
    """One bucket's share of the pictures: `train` and `test` as they are, and `edited`; what is missing is left out."""
    share = -(-NUM_PICTURES // num_buckets)
    paintings, edited = (_common_keys(pair, bucket) for pair in inputs)
    splits = np.array([split_of.get(painting, "") for painting in paintings["id"].to_pylist()])
    is_edited = pc.is_in(paintings["id"], value_set=edited["id"].unique()).to_numpy(zero_copy_only=False)
    of_test = np.flatnonzero(splits == "test")
    chosen = {
        "train": np.flatnonzero(splits == "train")[:share],
        "val": np.flatnonzero(splits == "val")[:share],
        "test": of_test[np.argsort(~is_edited[of_test], kind="stable")][:share],
    }
    found = {
        name: _read(inputs[0], bucket, paintings.take(pa.array(rows))) for name, rows in chosen.items() if len(rows)
    }
    kinds = pc.replace_substring_regex(edited["edit"], "-.*", "")
    wanted = pc.and_(
        pc.is_in(kinds, value_set=pa.array(list(EXPECTED))),
        pc.is_in(edited["id"], value_set=pa.array(found["test"].ids if "test" in found else [], pa.string())),
    )
    edited = edited.filter(wanted)
    return found | ({"edited": _read(inputs[1], bucket, edited)} if len(edited) else {})


def _common_keys(inputs: tuple[Input, Input], bucket: int) -> pa.Table:
    """Keys that both tables have."""
    first, second = (source.keys(bucket).drop_columns(["row_hash"]) for source in inputs)
    names = first.column_names
    return first.join(second, names, join_type="inner").sort_by([(name, "ascending") for name in names])


def _read(inputs: tuple[Input, Input], bucket: int, keys: pa.Table) -> Found:
    columns = {name: to_array(column) for source in inputs for name, column in source.rows(bucket, keys).items()}
    edits = keys["edit"].to_pylist() if "edit" in keys.column_names else [""] * len(keys)
    return Found(keys["id"].to_pylist(), edits, Pictures(**columns))


def join_aspects(parts: Iterable[dict[str, Found]]) -> dict[str, Found]:
    """Put buckets together."""
    parts = list(parts)
    joined = {}
    for name in ("train", "val", "test", "edited"):
        some = [part[name] for part in parts if name in part]
        if some:
            columns = [np.concatenate(column) for column in zip(*(found.pictures for found in some), strict=True)]
            ids, edits = ([value for found in some for value in getattr(found, field)] for field in ("ids", "edits"))
            joined[name] = Found(ids, edits, Pictures(*columns))
    return joined


def how_alike(
    found: Mapping[str, Found], hands: Mapping[str, Hand], seed: int
) -> tuple[Subscores, dict[str, Any]] | None:
    """Sub-scores whose evidence on the test split holds, calibrated on unrelated pairs of val, and the evidence.

    None where pictures lack.
    """
    if set(found) != {"train", "val", "test", "edited"}:
        return None
    test, val = found["test"], found["val"]
    pairs = {name: _pairs([hands[painting] for painting in found[name].ids], seed) for name in ("val", "test")}
    if not all(len(unrelated[0]) > 1 for unrelated, _ in pairs.values()):
        return None
    subscores = Subscores.fit(found["train"].pictures)
    edits = _before_and_after(test, found["edited"])
    unrelated, related = pairs["test"]
    if len(related[0]) > 1:
        edits["same_artist"] = test.pictures.take(related[0]), test.pictures.take(related[1])
    told = evidence(subscores, edits, (test.pictures.take(unrelated[0]), test.pictures.take(unrelated[1])))
    first, second = pairs["val"][0]
    apart = subscores.scores(val.pictures.take(first), val.pictures.take(second))
    return subscores.calibrated(apart).kept(told["passes"]), told


def _before_and_after(test: Found, edited: Found) -> dict[str, tuple[Pictures, Pictures]]:
    at = {painting: row for row, painting in enumerate(test.ids)}
    found = {}
    for edit in dict.fromkeys(edited.edits):
        rows = np.array([row for row, name in enumerate(edited.edits) if name == edit])
        before = np.array([at[edited.ids[row]] for row in rows])
        if len(rows) > 1:
            found[edit] = test.pictures.take(before), edited.pictures.take(rows)
    return found


def _pairs(hands: Sequence[Hand], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of pictures by two artists (2, n), drawn, and pairs of two pictures by one (2, m), none in two pairs.

    Of one component there is one picture at most in a pair by one artist: the others show the same.
    """
    artist, component = (np.unique([hand[at] for hand in hands], return_inverse=True)[1] for at in (0, 1))
    first, second = np.random.default_rng(seed).integers(0, len(hands), (2, 4 * NUM_PAIRS))
    apart = np.flatnonzero(artist[first] != artist[second])[:NUM_PAIRS]
    kept = np.unique(component, return_index=True)[1]
    order = kept[np.argsort(artist[kept], kind="stable")]
    related, at = [], 0
    while at + 1 < len(order):
        if artist[order[at]] == artist[order[at + 1]]:
            related.append((order[at], order[at + 1]))
            at += 1
        at += 1
    return np.stack([first[apart], second[apart]]), np.array(related, np.int64).reshape(-1, 2).T

"""Embeddings from their tables into memory, bucket by bucket: what heads are trained on and evaluated with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artsim.batches import Pairs
from artsim.config import LEVELS, Config
from artsim.resume import Input
from artsim.schemas import VERSION_KEY, key_strings, to_array
from artsim.tables import Table, TableError

Key = tuple[str, str | None, int | None]
"""id, level and variant of a picture; level and variant are None for a painting itself."""


Arrays = tuple[np.ndarray, np.ndarray | None, np.ndarray | None]
"""pooled (n, D) float32, tokens (n, N, T) float16, captions (n, D) float32: the last two where the head reads them."""


def inputs_of(config: Config, num_buckets: int) -> tuple[Input, ...]:
    """The tables that a head of these settings looks at, finished: pictures, and their captions if they are fused."""
    tokens = {"tokens": "tokens"} if config.head.preset == "tokens" else {}
    names = {"embeddings": {"pooled": "pooled"} | tokens, "generated_embeddings": {"pooled": "pooled"} | tokens}
    if config.head.caption_fusion:
        names |= {"caption_embeddings": {"pooled": "caption"}, "generated_caption_embeddings": {"pooled": "caption"}}
    return tuple(Input.of(Table(config.root, name, num_buckets), columns) for name, columns in names.items())


def load_bucket(inputs: Sequence[Input], bucket: int) -> tuple[list[Key], Arrays]:
    """The pictures of one bucket of `inputs_of` and their features; where captions are fused, those that have one."""
    keys: list[Key] = []
    columns: dict[str, list[np.ndarray]] = {"pooled": [], "tokens": [], "caption": []}
    for index, pictures in enumerate(inputs[:2]):
        rows = pictures.keys(bucket).drop_columns(["row_hash"])
        captions = inputs[index + 2] if len(inputs) > 2 else None
        if captions is not None:
            there = key_strings(captions.keys(bucket), captions.table.key)
            rows = rows.filter(pc.is_in(key_strings(rows, pictures.table.key), value_set=there))
        if not len(rows):
            continue
        keys += _keys(rows)
        for source in (pictures, *([captions] if captions else [])):
            for name, column in source.rows(bucket, rows).items():
                columns[name].append(to_array(column))
    joined = {name: np.concatenate(parts) if parts else None for name, parts in columns.items()}
    pooled = joined["pooled"] if joined["pooled"] is not None else np.zeros((0, 0), np.float32)
    return keys, (pooled, joined["tokens"], joined["caption"])


def _keys(rows: pa.Table) -> list[Key]:
    if "level" in rows.column_names:
        return list(zip(*(rows[name].to_pylist() for name in VERSION_KEY), strict=True))
    return [(painting, None, None) for painting in rows["id"].to_pylist()]


class Triplets(NamedTuple):
    """Triplets of some splits, and where their pictures lie among the rows of all chunks."""

    rows: pa.Table
    pairs: Pairs


def locate(triplets: pa.Table, row_of: dict[Key, int]) -> Triplets:
    """Find the pictures of triplets; those whose painting or version has no features are left out.

    `row_of` says which row of Features holds a picture; a negative that is not there becomes -1. Paintings of one
    component are one group.
    """
    names = ("id", "level", "variant", "negative_id", "negative_level", "negative_variant")
    columns = list(zip(*(triplets[name].to_pylist() for name in names), strict=True))
    anchor = np.array([row_of.get((row[0], None, None), -1) for row in columns], np.int64)
    positive = np.array([row_of.get(row[:3], -1) for row in columns], np.int64)
    negative = np.array([row_of.get(row[3:], -1) for row in columns], np.int64)
    there = (anchor >= 0) & (positive >= 0)
    found = triplets.filter(pa.array(there))
    shows = found["component"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    return Triplets(found, Pairs(anchor[there], positive[there], negative[there], group=shows))


def read_triplets(config: Config, num_buckets: int) -> pa.Table:
    """All triplets of the settings' configuration."""
    table = Table(config.root, f"triplets/{config.split.name}", num_buckets)
    columns = (*table.key, "negative_id", "negative_level", "negative_variant", "split", "component")
    return table.read_all(columns)


def triplets_to_train(triplets: pa.Table, config: Config, split: str) -> pa.Table:
    """One triplet for each version in a split, with the negative of the tier that the settings train with."""
    wanted = pc.field("split") == split, pc.field("tier") == config.training.tier, pc.field("draw") == 0
    found = triplets.filter(wanted[0] & wanted[1] & wanted[2])
    if not len(found):
        raise TableError(
            f"triplets/{config.split.name} has no triplet of tier {config.training.tier} in {split}: "
            "set training.tier to one of triplets.tiers"
        )
    return found


def pairs_to_train(triplets: pa.Table, config: Config, split: str, row_of: dict[Key, int]) -> Pairs:
    """What a head of these settings learns from, or is validated with, in a split: pairs and their hard negatives."""
    found = triplets_to_train(triplets, config, split)
    levels = LEVELS if config.training.levels == "both" else (config.training.levels,)
    of_levels = found.filter(pc.is_in(found["level"], value_set=pa.array(levels)))
    if not len(of_levels):
        raise TableError(f"training.levels = {config.training.levels}: no version in {split} is of that level")
    pairs = locate(of_levels, row_of).pairs
    if config.training.loss == "triplet" or config.training.hard_share == 0:
        return pairs
    return _with_hard(pairs, _hard_triplets(triplets, config, split), row_of)


def _hard_triplets(triplets: pa.Table, config: Config, split: str) -> pa.Table:
    wanted = config.training.hard_tiers
    is_hard = pc.is_in(triplets["tier"], value_set=pa.array(wanted))
    found = triplets.filter(pc.and_(is_hard, pc.equal(triplets["split"], split)))
    if not len(found):
        raise TableError(
            f"triplets/{config.split.name} has no triplet of the tiers {', '.join(wanted)} in {split}: set "
            "training.hard_tiers to some of triplets.tiers, or training.hard_share to 0"
        )
    return found


def _with_hard(pairs: Pairs, triplets: pa.Table, row_of: dict[Key, int]) -> Pairs:
    """The pairs with the negatives of hard triplets, as far as these are positives of some pair themselves.

    So what is left out of the positives, by level or approach, is not learned from as a negative either.
    """
    rows, found = locate(triplets, row_of)
    pair_of = np.full(len(row_of) + 1, -1)  # the last is that of a negative that is not there
    pair_of[pairs.positive] = np.arange(len(pairs))
    pair, other = pair_of[found.positive], pair_of[found.negative]
    tier, draw = (rows[name].combine_chunks().dictionary_encode().indices.to_numpy() for name in ("tier", "draw"))
    column = tier * (draw.max(initial=0) + 1) + draw
    there = (pair >= 0) & (other >= 0)
    shape = (len(pairs), int(column.max(initial=-1)) + 1)
    hard, group = np.full(shape, -1), np.full(shape, -1)
    hard[pair[there], column[there]] = found.negative[there]
    group[pair[there], column[there]] = pairs.group[other[there]]
    return replace(pairs, hard=hard, hard_group=group)

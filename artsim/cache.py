"""Embeddings from their tables into memory, bucket by bucket: what heads are trained on and evaluated with."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artsim.batches import Pairs
from artsim.config import LEVELS, Config, Tier, TripletsConfig
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


def locate(triplets: pa.Table, row_of: Mapping[Key, int]) -> Triplets:
    """Find the pictures of triplets; those whose painting or version has no features are left out.

    `row_of` says which row of Features holds a picture; a negative that is not there becomes -1. Paintings of one
    component are one group.
    """
    places = _Places(row_of)
    anchor = places.rows(triplets["id"])
    positive = places.rows(*(triplets[name] for name in VERSION_KEY))
    negative = places.rows(*(triplets[f"negative_{name}"] for name in VERSION_KEY))
    there = (anchor >= 0) & (positive >= 0)
    found = triplets.filter(pa.array(there))
    shows = encode(triplets["component"])[0][there]
    return Triplets(found, Pairs(anchor[there], positive[there], negative[there], group=shows))


class _Places:
    """Where pictures lie, by numbers: of the id, of the level and of the variant."""

    def __init__(self, row_of: Mapping[Key, int]) -> None:
        columns = zip(*row_of, strict=True) if row_of else ([], [], [])
        ids, levels, variants = map(list, columns)
        codes, self._ids = encode(pa.chunked_array([pa.array(ids, pa.string())]))
        at_level = _level_codes(pa.chunked_array([pa.array(levels, pa.string())]))
        at_variant = _variants(pa.array(variants, pa.int32()))
        self._place = np.full((len(self._ids), 1 + len(LEVELS), 1 + at_variant.max(initial=0)), -1, np.int64)
        self._place[codes, at_level, at_variant] = list(row_of.values())

    def rows(self, ids: pa.ChunkedArray, levels: pa.ChunkedArray | None = None, variants: Any = None) -> np.ndarray:
        """The row of each picture (n,) int64, -1 where it is none; without levels, those of paintings."""
        codes, names = encode(ids)
        known = pc.fill_null(pc.index_in(names, value_set=self._ids), -1).to_numpy()
        id_codes = np.append(known, -1)[codes]
        level_codes = _level_codes(levels) if levels is not None else np.zeros(len(id_codes), np.int64)
        numbers = _variants(variants) if variants is not None else np.zeros(len(id_codes), np.int64)
        there = (id_codes >= 0) & (numbers < self._place.shape[2])
        rows = np.full(len(id_codes), -1, np.int64)
        rows[there] = self._place[id_codes[there], level_codes[there], numbers[there]]
        return rows


def encode(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """Texts as numbers (n,) int64, -1 where there is none, and the texts that these stand for."""
    whole = _whole(column)
    return pc.fill_null(whole.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64), whole.dictionary


def _whole(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Texts in one piece, as a dictionary; Arrow's own combine_chunks would hash each chunk's dictionary again."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    if not column.num_chunks:
        return pa.array([], pa.string()).dictionary_encode()
    chunks = column.unify_dictionaries().chunks if column.num_chunks > 1 else column.chunks
    indices = pa.concat_arrays([chunk.indices for chunk in chunks])
    return pa.DictionaryArray.from_arrays(indices, chunks[0].dictionary)


def _level_codes(levels: pa.ChunkedArray) -> np.ndarray:
    """0 for a painting, which has no level, then the levels in their order (n,) int64."""
    codes, names = encode(levels)
    return np.append([1 + LEVELS.index(name) for name in names.to_pylist()], 0).astype(np.int64)[codes]


def _variants(variants: pa.ChunkedArray | pa.Array) -> np.ndarray:
    return pc.fill_null(variants, 0).to_numpy().astype(np.int64)


def read_triplets(config: Config, num_buckets: int) -> pa.Table:
    """All triplets of the settings' split, with numbers in the place of texts that stand there again and again.

    Texts are dictionaries: 4.5 million triplets take 0.2 GB, and would take 1 GB as texts.
    """
    table = Table(config.root, f"triplets/{config.split.name}", num_buckets)
    negative = [f"negative_{name}" for name in VERSION_KEY]
    columns = (*table.key, *negative, "split", "component", "approach")
    buckets = [names for names in table.parts(table.finished()).rows.values() if names]
    if not buckets:
        raise TableError(f"table {table.name} below {table.root} has no rows")
    rows = pa.concat_tables([_encoded(table.read(names, columns)) for names in buckets])
    whole = [_whole(c) if pa.types.is_dictionary(c.type) else c.combine_chunks() for c in rows.columns]
    return pa.table(whole, rows.column_names)


def _encoded(rows: pa.Table) -> pa.Table:
    """Rows whose texts are dictionaries."""
    columns = [_whole(column) if pa.types.is_string(column.type) else column for column in rows.columns]
    return pa.table(columns, rows.column_names)


def triplets_to_train(triplets: pa.Table, config: Config, split: str) -> pa.Table:
    """The triplets of a split, of the tier that the settings train with.

    Versions of held-out approaches are left out, whose prompt is all that tells: where it is not known, none is.
    """
    wanted = pc.equal(triplets["split"], split), pc.equal(triplets["tier"], config.training.tier)
    found = triplets.filter(pc.and_(*wanted))
    if not len(found):
        raise TableError(
            f"triplets/{config.split.name} has no triplet of tier {config.training.tier} in {split}: "
            "set training.tier to one of triplets.tiers"
        )
    return without_held_out(found, config.triplets)


def without_held_out(triplets: pa.Table, config: TripletsConfig) -> pa.Table:
    """The triplets whose positive was made by an approach that training may see, or that is not known."""
    return triplets.filter(pc.invert(_is_one_of(triplets["approach"], config.held_out_approaches)))


def _is_one_of(column: pa.ChunkedArray, texts: Collection[str]) -> pa.Array:
    """Of each text (n,) whether it is one of some; of none, that it is not."""
    codes, names = encode(column)
    return pa.array(np.array([*(name in texts for name in names.to_pylist()), False])[codes])


def pairs_to_train(triplets: pa.Table, config: Config, split: str, row_of: Mapping[Key, int]) -> Pairs:
    """What a head of these settings learns from, or is validated with, in a split: pairs and their hard negatives."""
    found = triplets_to_train(triplets, config, split)
    levels = LEVELS if config.training.levels == "both" else (config.training.levels,)
    of_levels = found.filter(_is_one_of(found["level"], levels))
    if not len(of_levels):
        raise TableError(f"training.levels = {config.training.levels}: no version in {split} is of that level")
    rows, pairs = locate(of_levels, row_of)
    pairs = _one_each(pairs, rows["draw"].to_numpy(), config.training.tier)
    if config.training.loss == "triplet" and not (pairs.negative >= 0).any():
        raise TableError(
            f"no version in {split} has a negative of tier {config.training.tier} that training may see: "
            "choose another training.tier, or add paintings"
        )
    if config.training.loss == "triplet" or config.training.hard_share == 0:
        return pairs
    return _with_hard(pairs, _hard_triplets(triplets, config, split), row_of)


def _one_each(pairs: Pairs, draws: np.ndarray, tier: Tier) -> Pairs:
    """A pair for each version: with the first of its negatives (n,) that is a positive trained on, else with none.

    So what is left out of the positives, by level or approach, is not learned from as a negative either.
    """
    fits = pairs.negative >= 0 if tier == "original" else np.isin(pairs.negative, pairs.positive)
    order = np.lexsort((draws, ~fits, pairs.positive))
    one = np.sort(order[np.unique(pairs.positive[order], return_index=True)[1]])
    return Pairs(pairs.anchor[one], pairs.positive[one], np.where(fits, pairs.negative, -1)[one], pairs.group[one])


def _hard_triplets(triplets: pa.Table, config: Config, split: str) -> pa.Table:
    wanted = config.training.hard_tiers
    found = triplets.filter(pc.and_(_is_one_of(triplets["tier"], wanted), pc.equal(triplets["split"], split)))
    if not len(found):
        raise TableError(
            f"triplets/{config.split.name} has no triplet of the tiers {', '.join(wanted)} in {split}: set "
            "training.hard_tiers to some of triplets.tiers, or training.hard_share to 0"
        )
    return found


def _with_hard(pairs: Pairs, triplets: pa.Table, row_of: Mapping[Key, int]) -> Pairs:
    """The pairs with the negatives of hard triplets, as far as these are positives of some pair themselves.

    So what is left out of the positives, by level or approach, is not learned from as a negative either.
    """
    rows, found = locate(triplets, row_of)
    pair_of = np.full(len(row_of) + 1, -1)  # the last is that of a negative that is not there
    pair_of[pairs.positive] = np.arange(len(pairs))
    pair, other = pair_of[found.positive], pair_of[found.negative]
    draw = rows["draw"].to_numpy()
    column = encode(rows["tier"])[0] * (draw.max(initial=0) + 1) + draw
    there = (pair >= 0) & (other >= 0)
    shape = (len(pairs), int(column.max(initial=-1)) + 1)
    hard, group = np.full(shape, -1), np.full(shape, -1)
    hard[pair[there], column[there]] = found.negative[there]
    group[pair[there], column[there]] = pairs.group[other[there]]
    return replace(pairs, hard=hard, hard_group=group)

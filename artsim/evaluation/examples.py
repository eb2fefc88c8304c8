"""Pictures to look at: triplets with the widest and narrowest margins, and searches that found another painting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from artsim.cache import Key
from artsim.config import TIERS
from artsim.evaluation.triplets import Scored
from artsim.images import crop_box, decode_jpeg, encode_jpeg
from artsim.report import Example
from artsim.schemas import bucket_of
from artsim.tables import Table


def _versions(scored: Scored) -> np.ndarray:
    """Rows of the test triplets whose negative is another painting's version."""
    rows = np.concatenate([scored.where("test", tier) for tier in TIERS if tier != "original"])
    return rows[scored.has_negative[rows]]


def histograms(scored: Scored) -> dict[str, np.ndarray]:
    """Similarities of the test triplets whose negative is a version: `model/positive` and so on, (n,) each."""
    rows, found = _versions(scored), {}
    for name in ("model", "frozen"):
        found[f"{name}/positive"], found[f"{name}/negative"] = scored.similarities(name, rows)
    return found


class Chosen(NamedTuple):
    """A triplet, or a search, to look at."""

    kind: str
    row: int
    """of the triplets: that of the version"""
    first: int | None = None
    """the painting that a search put first, a row of the vectors"""
    rank: int | None = None
    """where the version's own painting came in the search, from 1"""


def choose(scored: Scored, num_each: int, seed: int) -> list[Chosen]:
    """Test triplets to look at: widest margins, narrowest, and some drawn blindly; one per painting.

    Of the narrowest there are twice as many.
    """
    rows = _versions(scored)
    positive, negative = scored.similarities("model", rows)
    by_margin = rows[np.argsort(negative - positive, kind="stable")]
    drawn = np.random.default_rng(seed).permutation(rows)
    chosen: list[Chosen] = []
    seen: set[int] = set()
    for kind, order, num in (("best", by_margin, 1), ("worst", by_margin[::-1], 2), ("random", drawn, 1)):
        wanted = len(chosen) + num * num_each
        for row in order:
            if len(chosen) < wanted and (anchor := int(scored.pairs.anchor[row])) not in seen:
                seen.add(anchor)
                chosen.append(Chosen(kind, int(row)))
    return chosen


def wrong_searches(scored: Scored, num: int) -> list[Chosen]:
    """Test versions whose search puts their own painting last, worst first; one per painting, none that is found."""
    rows = scored.where("test")
    rows = rows[np.unique(scored.pairs.positive[rows], return_index=True)[1]]
    gallery = np.unique(scored.pairs.anchor[rows])
    vectors, own = scored.vectors.by_scorer["model"], scored.component_of(gallery)
    found: list[Chosen] = []
    for some in np.array_split(rows, max(1, len(rows) // 512)):
        similarity = vectors[scored.pairs.positive[some]] @ vectors[gallery].T
        target = np.searchsorted(gallery, scored.pairs.anchor[some])
        matches = similarity[np.arange(len(some)), target]
        similarity[own == scored.pairs.group[some, None]] = -np.inf
        ranks, first = 1 + np.count_nonzero(similarity >= matches[:, None], axis=1), gallery[similarity.argmax(1)]
        columns = zip(some.tolist(), first.tolist(), ranks.tolist(), strict=True)
        found += [Chosen("search", *values) for values in columns if values[2] > 1]
    by_painting = {int(scored.pairs.anchor[one.row]): one for one in sorted(found, key=lambda one: one.rank or 0)}
    return sorted(by_painting.values(), key=lambda one: -(one.rank or 0))[:num]


def examples(scored: Scored, chosen: Sequence[Chosen], tables: dict[str, Table], size: int) -> list[Example]:
    """What was chosen with its pictures and prompts; `tables`: resized, generated and prompts."""
    keys = list(scored.vectors.row_of)
    return [_example(scored, one, _keys(scored, one, keys), tables, size) for one in chosen]


def _keys(scored: Scored, one: Chosen, keys: Sequence[Key]) -> tuple[Key, Key, Key]:
    """The painting, its version, and what it is compared with."""
    pairs = scored.pairs
    other = pairs.negative[one.row] if one.first is None else one.first
    return keys[pairs.anchor[one.row]], keys[pairs.positive[one.row]], keys[other]


def _example(scored: Scored, one: Chosen, keys: tuple[Key, Key, Key], tables: dict[str, Table], size: int) -> Example:
    painting, version, other = keys
    images = [read_picture(tables["resized"] if key[1] is None else tables["generated"], key, size) for key in keys]
    at = [scored.vectors.row_of[key] for key in keys]
    # In a search it is the version that other paintings are compared with.
    pairs = ((0, 1), (0, 2) if one.first is None else (1, 2))
    (positive, negative), (frozen_positive, frozen_negative) = (
        [float(vectors[at[a]] @ vectors[at[b]]) for a, b in pairs]
        for vectors in (scored.vectors.by_scorer[name] for name in ("model", "frozen"))
    )
    return Example(
        kind=one.kind,
        tier=scored.rows["tier"][one.row].as_py(),
        level=str(version[1]),
        painting=painting[0],
        negative=other[0],
        images=(images[0], images[1], images[2]),
        positive=positive,
        negative_similarity=negative,
        frozen_positive=frozen_positive,
        frozen_negative=frozen_negative,
        prompt=_find(tables["prompts"], version, ("prompt",))["prompt"],
        rank=one.rank,
    )


def read_picture(table: Table, key: Key, size: int) -> bytes:
    """A painting (of `resized`) or a version (of `generated`) as JPEG bytes, cut to its content."""
    image, box = ("image", "box") if key[1] is not None else (f"image_{size}", f"box_{size}")
    row = _find(table, key, (image, box))
    return encode_jpeg(crop_box(decode_jpeg(row[image]), np.array(row[box])), quality=90)


def _find(table: Table, key: Key, columns: Sequence[str]) -> dict[str, Any]:
    """One row of a finished table."""
    wanted = pc.field("id") == key[0]
    if key[1] is not None:
        wanted = wanted & (pc.field("level") == key[1]) & (pc.field("variant") == key[2])
    bucket = bucket_of(key[0], table.num_buckets)
    rows: list[dict[str, Any]] = table.read(table.parts(table.finished()).rows[bucket], columns, wanted).to_pylist()
    return rows[0]

"""What a trained head is worth: triplets by split, level and tier, beside the frozen features on the same rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from artsim.cache import Key, load_bucket, locate
from artsim.config import LEVELS, TIERS
from artsim.images import crop_box, decode_jpeg, encode_jpeg
from artsim.metrics import bootstrap_intervals, match_ranks, mean_reciprocal_rank, recall_at_k, summary, wins
from artsim.report import Example
from artsim.resume import Input
from artsim.schemas import bucket_of
from artsim.siamese import Head
from artsim.tables import Table

SCORERS = ("model", "frozen", "frozen_centred")
"""The trained head; the frozen embedding's cosine; the same with the mean of the training set taken off."""
SPLITS = ("val", "test")
KS = (1, 5, 10)
THESIS = {
    "a70": {"triplet_accuracy": 0.994, "mean_positive": 0.824, "mean_negative": 0.146, "gap": 0.677},
    "b80": {"triplet_accuracy": 0.985, "mean_positive": 0.848, "mean_negative": 0.385, "gap": 0.463},
}
"""The thesis's own figures (its table of results), for the reader who compares."""


class Embedded(NamedTuple):
    """Pictures of val and test in one bucket, and what the bucket adds to the mean of the training set."""

    keys: list[Key]
    frozen: np.ndarray
    """(n, D) float32"""
    model: np.ndarray
    """(n, D) float32, of length 1"""
    train_sum: np.ndarray
    """(D,) float64"""
    num_train: int


def embed_bucket(inputs: Sequence[Input], head: Head, split_of: dict[str, str], bucket: int) -> Embedded | None:
    """Embed one bucket's pictures of val and test; None where the bucket is empty."""
    keys, (pooled, tokens, captions) = load_bucket(inputs, bucket)
    if not keys:
        return None
    splits = np.array([split_of.get(painting, "") for painting, _, _ in keys])
    wanted = np.flatnonzero(np.isin(splits, SPLITS))
    parts = [np.zeros((0, head.sizes.pooled_size), np.float32)]
    with torch.no_grad():
        for rows in np.array_split(wanted, max(1, len(wanted) // 256)):
            columns = [
                None if column is None else torch.from_numpy(column[rows]) for column in (pooled, tokens, captions)
            ]
            parts.append(head(*columns).numpy())
    train = pooled[splits == "train"]
    model = np.concatenate(parts)
    return Embedded([keys[row] for row in wanted], pooled[wanted], model, train.sum(0, dtype=np.float64), len(train))


class Vectors(NamedTuple):
    """All pictures of val and test: where each lies, and its embedding (n, D) of length 1 by scorer."""

    row_of: dict[Key, int]
    by_scorer: dict[str, np.ndarray]


def join(parts: Iterable[Embedded | None]) -> Vectors:
    """Put buckets together and take the training set's mean off the frozen features."""
    found = [part for part in parts if part is not None]
    frozen = np.concatenate([part.frozen for part in found])
    mean = np.sum([part.train_sum for part in found], axis=0) / max(1, sum(part.num_train for part in found))
    vectors = {
        "model": np.concatenate([part.model for part in found]),
        "frozen": _unit(frozen),
        "frozen_centred": _unit(frozen - mean.astype(np.float32)),
    }
    return Vectors({key: row for row, key in enumerate(key for part in found for key in part.keys)}, vectors)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


class Scored:
    """Every triplet of val and test with its similarities by each scorer; `group_of` paintings, their artist mostly."""

    def __init__(self, triplets: pa.Table, vectors: Vectors, group_of: Mapping[str, str]) -> None:
        evaluated = triplets.filter(pc.is_in(triplets["split"], value_set=pa.array(SPLITS)))
        self.rows, self.pairs = locate(evaluated, vectors.row_of)
        self.vectors = vectors
        self._columns = {name: np.array(self.rows[name].to_pylist()) for name in ("split", "level", "tier")}
        self.has_negative = self.pairs.negative >= 0
        groups = [group_of[painting] for painting in self.rows["id"].to_pylist()]
        self.groups = np.unique(np.array(groups, str), return_inverse=True)[1]
        """of each triplet's painting, (n,) numbers"""

    def where(self, **wanted: str) -> np.ndarray:
        """Row numbers of the triplets of a split, level or tier, those without a negative too."""
        masks = [self._columns[name] == value for name, value in wanted.items()]
        return np.flatnonzero(np.logical_and.reduce([np.ones(len(self.rows), bool), *masks]))

    def similarities(self, scorer: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of painting and version, and of painting and negative, (n,) each; the rows must have a negative."""
        vectors, pairs = self.vectors.by_scorer[scorer], self.pairs
        anchor = vectors[pairs.anchor[rows]]
        return (anchor * vectors[pairs.positive[rows]]).sum(1), (anchor * vectors[pairs.negative[rows]]).sum(1)


def figures(scored: Scored) -> list[dict[str, Any]]:
    """Figures of triplets and of verification, a row for each scorer, split, level and tier that has a triplet."""
    found = []
    for split, level, tier in itertools.product(SPLITS, LEVELS, TIERS):
        rows = scored.where(split=split, level=level, tier=tier)
        there = rows[scored.has_negative[rows]]
        if not len(there):
            continue
        counts = {"split": split, "level": level, "tier": tier, "n": len(there), "missing": len(rows) - len(there)}
        similarities = {name: scored.similarities(name, there) for name in SCORERS}
        intervals = _intervals({name: wins(*pair) for name, pair in similarities.items()}, scored.groups[there])
        found += [{"scorer": name, **counts, **summary(*similarities[name]), **intervals[name]} for name in SCORERS]
    return found


def recalls(scored: Scored) -> list[dict[str, Any]]:
    """How often a version finds its painting among the split's paintings, by scorer, split and level."""
    found = []
    for split, level in itertools.product(SPLITS, LEVELS):
        rows = scored.where(split=split, level=level)
        pairs = np.stack([scored.pairs.positive[rows], scored.pairs.anchor[rows], scored.groups[rows]])
        version, painting, groups = np.unique(pairs, axis=1)
        gallery, targets = np.unique(painting, return_inverse=True)
        if not len(gallery):
            continue
        ranks = {
            name: match_ranks(vectors[version], vectors[gallery], targets)
            for name, vectors in scored.vectors.by_scorer.items()
        }
        intervals = _intervals({name: rank <= 1 for name, rank in ranks.items()}, groups)
        for name in SCORERS:
            recall = {str(k): share for k, share in recall_at_k(ranks[name], KS).items()}
            counts = {"split": split, "level": level, "n": len(version), "gallery": len(gallery)}
            reciprocal = mean_reciprocal_rank(ranks[name])
            found.append({"scorer": name, **counts, "recall": recall, "mrr": reciprocal, **intervals[name]})
    return found


def _intervals(hits: Mapping[str, np.ndarray], groups: np.ndarray) -> dict[str, dict[str, Any]]:
    """By scorer: the 95% interval of its share of hits (n,), and of what the head gains on it, row by row."""
    shares = {name: hits[name].astype(float) for name in SCORERS}
    gains = {name: shares["model"] - shares[name] for name in SCORERS[1:]}
    intervals = iter(bootstrap_intervals(np.stack([*shares.values(), *gains.values()]), groups))
    found: dict[str, dict[str, Any]] = {name: {"interval": next(intervals)} for name in shares}
    for name, gain in gains.items():
        found[name] |= {"head_gain": float(gain.mean()), "head_gain_interval": next(intervals)}
    return found


def verdict(rows: list[dict[str, Any]], recall: list[dict[str, Any]], test: dict[str, int]) -> dict[str, Any]:
    """Whether the head beats the better of the frozen scorers on test, in triplets against versions and in recall@1."""
    triplets = {name: _mean(rows, name, lambda row: row["triplet_accuracy"]) for name in SCORERS}
    first = {name: _mean(recall, name, lambda row: row["recall"]["1"]) for name in SCORERS}
    frozen = [max(scores["frozen"], scores["frozen_centred"]) for scores in (triplets, first)]
    wins = triplets["model"] > frozen[0], first["model"] > frozen[1]
    outcome = {2: "beats", 1: "does not clearly beat", 0: "does not beat"}[sum(wins)]
    sentence = (
        f"On {test['paintings']} test paintings of {test['groups']} groups that training never saw, the trained head "
        f"{outcome} the frozen features: it tells a version from another painting's version in {triplets['model']:.1%} "
        f"of the triplets (frozen: {frozen[0]:.1%}), and a version finds its painting first in {first['model']:.1%} of "
        f"the searches (frozen: {frozen[1]:.1%})."
    )
    return {"verdict": sentence, "beats_frozen": all(wins)}


def _mean(rows: list[dict[str, Any]], scorer: str, value: Any) -> float:
    """Mean over the test rows of a scorer, each weighing what it counts; negatives that are originals stay out."""
    chosen = [
        row for row in rows if row["scorer"] == scorer and row["split"] == "test" and row.get("tier") != "original"
    ]
    return float(np.average([value(row) for row in chosen], weights=[row["n"] for row in chosen])) if chosen else 0.0


def histograms(scored: Scored) -> dict[str, np.ndarray]:
    """Similarities of the test triplets whose negative is a version: `model/positive` and so on, (n,) each."""
    rows = np.concatenate([scored.where(split="test", tier=tier) for tier in TIERS if tier != "original"])
    rows = rows[scored.has_negative[rows]]
    found = {}
    for name in ("model", "frozen"):
        found[f"{name}/positive"], found[f"{name}/negative"] = scored.similarities(name, rows)
    return found


def choose(scored: Scored, num_each: int, seed: int) -> list[tuple[str, int]]:
    """Test triplets to look at, (kind, row): widest margins, narrowest, and some drawn blindly; one per painting."""
    rows = np.concatenate([scored.where(split="test", tier=tier) for tier in TIERS if tier != "original"])
    rows = rows[scored.has_negative[rows]]
    positive, negative = scored.similarities("model", rows)
    by_margin = rows[np.argsort(negative - positive, kind="stable")]
    drawn = np.random.default_rng(seed).permutation(rows)
    chosen: list[tuple[str, int]] = []
    seen: set[int] = set()
    for kind, order in (("best", by_margin), ("worst", by_margin[::-1]), ("random", drawn)):
        wanted = len(chosen) + num_each
        for row in order:
            if len(chosen) < wanted and (anchor := int(scored.pairs.anchor[row])) not in seen:
                seen.add(anchor)
                chosen.append((kind, int(row)))
    return chosen


def examples(scored: Scored, chosen: list[tuple[str, int]], tables: dict[str, Table], size: int) -> list[Example]:
    """The chosen triplets with their pictures and prompts; `tables`: resized, generated and prompts."""
    found = []
    for kind, row in chosen:
        facts = scored.rows.slice(row, 1).to_pylist()[0]
        version: Key = (facts["id"], facts["level"], facts["variant"])
        other: Key = (facts["negative_id"], facts["negative_level"], facts["negative_variant"])
        keys: tuple[Key, ...] = ((facts["id"], None, None), version, other)
        images = [read_picture(tables["resized"] if key[1] is None else tables["generated"], key, size) for key in keys]
        (positive, negative), (frozen_positive, frozen_negative) = (
            [float(value[0]) for value in scored.similarities(name, np.array([row]))] for name in ("model", "frozen")
        )
        found.append(
            Example(
                kind=kind,
                tier=facts["tier"],
                level=facts["level"],
                painting=facts["id"],
                negative=facts["negative_id"],
                images=(images[0], images[1], images[2]),
                positive=positive,
                negative_similarity=negative,
                frozen_positive=frozen_positive,
                frozen_negative=frozen_negative,
                prompt=_find(tables["prompts"], version, ("prompt",))["prompt"],
            )
        )
    return found


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

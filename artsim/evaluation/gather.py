"""From the tables of a root and a trained head to everything that is judged, bucket by bucket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

import numpy as np
import pyarrow as pa

from artsim import models
from artsim.cache import inputs_of, read_triplets
from artsim.config import Config, Configuration
from artsim.evaluation.aspects import Found, Hand, aspect_inputs, join_aspects, load_aspects
from artsim.evaluation.edited import EditedVectors, edited_inputs, join_edited, load_edited
from artsim.evaluation.scorers import Sources, join, load, random_head
from artsim.evaluation.triplets import Scored, pairs_alone
from artsim.siamese import Head, load_model
from artsim.store import Store
from artsim.tables import Table, fingerprint, open_root

VERSION = 1
"""Of the figures: raised where they are computed otherwise."""
ByBucket = Callable[..., list[Any]]
"""by_bucket(function, num_buckets, *arguments) gives function(*arguments, bucket) of each bucket."""


class Gathered(NamedTuple):
    """What an evaluation looks at."""

    scored: Scored
    """whose groups are artists, whatever the split is by"""
    splits: pa.Table
    """id, group, split and component of each painting"""
    edited: EditedVectors | None
    """None where no pictures were edited"""
    aspects: dict[str, Found]
    """empty where sub-scores cannot be measured"""
    elsewhere: Scored | None = None
    """the pairs of another root; None where none is named"""
    hands: Mapping[str, Hand] = MappingProxyType({})
    """of each painting"""
    other_configurations: Mapping[str, Any] = MappingProxyType({})
    """what the evaluations of models of other configurations found on the thesis's kind of negative"""


def judged(config: Config, run: models.Run) -> str:
    """A fingerprint of all that an evaluation looks at: another one is due where it changes."""
    num_buckets = open_root(config.root)
    names = ("cues", "generated_cues", "edited_embeddings", "edited_version_embeddings", "edited_cues")
    manifests = {name: Table(config.root, name, num_buckets).manifest() or {} for name in names}
    thesis = Store(f"{config.root}/models/{config.model_name}{models.THESIS}").read_json("config.json") or {}
    looked_at = {
        "version": VERSION,
        "run": run.name,
        "settings": config.evaluation.model_dump(mode="json"),
        "tables": {name: manifest.get("digest") for name, manifest in manifests.items()},
        "thesis": thesis.get("info", {}).get("fingerprint"),
    }
    return fingerprint(looked_at)


def gather(config: Config, run: models.Run, head: Head, by_bucket: ByBucket) -> Gathered:
    """Read what the jobs made; TableError where a table is not finished."""
    num_buckets = open_root(config.root)
    splits = Table(config.root, f"splits/{config.split.name}", num_buckets).read_all(
        ("id", "group", "split", "component")
    )
    split_of = columns_of(splits, "split")
    heads = {"model": head, "random_head": random_head(head.sizes.pooled_size, config.seed)} | _thesis(config, run)
    sources = Sources.of(config, inputs_of(config, num_buckets), num_buckets)
    vectors = join(by_bucket(load, num_buckets, sources, heads, split_of))
    triplets, held_out = read_triplets(config, num_buckets), config.triplets.held_out_approaches
    edits, aspects = edited_inputs(config, num_buckets), aspect_inputs(config, num_buckets)
    by_hand = hands(config.root, num_buckets, splits)
    return Gathered(
        Scored(triplets, vectors, {painting: hand.artist for painting, hand in by_hand.items()}, held_out),
        splits,
        join_edited(by_bucket(load_edited, num_buckets, edits, head), vectors.train["pooled"]) if edits else None,
        join_aspects(by_bucket(load_aspects, num_buckets, aspects, split_of, num_buckets)) if aspects else {},
        _elsewhere(config, heads, vectors.train, by_bucket) if config.evaluation.elsewhere else None,
        by_hand,
        _other_configurations(config),
    )


def _elsewhere(config: Config, heads: Mapping[str, Head], train: dict[str, np.ndarray], by_bucket: ByBucket) -> Scored:
    """The paintings and versions of another root, all of them as if they were its test split."""
    other = config.model_copy(update={"root": config.evaluation.elsewhere})
    models.check_same_features(config, other)
    num_buckets = open_root(other.root)
    by_hand = hands(other.root, num_buckets)
    everything = dict.fromkeys(by_hand, "test")
    sources = Sources.of(other, inputs_of(other, num_buckets), num_buckets)
    vectors = join(by_bucket(load, num_buckets, sources, heads, everything), train)
    components = {painting: hand.component for painting, hand in by_hand.items()}
    artists = {painting: hand.artist for painting, hand in by_hand.items()}
    return Scored(pairs_alone(vectors.row_of, components), vectors, artists)


def hands(root: str, num_buckets: int, splits: pa.Table | None = None) -> dict[str, Hand]:
    """Whose work each painting is, and what it shows; a work by nobody known is by itself."""
    paintings = Table(root, "artworks", num_buckets).read_all(("id", "artist")).to_pylist()
    if splits is None:
        splits = Table(root, "duplicates", num_buckets).read_all(("id", "component"))
    shows = columns_of(splits, "component")
    return {row["id"]: Hand(row["artist"] or row["id"], shows.get(row["id"], row["id"])) for row in paintings}


def _other_configurations(config: Config) -> dict[str, Any]:
    """From the folders of models that are called as their splits."""
    found: dict[str, Any] = {}
    for name in get_args(Configuration):
        metrics = Store(f"{config.root}/models/{name}").read_json("metrics.json") or {}
        if name != config.split.configuration and metrics.get("configurations", {}).get(name):
            found[name] = metrics["configurations"][name]
    return found


def _thesis(config: Config, run: models.Run) -> dict[str, Head]:
    """The head of the thesis that was trained beside this one on the same tables, if there is one."""
    folder = f"{config.root}/models/{config.model_name}{models.THESIS}"
    if Store(folder).read_json("config.json") is None:
        return {}
    with models.fetch(folder) as local:
        head, info = load_model(local)
    ours, theirs = ({**found["recipe"]["inputs"]} for found in (run.info, info))
    return {"thesis_head": head} if all(ours.get(name) == digest for name, digest in theirs.items()) else {}


def columns_of(splits: pa.Table, name: str) -> dict[str, str]:
    """A column of the splits by painting."""
    return dict(zip(splits["id"].to_pylist(), splits[name].to_pylist(), strict=True))

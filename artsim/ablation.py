"""What each choice of the training recipe is worth: the settings without it, and the figures with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artsim.batches import Features
from artsim.bootstrap import Bootstrap
from artsim.cache import Key, locate
from artsim.config import Choice, Config
from artsim.metrics import match_ranks, wins
from artsim.siamese import Head
from artsim.training import embed_rows

_FIXED = {"temperature": 0.07, "min_temperature": 0.07, "max_temperature": 0.07}
_THESIS_HEAD = {"preset": "pooled", "num_layers": 2, "num_heads": 8, "hidden_size": 1024, "dropout": 0.1}
SETTINGS: dict[Choice, dict[str, dict[str, Any]]] = {
    "full": {},
    "triplet_loss": {"training": {"loss": "triplet"}},
    "no_hard_negatives": {"training": {"hard_share": 0.0}},
    "no_group_mask": {"training": {"mask_groups": False}},
    "one_way": {"training": {"both_ways": False}},
    "fixed_temperature": {"head": _FIXED},
    "radical_only": {"training": {"levels": "radical"}},
    "mean_kept": {"head": {"centred": False}},
    "random_start": {"head": {"starts_as_identity": False}},
    "pooled_head": {"head": _THESIS_HEAD},
    "thesis": {
        "head": _THESIS_HEAD | _FIXED,
        "training": {
            "loss": "triplet",
            "tier": "other_genre",
            "lr": 3e-4,
            "weight_decay": 1e-4,
            "batch_size": 32,
            "num_epochs": 20,
            "lr_factor": 0.5,
            "lr_patience": 3,
            "patience": 5,
            "min_delta": 0.001,
        },
    },
}
"""What each choice changes in the settings; `thesis` has the parameters of the thesis's own code."""
TIERS = ("same_genre", "same_artist", "nearest")
NUM_DRAWS = 2000


def config_of(config: Config, choice: Choice, seed: int) -> Config:
    """The settings of one run: without the choice, on the split of a seed, and with a training of that seed."""
    tree = config.model_dump()
    for section, values in SETTINGS[choice].items():
        tree[section] |= values
    tree["seed"] += seed
    tree["split"]["seed"] += seed
    tree["training"]["name"] = f"ablation-{choice}-{seed}"
    return Config.model_validate(tree)


class Hits(NamedTuple):
    """What was right and what wrong."""

    values: NDArray[np.floating]
    """(n,), 0..1"""
    groups: NDArray[np.integer]
    """(n,), whose work it is"""


def score(
    head: Head, features: Features, triplets: pa.Table, row_of: dict[Key, int], group_of: Mapping[str, str]
) -> dict[str, Hits]:
    """A head on the triplets of test: `recall@1 LEVEL`, of a version among all paintings, and `TIER LEVEL`."""
    rows, pairs = locate(triplets.filter(pc.equal(triplets["split"], "test")), row_of)
    pictures = np.unique(np.concatenate([pairs.anchor, pairs.positive, pairs.negative[pairs.negative >= 0]]))
    vectors = np.zeros((len(features), head.sizes.pooled_size), np.float32)
    vectors[pictures] = embed_rows(head, features, pictures).cpu().numpy()
    groups = np.unique([group_of[painting] for painting in rows["id"].to_pylist()], return_inverse=True)[1]
    levels, tiers = (np.array(rows[name].to_pylist()) for name in ("level", "tier"))
    found = {}
    for level in np.unique(levels)[::-1]:
        of_level = np.flatnonzero(levels == level)
        versions, first = np.unique(pairs.positive[of_level], return_index=True)
        gallery, target = np.unique(pairs.anchor[of_level][first], return_inverse=True)
        component = pairs.group[of_level][first]
        ignore = component, component[np.unique(target, return_index=True)[1]]
        ranks = match_ranks(vectors[versions], vectors[gallery], target, ignore=ignore)
        found[f"recall@1 {level}"] = Hits((ranks == 1).astype(float), groups[of_level][first])
        for tier in TIERS:
            at = np.flatnonzero((levels == level) & (tiers == tier) & (pairs.negative >= 0))
            if len(at):
                anchor, positive, negative = (vectors[of[at]] for of in (pairs.anchor, pairs.positive, pairs.negative))
                right = wins((anchor * positive).sum(1), (anchor * negative).sum(1))
                found[f"{tier} {level}"] = Hits(right, groups[at])
    return found


def interval(by_seed: Sequence[Hits]) -> tuple[float, float]:
    """95% interval of the mean over seeds of the mean of values: seeds are drawn, and groups within each.

    The hierarchical bootstrap (Davison & Hinkley 1997, section 3.8), 2,000 draws, the same in each call. Splits of
    different seeds share artists, so that it is somewhat narrower than that of artists who were never seen.
    """
    rng = np.random.default_rng(0)
    means = np.stack([Bootstrap(hits.groups, NUM_DRAWS, seed).means(hits.values) for seed, hits in enumerate(by_seed)])
    seeds = rng.integers(len(by_seed), size=means.shape)
    drawn = means[seeds, rng.integers(NUM_DRAWS, size=means.shape)].mean(0)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def summarise(found: Mapping[Choice, Sequence[dict[str, Hits]]]) -> dict[Choice, dict[str, dict[str, Any]]]:
    """By choice and figure: n, the mean over seeds and its interval, and the difference to `full`, row by row.

    `found` holds the figures of each choice by seed; a figure that some seed lacks is left out.
    """
    names = [name for name in found["full"][0] if all(name in hits for runs in found.values() for hits in runs)]
    return {
        choice: {name: _figure([hits[name] for hits in runs], [hits[name] for hits in found["full"]]) for name in names}
        for choice, runs in found.items()
    }


def _figure(runs: Sequence[Hits], full: Sequence[Hits]) -> dict[str, Any]:
    gains = [Hits(ours.values - theirs.values, ours.groups) for ours, theirs in zip(runs, full, strict=True)]
    by_seed, by_seed_gain = ([float(hits.values.mean()) for hits in some] for some in (runs, gains))
    return {
        "n": sum(len(hits.values) for hits in runs),
        "mean": float(np.mean(by_seed)),
        "interval": interval(runs),
        "by_seed": by_seed,
        "difference": float(np.mean(by_seed_gain)),
        "difference_interval": interval(gains),
    }


def table(figures: Mapping[Choice, Mapping[str, Mapping[str, Any]]]) -> str:
    """Two Markdown tables: the figures of each choice with their intervals, and what it differs from `full` by."""
    names = list(figures["full"])
    head = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    values, differences = list(head), list(head)
    for choice, found in figures.items():
        cells = ["{:.3f} ({:.3f} to {:.3f})".format(row["mean"], *row["interval"]) for row in found.values()]
        values.append(f"| {choice} | {' | '.join(cells)} |")
        if choice != "full":
            cells = [_difference(row["difference"], *row["difference_interval"]) for row in found.values()]
            differences.append(f"| {choice} | {' | '.join(cells)} |")
    lines = [*values, "", "Difference to full; bold where the 95% interval leaves out 0:", "", *differences]
    return "\n".join(lines if len(figures) > 1 else values)


def _difference(mean: float, low: float, high: float) -> str:
    mark = "**" if low > 0 or high < 0 else ""
    return f"{mark}{mean:+.3f}{mark} ({low:+.3f} to {high:+.3f})"

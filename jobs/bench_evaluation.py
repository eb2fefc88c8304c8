"""The benchmark of jobs/bench.py that judges made-up embeddings as jobs/evaluate.py judges real ones."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pydantic import Field

from artsim.baselines import SCORERS
from artsim.command import load_config
from artsim.config import LEVELS, TIERS, Config, Section
from artsim.evaluation.gather import Gathered
from artsim.evaluation.judgement import judge
from artsim.evaluation.scorers import Vectors
from artsim.evaluation.triplets import SPLITS, Scored
from artsim.turns import Report

OTHER_SIZES = {"style": 256, "colours": 245, "phash": 64, "bars": 2}
"""Numbers in the vectors of scorers that are not as long as an embedding."""


class EvaluateBench(Section):
    """Seconds and memory of all figures of one evaluation, with every tier and the bootstrap."""

    num_paintings: int = Field(81_445, ge=100, description="paintings of the whole set, each with both levels")
    test_share: float = Field(0.15, gt=0, le=0.5, description="of the paintings in the test split, and as many in val")
    num_artists: int = Field(1_119, ge=2)
    size: int = Field(512, ge=2, description="numbers in an embedding")


def bench_evaluate(options: EvaluateBench, settings: Sequence[str]) -> Report:
    """Counted: from vectors in memory to figures, searches, calibration and verdict, of all scorers.

    Not counted: reading features, the heads, and edited pictures, of which there are no more in a larger set.
    """
    config = load_config(None, settings)
    num_judged = 2 * round(options.num_paintings * options.test_share)
    rng = np.random.default_rng(config.seed)
    vectors, artists = _vectors(options, num_judged, rng)
    triplets = _triplets(config, num_judged, rng)
    group_of = {_name(painting): f"artist {artist}" for painting, artist in enumerate(artists)}
    names, groups = list(group_of), list(group_of.values())
    splits = pa.table({"id": names, "group": groups, "split": [_split(at) for at in range(num_judged)]})
    began = time.perf_counter()
    scored = Scored(triplets, vectors, group_of, held_out=("held out",))
    located_s = time.perf_counter() - began
    metrics = judge(config, Gathered(scored, splits, None, {}, None)).metrics
    seconds = time.perf_counter() - began
    return {
        "name": "evaluate",
        "ours": round(seconds, 1),
        "reference": None,
        "ratio": None,
        "unit": "s",
        "runs": [round(seconds, 1)],
        "located_s": round(located_s, 1),
        "num_triplets": len(triplets),
        "num_rows": len(metrics["rows"]),
        "is_calibrated": metrics["calibration"] is not None,
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "target": {"seconds": 600, "gb": 6},
    }


def _split(painting: int) -> str:
    return SPLITS[painting % 2]


def _name(painting: int) -> str:
    return f"Genre_{painting % 27}/artist_painting-{painting:06d}"


def _vectors(options: EvaluateBench, num: int, rng: np.random.Generator) -> tuple[Vectors, np.ndarray]:
    """Pictures (3 num, D) by scorer: paintings around their artists, and versions around their paintings."""
    artists = rng.integers(0, max(2, round(options.num_artists * options.test_share)), num)
    by_scorer = {}
    for name in SCORERS:
        size = OTHER_SIZES.get(name, options.size)
        hands = rng.standard_normal((artists.max() + 1, size), np.float32)
        paintings = hands[artists] + rng.standard_normal((num, size), np.float32)
        versions = [paintings + 2 * rng.standard_normal((num, size), np.float32) for _ in LEVELS]
        pictures = np.concatenate([paintings, *versions])
        by_scorer[name] = pictures / np.linalg.norm(pictures, axis=1, keepdims=True)
    kinds: list[tuple[str | None, int | None]] = [(None, None), *((level, 0) for level in LEVELS)]
    keys = [(_name(painting), *kind) for kind in kinds for painting in range(num)]
    return Vectors({key: row for row, key in enumerate(keys)}, by_scorer, {}, {}), artists


def _triplets(config: Config, num: int, rng: np.random.Generator) -> pa.Table:
    """Every version against num_negatives others in each tier; which ones does not matter for the work."""
    names = pa.array([_name(painting) for painting in range(num)])
    shape = (num, len(LEVELS), len(TIERS), config.triplets.num_negatives)
    painting, level, tier, draw = (axis.reshape(-1) for axis in np.indices(shape))
    levels = pa.array(LEVELS).take(pa.array(level))
    approaches = pa.array(["held out", *(f"approach {number}" for number in range(7))])
    own = pa.array(painting)
    return pa.table(
        {
            "id": names.take(own),
            "level": levels,
            "variant": pa.array(np.zeros(len(painting), np.int32)),
            "tier": pa.array(TIERS).take(pa.array(tier)),
            "draw": pa.array(draw.astype(np.int32)),
            "negative_id": names.take(pa.array(2 * rng.integers(0, num // 2, len(painting)) + painting % 2)),
            "negative_level": levels,
            "negative_variant": pa.array(np.zeros(len(painting), np.int32)),
            "split": pa.array(SPLITS).take(pa.array(painting % 2)),
            "component": names.take(own),
            "approach": approaches.take(pa.array(painting % len(approaches))),
        }
    )

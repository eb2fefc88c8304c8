"""All figures of a trained head, from its vectors and triplets: what metrics.json holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from artsim.bootstrap import Bootstrap, interval
from artsim.config import Config
from artsim.evaluation.aspects import how_alike
from artsim.evaluation.edited import EditedVectors, cues_of_files, how_framed, how_robust
from artsim.evaluation.gather import Gathered
from artsim.evaluation.meaning import meaning
from artsim.evaluation.retrieval import retrieval
from artsim.evaluation.triplets import Scored, figures
from artsim.evaluation.verdict import best_baseline, verdict
from artsim.metrics import summary, wins
from artsim.models import CALIBRATION, SUBSCORES

THESIS = {
    "a70": {"triplet_accuracy": 0.994, "mean_positive": 0.824, "mean_negative": 0.146, "gap": 0.677},
    "b80": {"triplet_accuracy": 0.985, "mean_positive": 0.848, "mean_negative": 0.385, "gap": 0.463},
}
"""The thesis's own figures (its table of results), for the reader who compares."""


class Judgement(NamedTuple):
    """What an evaluation found, and what it learned for the scorer."""

    metrics: dict[str, Any]
    learned: dict[str, Any]
    """JSON by file of the model folder: what similarities mean, and the sub-scores that hold"""


def judge(config: Config, gathered: Gathered) -> Judgement:
    """Figures by scorer, searches, shortcuts, robustness, sub-scores, calibration and the verdict."""
    scored, num_draws = gathered.scored, config.evaluation.num_draws
    searches = retrieval(scored, num_draws)
    metrics = {
        "configuration": config.split.configuration,
        "split": config.split.name,
        "group_by": config.split.group,
        "num_draws": num_draws,
        "splits": _sizes(gathered.splits.to_pylist()),
        "rows": figures(scored, num_draws),
        "retrieval": searches,
        "thesis": THESIS,
        "configurations": {
            **gathered.other_configurations,
            config.split.configuration: _as_thesis(scored, num_draws),
        },
        "shortcuts": _shortcuts(scored, gathered.edited, num_draws),
        "robustness": how_robust(scored, gathered.edited, num_draws) if gathered.edited else None,
        "elsewhere": _elsewhere(gathered, num_draws),
        "calibration": None,
        "subscores": None,
        **verdict(searches, _compared(scored)),
    }
    learned: dict[str, Any] = {}
    if (meant := meaning(scored)) is not None:
        learned[CALIBRATION], metrics["calibration"] = meant[0].to_json(), meant[1]
    if (alike := how_alike(gathered.aspects, gathered.hands, config.seed)) is not None:
        learned[SUBSCORES], metrics["subscores"] = alike[0].to_json(), alike[1]
    return Judgement(metrics, learned)


def _elsewhere(gathered: Gathered, num_draws: int) -> dict[str, Any] | None:
    """The searches among the pairs of another root, and their paintings that training saw in the first."""
    other = gathered.elsewhere
    if other is None:
        return None
    splits = gathered.splits.to_pylist()
    seen = {row["id"] for row in splits if row["split"] != "test"}
    ids = {painting for painting, level, _ in other.vectors.row_of if level is not None}
    searches = retrieval(other, num_draws)
    counts = {"num_paintings": len(ids), "num_seen": len(ids & seen)}
    return counts | {"retrieval": searches, "best_baseline": best_baseline(searches)}


def _compared(scored: Scored) -> dict[str, int]:
    """Paintings and groups of the test split that have versions."""
    rows = scored.where("test")
    columns = {"paintings": scored.pairs.anchor, "groups": scored.groups}
    return {name: len(np.unique(numbers[rows])) for name, numbers in columns.items()}


def _shortcuts(scored: Scored, edited: EditedVectors | None, num_draws: int) -> dict[str, Any]:
    """Framings by the trained head and by the encoder alone, and cues of files."""
    scorers = {"framings": "model", "framings_frozen": "frozen_centred"}
    found = {name: how_framed(scored, edited, scorer, num_draws) for name, scorer in scorers.items()} if edited else {}
    return found | {"file_cues": cues_of_files(scored, num_draws)}


def _sizes(splits: Sequence[Mapping[str, str]]) -> dict[str, dict[str, int]]:
    paintings = Counter(row["split"] for row in splits)
    groups = Counter(split for split, _ in {(row["split"], row["group"]) for row in splits})
    return {split: {"paintings": paintings[split], "groups": groups[split]} for split in ("train", "val", "test")}


def _as_thesis(scored: Scored, num_draws: int) -> dict[str, Any] | None:
    """The thesis's figures of the trained head on its kind of negative, another genre's painting; None without any."""
    rows = scored.where("test", "original")
    rows = rows[scored.has_negative[rows]]
    if not len(rows):
        return None
    positive, negative = scored.similarities("model", rows)
    bootstrap, names = Bootstrap(scored.groups[rows], num_draws), tuple(THESIS["a70"])
    drawn = {"mean_positive": bootstrap.means(positive), "mean_negative": bootstrap.means(negative)}
    drawn |= {"triplet_accuracy": bootstrap.means(wins(positive, negative))}
    drawn |= {"gap": drawn["mean_positive"] - drawn["mean_negative"]}
    values = summary(positive, negative)
    intervals = {name: interval(drawn[name]) for name in names}
    return {name: values[name] for name in names} | {"n": len(rows), "intervals": intervals}

"""How well versions find their paintings, and paintings their versions, among those of the test split."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from artsim.bootstrap import Bootstrap
from artsim.config import LEVELS
from artsim.evaluation.triplets import APPROACHES, Draws, Scored, compare
from artsim.metrics import average_precision, match_ranks

KS = (1, 5, 10)


def retrieval(scored: Scored, num_draws: int) -> list[dict[str, Any]]:
    """Figures of the searches, a row for each scorer, level (also `both`) and kind of approach.

    A version looks for its painting among all paintings of the split that have versions: recall at k and the mean
    reciprocal rank. A painting looks for its versions among all versions of the level: mean average precision, of all
    approaches together. Other paintings of one component show the same, and count neither as found nor as mistaken.
    """
    rows = scored.where("test")
    rows = rows[np.unique(scored.pairs.positive[rows], return_index=True)[1]]
    if not len(rows):
        return []
    gallery = np.unique(scored.pairs.anchor[rows])
    ranks = {name: _ranks(scored, name, rows, gallery) for name in scored.vectors.by_scorer}
    found = []
    for level, approaches in itertools.product((*LEVELS, "both"), APPROACHES):
        wanted = np.isin(rows, scored.where(approaches, *([] if level == "both" else [level])))
        if wanted.any():
            counts = {"level": level, "approaches": approaches, "gallery": len(gallery)}
            some = {name: of_scorer[wanted] for name, of_scorer in ranks.items()}
            found += _figures(scored, rows[wanted], some, (counts, num_draws))
    return found


def _ranks(scored: Scored, scorer: str, rows: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Where the painting of each version (n,) comes among the gallery, from 1."""
    vectors, version, painting = (
        scored.vectors.by_scorer[scorer],
        scored.pairs.positive[rows],
        scored.pairs.anchor[rows],
    )
    ignore = scored.component_of(painting), scored.component_of(gallery)
    return match_ranks(vectors[version], vectors[gallery], np.searchsorted(gallery, painting), ignore=ignore)


def _figures(
    scored: Scored, rows: np.ndarray, ranks: dict[str, np.ndarray], told: tuple[dict[str, Any], int]
) -> list[dict[str, Any]]:
    """Figures of some versions, by their ranks."""
    counts, num_draws = told
    groups, painting = scored.groups[rows], scored.pairs.anchor[rows]
    own = np.unique(painting, return_index=True)[1]
    versions, paintings = Bootstrap(groups, num_draws), Bootstrap(groups[own], num_draws)
    values: dict[str, dict[str, float]] = {}
    draws: dict[str, Draws] = {}
    for name, of_scorer in ranks.items():
        hits = {f"recall@{k}": (of_scorer <= k).astype(float) for k in KS} | {"mrr": 1 / of_scorer}
        values[name] = {figure: float(hit.mean()) for figure, hit in hits.items()}
        draws[name] = dict(zip(hits, versions.means(np.stack(list(hits.values()))), strict=True))
        if counts["approaches"] == "all":
            precision = _precision(scored, name, rows, own)
            values[name]["map"], draws[name]["map"] = float(precision.mean()), paintings.means(precision)
    return compare(values, draws, counts | {"n": len(rows), "num_paintings": len(own)}, groups)


def _precision(scored: Scored, scorer: str, rows: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Average precision of each painting's (m,) search for its versions among all of them."""
    vectors, version, painting = (
        scored.vectors.by_scorer[scorer],
        scored.pairs.positive[rows],
        scored.pairs.anchor[rows],
    )
    component = scored.component_of(painting)
    return average_precision(
        vectors[painting[own]],
        vectors[version],
        relevant=(painting[own], painting),
        ignore=(component[own], component),
    )

"""What gives a version away without being looked at: bars, proportions and properties of files. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artsim.bootstrap import Bootstrap, interval
from artsim.metrics import auc, wins

Floats = NDArray[np.floating]
Similarities = tuple[Floats, Floats]
"""Of paintings and their versions, and of paintings and other versions, (n,) each, row by row."""
CROPPED = "cropped"
"""The framing that all others are compared with: the content alone."""


def framings(
    similarities: Mapping[str, Similarities], groups: NDArray[np.integer], num_draws: int = 2000
) -> list[dict[str, Any]]:
    """By framing: AUC and triplet accuracy of version against negative, with 95% intervals over groups (n,).

    All framings have the same n triplets. Where CROPPED is one of them, `auc_gain` is what each has more than that,
    pair by pair. `chance`: whether the interval of the AUC holds 0.50, as that of contents without meaning must.
    """
    bootstrap = Bootstrap(groups, num_draws)
    draws = {name: bootstrap.verification(*pair)["auc"] for name, pair in similarities.items()}
    areas = {name: auc(*pair) for name, pair in similarities.items()}
    found = []
    for name, pair in similarities.items():
        low, high = interval(draws[name])
        hits = wins(*pair)
        row = {"framing": name, "n": len(groups), "num_groups": len(np.unique(groups))}
        row |= {"auc": areas[name], "auc_interval": (low, high), "chance": low <= 0.5 <= high}
        row |= {"triplet_accuracy": float(hits.mean()), "triplet_accuracy_interval": interval(bootstrap.means(hits))}
        if CROPPED in similarities and name != CROPPED:
            gain = interval(draws[name] - draws[CROPPED])
            row |= {"auc_gain": areas[name] - areas[CROPPED], "auc_gain_interval": gain}
        found.append(row)
    return found


def file_cues(
    paintings: Mapping[str, Floats],
    versions: Mapping[str, Floats],
    groups: NDArray[np.integer],
    num_draws: int = 2000,
) -> list[dict[str, Any]]:
    """By property of files, such as jpeg_quality or num_bytes: how well it tells versions from paintings.

    Row by row a version's value (n,) and that of its painting; NaN where it is not known, and such rows are counted as
    `missing`. `auc` is the chance that some version has the larger value, 0.50 if it tells nothing, with its 95%
    interval over groups (n,); `tells` is the same whichever side is larger.
    """
    found = []
    for name in paintings:
        known = ~(np.isnan(paintings[name]) | np.isnan(versions[name]))
        row: dict[str, Any] = {"cue": name, "n": int(known.sum()), "missing": int((~known).sum())}
        if known.any():
            pair = versions[name][known], paintings[name][known]
            area, draws = auc(*pair), Bootstrap(groups[known], num_draws).verification(*pair)["auc"]
            row |= {"auc": area, "auc_interval": interval(draws), "tells": max(area, 1 - area)}
            row |= {"median_version": float(np.median(pair[0])), "median_painting": float(np.median(pair[1]))}
        found.append(row)
    return found

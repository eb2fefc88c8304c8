"""What an evaluation comes to, in one sentence that its intervals bear out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from artsim.baselines import FROZEN, SCORERS
from artsim.tables import TableError


def best_baseline(searches: Sequence[Mapping[str, Any]]) -> str:
    """The frozen scorer by which most versions of both levels find their painting first."""
    found = {row["scorer"]: row["recall@1"] for row in searches if (row["level"], row["approaches"]) == ("both", "all")}
    return max(FROZEN, key=lambda name: found.get(name, -1.0))


def verdict(searches: Sequence[Mapping[str, Any]], test: Mapping[str, int]) -> dict[str, Any]:
    """Whether the head finds more paintings than the best frozen scorer, by the paired interval of what it gains.

    `test` counts the paintings and groups that were compared.
    """
    if not searches:
        raise TableError("no painting of the test split has a version: there is nothing to judge a head on")
    name = best_baseline(searches)
    rows = {row["scorer"]: row for row in searches if (row["level"], row["approaches"]) == ("both", "all")}
    model, frozen = rows["model"], rows[name]
    low, high = frozen["head_gain"]["recall@1"]["interval"]
    outcome = "beats" if low > 0 else "does worse than" if high < 0 else "is not told apart from"
    sentence = (
        f"On {test['paintings']} test paintings of {test['groups']} groups that training never saw, the trained head "
        f"{outcome} the frozen features: among {model['gallery']} paintings, a version finds its own first in "
        f"{model['recall@1']:.1%} of {model['n']} searches (95% interval {_range(model['intervals']['recall@1'])}), "
        f"by the best of the frozen features in {frozen['recall@1']:.1%}; the difference lies within "
        f"{_range((low, high))}."
    )
    sentence += _better(rows)
    return {"verdict": sentence, "beats_frozen": low > 0, "best_baseline": name, "reference": "frozen_centred"}


def _better(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A sentence on the best of the other baselines, if it finds more than the head does; else nothing."""
    others = {name: row for name, row in rows.items() if name != "model" and name not in FROZEN}
    ahead = {name: row for name, row in others.items() if row["head_gain"]["recall@1"]["interval"][1] < 0}
    if not ahead:
        return ""
    name = max(ahead, key=lambda name: ahead[name]["recall@1"])
    return f" {SCORERS[name]} alone finds more: {ahead[name]['recall@1']:.1%}."


def _range(interval: Sequence[float]) -> str:
    low, high = (f"{100 * value:.1f}".replace("-", "−") for value in interval)
    return f"{low} to {high}%"

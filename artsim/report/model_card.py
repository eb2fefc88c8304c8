"""The model card: what the score is for, what it cannot say, and what it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from artsim.card import LICENCES
from artsim.report.content import Evaluation, Section
from artsim.report.verdict import group_noun
from artsim.report.words import SPLITS, format_count

TITLE = "Model card"
LEAD = (
    "The score says how alike two pictures are by what it was compared with. It is evidence for a person to weigh, "
    "never a judgement on who copied whom."
)


def section(evaluation: Evaluation) -> Section:
    """Facts of this run for the card's template."""
    metrics, settings = evaluation.metrics, evaluation.settings
    data = {
        "sizes": [_size(split, metrics) for split in SPLITS if split in metrics["splits"]],
        "kept_apart": group_noun(metrics),
        "encoder": _encoder(settings),
        "licences": [(name, LICENCES.get(name, "see its model card")) for name in dict.fromkeys(_models(settings))],
        "source": (settings.get("source") or {}).get("uri") or "not named",
    }
    return Section("model_card", TITLE, LEAD, data)


def _size(split: str, metrics: Mapping[str, Any]) -> str:
    size = metrics["splits"][split]
    groups = f"{format_count(size['groups'])} {group_noun(metrics)}"
    return f"{SPLITS[split].lower()} {format_count(size['paintings'])} paintings of {groups}"


def _encoder(settings: Mapping[str, Any]) -> str:
    """What looks at the pictures, as the settings name it."""
    model = (settings.get("embed") or {}).get("model") or {}
    if not model.get("id"):
        return "descriptors of colour, gradient and texture (no model)"
    return f"the model {model['id']}, revision {model.get('revision', 'not named')}"


def _models(settings: Any) -> Iterator[str]:
    """The ids of the models that the settings name; a tokenizer only counts, and makes nothing."""
    if not isinstance(settings, dict):
        return
    if settings.get("id") and "revision" in settings:
        yield settings["id"]
    for name, value in settings.items():
        if name != "tokenizer":
            yield from _models(value)

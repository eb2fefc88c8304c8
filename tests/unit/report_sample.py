"""An evaluation with made-up, plausible figures for ten scorers: what the report is tested and looked at with."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from artsim.report import Evaluation, Example
from artsim.report.words import FIGURES, RETRIEVAL, SCORERS, TIERS

SKILL = dict(zip(SCORERS, (2.5, 1.5, 0.9, 1.1, 1.4, 1.6, 0.8, 0.6, 0.3, 0.15), strict=True))
"""How far each scorer's versions stand from its negatives, in standard deviations, against easy negatives."""
EASE = dict(zip(TIERS, (1.0, 1.05, 0.95, 0.8, 0.45, 0.9, 1.1), strict=True))
GROUPS = 21


def jpeg(width: int, height: int) -> bytes:
    """A smooth picture of its own, as JPEG bytes."""
    rng = np.random.default_rng(width * 10_000 + height)
    small = Image.fromarray(rng.integers(0, 255, (5, 4, 3), np.uint8))
    buffer = io.BytesIO()
    small.resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def _around(value: float, width: float, low: float = 0.0, high: float = 1.0) -> list[float]:
    return [max(low, value - width), min(high, value + width)]


def _logistic(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def _measured(values: dict[str, float], head: dict[str, float] | None) -> dict[str, Any]:
    """Figures with their intervals, and what the head gains on them where these are not its own."""
    widths = {name: 0.03 + 0.1 * value * (1 - value) for name, value in values.items()}
    row: dict[str, Any] = {**values, "intervals": {name: _around(values[name], widths[name]) for name in values}}
    if head is not None:
        gains = {name: head[name] - values[name] for name in values}
        row["head_gain"] = {
            name: {"value": gain, "interval": [gain - 0.045, gain + 0.04]} for name, gain in gains.items()
        }
    return row


def _triplets(scorer: str, level: str, tier: str, approaches: str) -> dict[str, float]:
    skill = SKILL[scorer] * EASE[tier] * (1.35 if level == "moderate" else 1.0)
    skill *= 0.9 if approaches == "held_out" else 1.0
    positive, negative = _logistic(skill - 0.6), _logistic(0.2 - skill)
    auc = _logistic(1.25 * skill)
    figures = (_logistic(1.5 * skill), positive, negative, positive - negative)
    return dict(zip(FIGURES, (*figures, auc, 1 - auc, 0.8 * auc**4, 0.5 * auc**6), strict=True))


def _search(scorer: str, level: str, approaches: str) -> dict[str, float]:
    skill = SKILL[scorer] * (1.35 if level == "moderate" else 1.0) * (0.9 if approaches == "held_out" else 1.0)
    first = _logistic(1.6 * skill - 3)
    rising = (
        first,
        1 - (1 - first) ** 1.6,
        1 - (1 - first) ** 2.1,
        0.5 * (first + 1 - (1 - first) ** 1.6),
        0.9 * first,
    )
    return dict(zip(RETRIEVAL, rising, strict=True))


def rows() -> list[dict[str, Any]]:
    """Triplets of every scorer, level, tier and share of the approaches."""
    found = []
    cases = [(level, "all") for level in ("moderate", "radical")] + [("radical", "held_out"), ("radical", "trained")]
    for number, (level, approaches) in enumerate(cases):
        for place, tier in enumerate(TIERS):
            counts = {"n": 1280 - 100 * number - 7 * place, "missing": 3 * place, "groups": GROUPS}
            head = _triplets("model", level, tier, approaches)
            for scorer in SCORERS:
                measured = _measured(_triplets(scorer, level, tier, approaches), None if scorer == "model" else head)
                key = {"scorer": scorer, "level": level, "tier": tier, "approaches": approaches}
                found.append({**key, **counts, **measured})
    return found


def retrieval() -> list[dict[str, Any]]:
    """Searches of every scorer, level and share of the approaches."""
    found = []
    for level, approaches, n in (
        ("moderate", "all", 285),
        ("radical", "all", 284),
        ("radical", "held_out", 61),
        ("radical", "trained", 223),
    ):
        head = _search("model", level, approaches)
        for scorer in SCORERS:
            measured = _measured(_search(scorer, level, approaches), None if scorer == "model" else head)
            key = {"scorer": scorer, "level": level, "approaches": approaches}
            found.append({**key, "n": n, "gallery": 1285, "groups": GROUPS, **measured})
    return found


def metrics() -> dict[str, Any]:
    """What metrics.json would hold."""
    ours = {"triplet_accuracy": 0.981, "mean_positive": 0.791, "mean_negative": 0.052, "gap": 0.739}
    thesis = {"triplet_accuracy": 0.994, "mean_positive": 0.824, "mean_negative": 0.146, "gap": 0.677}
    return {
        "model": "a70",
        "run": "a70-9f2c41d7",
        "configuration": "a70",
        "split": "a70",
        "group_by": "artist",
        "preset": "tokens",
        "loss": "infonce",
        "num_epochs": 30,
        "best_epoch": 12,
        "num_draws": 2000,
        "splits": {
            name: {"paintings": size, "groups": groups}
            for name, size, groups in (("train", 1324, 98), ("val", 283, 20), ("test", 1285, GROUPS))
        },
        "verdict": "On 285 test paintings of 21 artists that training never saw, the trained head beats the best "
        "frozen baseline: a radical one finds its painting first in 73.1% of the searches (frozen, whitened: 39.2%).",
        "beats_frozen": True,
        "reference": "frozen_centred",
        "best_baseline": "frozen_whitened",
        "rows": rows(),
        "retrieval": retrieval(),
        "thesis": {
            "a70": thesis,
            "b80": {"triplet_accuracy": 0.985, "mean_positive": 0.848, "mean_negative": 0.385, "gap": 0.463},
        },
        "configurations": {
            "a70": {**ours, "n": 569, "intervals": {name: _around(value, 0.011) for name, value in ours.items()}},
            "b80": None,
        },
        "shortcuts": None,
        "robustness": None,
        "subscores": None,
        "calibration": None,
    }


def history(num_epochs: int = 30) -> list[dict[str, float]]:
    """Rows of metrics.jsonl."""
    return [
        {"epoch": epoch, "lr": 3e-4, "loss": 0.1 + 3 / (epoch + 1), "triplet_accuracy": 1 - 0.3 / (epoch + 1)}
        | {"val_loss": 0.6 + 2 / (epoch + 1) + 0.01 * epoch, "val_triplet_accuracy": 0.95 - 0.3 / (epoch + 1)}
        | {"temperature": 0.05, "seconds": 2.0}
        for epoch in range(num_epochs)
    ]


def examples(num_each: int, images: list[bytes]) -> list[Example]:
    """So many of each kind; the pictures come from `images` in turns."""
    found = []
    for number, kind in enumerate(kind for kind in ("search", "worst", "random", "best") for _ in range(num_each)):
        margin = {"search": -0.08, "worst": -0.03, "random": 0.4, "best": 0.8}[kind]
        shown = tuple(images[(3 * number + place) % len(images)] for place in range(3))
        found.append(
            Example(
                kind=kind,
                tier="nearest" if kind == "worst" else "any",
                level="radical",
                painting=f"Baroque/artist-{number}_a-house-by-the-river-in-winter",
                negative=f"Cubism/artist-{number + 1}_still-life",
                images=(shown[0], shown[1], shown[2]),
                positive=0.61 + margin / 2,
                negative_similarity=0.61 - margin / 2,
                frozen_positive=0.82,
                frozen_negative=0.79,
                prompt="The same river as a woodcut of the 16th century, with <b>bold</b> lines and a low winter sun",
                rank=2 + number if kind == "search" else None,
            )
        )
    return found


def evaluation(num_each: int = 1, images: list[bytes] | None = None) -> Evaluation:
    """All of it."""
    rng = np.random.default_rng(1)
    centres = {"model/positive": 0.75, "model/negative": 0.05, "frozen/positive": 0.8, "frozen/negative": 0.6}
    return Evaluation(
        metrics(),
        history(),
        {name: np.clip(rng.normal(centre, 0.12, 400), -1, 1) for name, centre in centres.items()},
        examples(num_each, images or [jpeg(600, 300), jpeg(300, 600), jpeg(64, 64)]),
        {
            "resized": {"expected": 288, "done": 1287, "quarantined": {"truncated": 1}, "recipe": "9f2c"},
            "captions": {"expected": 1288, "done": 1288, "quarantined": {}, "recipe": "41aa"},
        },
        [{"table": "resized", "id": "Baroque/x_y", "reason": "truncated", "message": "12 bytes & no more"}],
        {
            "root": "runs/demo",
            "source": {"uri": "runs/demo/gallery"},
            "letterbox": {"sizes": (1024, 768)},
            "embed": {"model": {"id": "", "revision": "main"}},
        },
        ["Captions: a sentence of measured pixel facts, where BLIP-2 would look at the picture."],
    )

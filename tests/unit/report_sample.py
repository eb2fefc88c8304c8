"""An evaluation with made-up, plausible figures for ten scorers: what the report is tested and looked at with."""

from __future__ import annotations

import io
from statistics import NormalDist
from typing import Any

import numpy as np
from PIL import Image

from artsim.baselines import SCORERS
from artsim.report import Evaluation, Example
from artsim.report.words import FIGURES, RETRIEVAL, TIERS

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
    skill = (
        SKILL[scorer]
        * {"moderate": 1.35, "both": 1.15, "radical": 1.0}[level]
        * (0.9 if approaches == "held_out" else 1.0)
    )
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
        ("both", "all", 569),
        ("radical", "held_out", 61),
        ("radical", "trained", 223),
    ):
        head = _search("model", level, approaches)
        for scorer in SCORERS:
            measured = _measured(_search(scorer, level, approaches), None if scorer == "model" else head)
            key = {"scorer": scorer, "level": level, "approaches": approaches}
            found.append({**key, "n": n, "gallery": 1285, "num_paintings": min(n, 285), "groups": GROUPS, **measured})
    return found


def _framings(areas: tuple[float, ...]) -> list[dict[str, Any]]:
    names = ("cropped", "bars-kept", "bars-swapped", "noise-bars-cropped", "noise-bars-kept", "grain-bars-cropped")
    return [
        {"framing": name, "n": 600, "num_groups": GROUPS, "auc": area, "auc_interval": _around(area, 0.02)}
        | {"chance": abs(area - 0.5) < 0.02, "triplet_accuracy": area, "triplet_accuracy_interval": _around(area, 0.03)}
        | ({} if name == "cropped" else {"auc_gain": area - areas[0]})
        | ({} if name == "cropped" else {"auc_gain_interval": [area - areas[0] - 0.02, area - areas[0] + 0.02]})
        for name, area in zip(names, areas, strict=True)
    ]


def shortcuts() -> dict[str, Any]:
    """What artsim/shortcuts.py gives, of two scorers and of files."""
    medians = {"num_bytes": (61_240.0, 58_810.0), "jpeg_quality": (92.0, 95.0), "aspect": (0.83, 0.83)}
    cues: list[dict[str, Any]] = [
        {"cue": name, "n": 569, "missing": 2, "auc": area, "auc_interval": _around(area, 0.02)}
        | {"tells": max(area, 1 - area), "median_painting": medians[name][0], "median_version": medians[name][1]}
        for name, area in (("num_bytes", 0.44), ("jpeg_quality", 0.97), ("aspect", 0.5))
    ]
    return {
        "framings": _framings((0.94, 0.96, 0.91, 0.503, 0.88, 0.79)),
        "framings_frozen": _framings((0.86, 0.91, 0.8, 0.497, 0.86, 0.74)),
        "file_cues": [*cues, {"cue": "phash", "n": 0, "missing": 571}],
    }


def robustness() -> dict[str, Any]:
    """What artsim/robustness.py gives."""
    strengths = {"crop": (90, 75, 50), "jpeg": (90, 60, 30, 10), "blur": (2, 5, 10, 20), "noise": (5, 10, 20, 40)}
    strengths |= {"greyscale": (None,), "hue": (30, 60, 120, 180), "flip": (None,), "rotate": (2, 5, 10, 90)}
    strengths |= {"perspective": (5, 10, 20), "frame": (5, 10, 20), "watermark": (20, 40, 60)}
    strengths |= {"screenshot": (80, 60, 40), "collage": (4,)}
    found = []
    for number, (kind, steps) in enumerate(strengths.items()):
        for place, strength in enumerate(steps):
            mean = 0.98 - 0.02 * (number % 5) - 0.09 * place * (1 + number % 3)
            values = {"mean": mean, "above_unrelated": min(1.0, mean + 0.05), "first": min(1.0, mean + 0.02)}
            intervals = {f"{name}_interval": _around(value, 0.025) for name, value in values.items()}
            edit = kind if strength is None else f"{kind}-{strength}"
            key = {"edit": edit, "kind": kind, "strength": strength, "n": 500, "num_groups": GROUPS}
            found.append({**key, **values, **intervals})
    expectation = "95% or more of the pictures still find their painting first among all others after a crop to 90%."
    unrelated = {"mean": 0.04, "likest": 0.47}
    return {"gallery": 1285, "unrelated": unrelated, "edits": found, "expectation": expectation}


def subscores() -> dict[str, Any]:
    """What the evidence of artsim/subscores.py gives; composition fails."""
    falls = {
        "flip": (1.3, 0.02, 0.1),
        "shuffle-4": (1.6, 0.12, 0.4),
        "hue-60": (0.31, 1.4, 0.2),
        "style_transfer": (0.15, 1.7, 0.24),
        "same_artist": (1.9, 0.8, 1.3),
    }
    wanted = {"flip": "rqq", "shuffle-4": "rqq", "hue-60": "qrq", "style_transfer": "qrq", "same_artist": "r-r"}
    words = {"r": "reacts", "q": "quiet", "-": "quieter"}
    matrix = [
        {"edit": edit, "score": score, "n": 90, "fall": fall, "interval": [fall - 0.06, fall + 0.06]}
        | {"wanted": words[letter], "holds": fall > 1 if letter == "r" else fall < (0.25 if letter == "q" else 1.3)}
        for edit, moved in falls.items()
        for score, fall, letter in zip(("composition", "style", "semantics"), moved, wanted[edit], strict=True)
    ]
    return {
        "matrix": matrix,
        "deviations": {"composition": 0.52, "style": 0.48, "semantics": 0.55},
        "num_unrelated": 500,
        "passes": ["style"],
        "fails": {"composition": ["hue-60"], "semantics": ["shuffle-4"]},
    }


def calibration() -> dict[str, Any]:
    """What artsim/calibration.py gives of the test split, with the quantiles of the negatives."""
    predicted = (0.01, 0.03, 0.08, 0.2, 0.34, 0.52, 0.7, 0.86, 0.95, 0.99)
    bins = [
        {"predicted": value, "share": min(1.0, value + 0.02 * (-1) ** place), "n": 120 + 10 * place}
        | {"interval": _around(value, 0.06)}
        for place, value in enumerate(predicted)
    ]
    rising = [NormalDist().inv_cdf(level) for level in np.linspace(0.0005, 0.9995, 1001)]
    return {
        "prior": 0.25,
        "mix": {"other_genre": 0.4, "same_genre": 0.4, "same_artist": 0.2},
        "num_positive": 569,
        "num_negative": {"other_genre": 682, "same_genre": 682, "same_artist": 341},
        "n": 2274,
        "brier": 0.041,
        "ece": 0.018,
        "perfect_ece_95": 0.024,
        "within": True,
        "bins": bins,
        "percentiles": {
            kind: np.tanh(0.12 * np.array(rising) + centre).tolist()
            for kind, centre in (("other_genre", 0.0), ("same_genre", 0.12), ("same_artist", 0.3))
        },
    }


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
        "shortcuts": shortcuts(),
        "robustness": robustness(),
        "subscores": subscores(),
        "calibration": calibration(),
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

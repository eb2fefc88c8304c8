"""The names of things and figures as the page spells them."""

from __future__ import annotations

import math
from collections.abc import Sequence

SHORT = {
    "model": "trained head",
    "thesis_head": "thesis’s head",
    "random_head": "random head",
    "frozen": "frozen",
    "frozen_centred": "mean removed",
    "frozen_whitened": "whitened",
    "style": "style statistics",
    "colours": "colours",
    "phash": "perceptual hash",
    "bars": "bars only",
}
MEANINGS = {
    "model": "the siamese head that was trained here, on top of the frozen features",
    "thesis_head": "a head of the thesis’s shape, trained with the thesis’s loss on the same features and triplets",
    "random_head": "the thesis’s head before any training: what its shape alone does to features",
    "frozen": "the cosine of the encoder’s features as they are, without a head",
    "frozen_centred": "the same with the training set’s mean taken off: features that share a large common part all "
    "look alike, and without it the comparison would be unfair",
    "frozen_whitened": "the same again, with the training set’s directions brought to equal spread",
    "style": "mean and deviation of each channel of an early layer: how a picture is made, not what it shows",
    "colours": "which colours there are, and how much of each",
    "phash": "64 bits of coarse structure, as programs use to find copies",
    "bars": "the proportions of the picture and nothing else: where black bars would lie around it",
}
FIGURES = {
    "triplet_accuracy": "Triplet accuracy",
    "mean_positive": "Mean positive",
    "mean_negative": "Mean negative",
    "gap": "Gap",
    "auc": "AUC",
    "eer": "EER",
    "tpr_at_fpr_0.01": "TPR at 1% FPR",
    "tpr_at_fpr_0.001": "TPR at 0.1% FPR",
}
RETRIEVAL = {"recall@1": "Recall@1", "recall@5": "Recall@5", "recall@10": "Recall@10", "mrr": "MRR", "map": "mAP"}
THESIS_FIGURES = ("triplet_accuracy", "mean_positive", "mean_negative", "gap")
CONFIGURATIONS = {"a70": "A, 70/15/15", "b80": "B, 80/10/10"}
SPLITS = {"train": "Training", "val": "Validation", "test": "Test"}
GROUPS = {"artist": "artists", "genre": "genres"}
"""What paintings are kept together by; by components otherwise, which are called groups."""
LEVELS = {"radical": "Radical versions", "moderate": "Moderate versions", "both": "Versions of both levels"}
TIERS = {
    "any": ("any", "the version of any other painting"),
    "other_genre": ("other genre", "the version of a painting of another genre"),
    "same_genre": ("same genre", "the version of another artist’s painting of the same genre"),
    "same_artist": ("same artist", "the version of another painting by the same artist"),
    "nearest": ("nearest", "the version of a painting that the frozen encoder finds among the most alike"),
    "same_approach": ("same approach", "another painting’s version, changed by the same approach"),
    "original": ("original", "another genre’s painting itself, not a version: the thesis’s kind of negative"),
}
KINDS = {
    "search": ("Taken for another painting", "Versions whose search put another painting first."),
    "worst": (
        "The narrowest triplets",
        "Triplets with the narrowest margin, or where it takes the other for the version.",
    ),
    "random": ("Drawn blindly", "What is usual."),
    "best": ("The clearest triplets", "Triplets that the trained head tells apart by the widest margin."),
}


def format_figure(value: float | None, digits: int = 3) -> str:
    """So many decimals with a true minus; a dash where there is no value (None, NaN)."""
    if not is_known(value):
        return "–"
    return f"{value:z.{digits}f}".replace("-", "−")


def format_signed(value: float | None) -> str:
    """As format_figure, with a plus before what is more than zero."""
    text = format_figure(value)
    return f"+{text}" if is_known(value) and text not in ("0.000",) and not text.startswith("−") else text


def format_percent(value: float | None) -> str:
    """A share 0..1 as a percentage with one decimal."""
    return f"{value:.1%}".replace("-", "−") if is_known(value) else "–"


def format_interval(interval: Sequence[float | None] | None, percent: bool = False, digits: int = 3) -> str:
    """`0.683–0.792`, or with `to` where a minus would run into the dash; empty where there is none."""
    if interval is None or not all(is_known(bound) for bound in interval):
        return ""
    low, high = (format_percent(bound) if percent else format_figure(bound, digits) for bound in interval)
    return f"{low} to {high}" if low.startswith("−") or high.startswith("−") else f"{low}–{high}"


def format_count(value: int | None) -> str:
    """A whole number with thin spaces between thousands; a dash where it is not known."""
    return "–" if value is None else f"{value:,}".replace(",", "\u202f")


def is_known(value: float | None) -> bool:
    """Whether there is a value: neither None nor NaN."""
    return value is not None and not math.isnan(value)


def capitalise(text: str) -> str:
    """The first letter in upper case, the others as they are."""
    return text[:1].upper() + text[1:]


def join(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

"""What a report is made of: everything that an evaluation found, and the pictures to show with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Row = dict[str, Any]
"""A row of metrics.json: one scorer's figures on one set of triplets or searches."""


@dataclass(frozen=True)
class Example:
    """Three pictures to look at: painting, its version and the negative as JPEG bytes, cropped to their content."""

    kind: str
    """best, worst or random of the triplets; search: the painting that was taken for the version's own"""
    tier: str
    level: str
    painting: str
    negative: str
    images: tuple[bytes, bytes, bytes]
    positive: float
    """the trained head's similarity of painting and version, -1..1"""
    negative_similarity: float
    """its similarity of painting and negative; in a search, of version and the painting that came first"""
    frozen_positive: float
    frozen_negative: float
    prompt: str
    rank: int | None = None
    """in a search: where the version's own painting came, from 1"""


@dataclass(frozen=True)
class Evaluation:
    """Everything that the report tells."""

    metrics: dict[str, Any]
    """what metrics.json holds"""
    history: list[dict[str, float]]
    """training.TrainingState.history: one row of figures for each epoch, the first being 0"""
    similarities: dict[str, np.ndarray]
    """(n,) each: model/positive, model/negative, frozen/positive and frozen/negative of the test split"""
    examples: list[Example]
    tables: dict[str, dict[str, Any]]
    """tables.status(root)["tables"]"""
    quarantine: list[dict[str, Any]]
    """some quarantined rows: table, id, reason, message"""
    settings: dict[str, Any]
    stand_ins: list[str]
    """a sentence for each stand-in that took a model's place"""


class Section(NamedTuple):
    """A part of the page: its template is templates/<name>.html, and sees `data` as `section.data`."""

    name: str
    title: str
    lead: str
    """what it shows, in one or two plain sentences"""
    data: dict[str, Any]

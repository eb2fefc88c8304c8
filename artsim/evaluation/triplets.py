"""How scorers tell versions from negatives: figures by level, tier and kind of prompt, with paired intervals."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from artsim.bootstrap import Bootstrap, interval
from artsim.cache import Key, encode, locate
from artsim.config import LEVELS, TIERS
from artsim.evaluation.scorers import Vectors
from artsim.metrics import summary, wins

SPLITS = ("val", "test")
"""Those whose pictures no head was trained on."""
APPROACHES = ("all", "trained", "held_out")
"""Whose versions: of all prompt approaches, of those that the head was trained on, or of those that it never saw."""
Draws = dict[str, np.ndarray]


class Scored:
    """Triplets of val and test, and where their pictures lie among the vectors of the scorers."""

    def __init__(
        self, triplets: pa.Table, vectors: Vectors, group_of: Mapping[str, str], held_out: tuple[str, ...] = ()
    ) -> None:
        """`group_of` paintings, mostly their artist; `held_out` are the approaches that training left out."""
        codes, names = encode(triplets["split"])
        judged = np.array([*(name in SPLITS for name in names.to_pylist()), False])
        self.rows, self.pairs = locate(triplets.filter(pa.array(judged[codes])), vectors.row_of)
        self.vectors, self.has_negative = vectors, self.pairs.negative >= 0
        codes, names = encode(self.rows["id"])
        groups = np.unique([group_of[painting] for painting in names.to_pylist()], return_inverse=True)[1]
        self.groups = groups[codes]
        """of each triplet's painting, (n,) numbers"""
        codes, names = encode(self.rows["approach"])
        is_held_out = np.array([*(name in held_out for name in names.to_pylist()), False])[codes]
        self._masks = {"all": np.ones(len(codes), bool), "held_out": is_held_out}
        self._masks["trained"] = (codes >= 0) & ~is_held_out
        for column in ("split", "level", "tier"):
            codes, names = encode(self.rows[column])
            self._masks |= {name: codes == code for code, name in enumerate(names.to_pylist())}
        self._component = np.full(len(vectors.row_of), -1, np.int64)
        for rows in (self.pairs.anchor, self.pairs.positive):
            self._component[rows] = self.pairs.group

        self._group = np.full(len(vectors.row_of), -1, np.int64)
        for rows in (self.pairs.anchor, self.pairs.positive):
            self._group[rows] = self.groups

    def group_of(self, pictures: np.ndarray) -> np.ndarray:
        """Whose work pictures (n,) of some triplets are, (n,) numbers."""
        return self._group[pictures]

    def component_of(self, pictures: np.ndarray) -> np.ndarray:
        """The component that pictures (n,) of some triplets belong to, (n,) numbers: what is of one shows the same."""
        return self._component[pictures]

    def where(self, *kinds: str) -> np.ndarray:
        """Row numbers of the triplets of a split, level, tier or kind of approach, those without a negative too."""
        nothing = np.zeros(len(self.rows), bool)
        return np.flatnonzero(np.logical_and.reduce([self._masks.get(kind, nothing) for kind in kinds]))

    def similarities(self, scorer: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of painting and version, and of painting and negative, (n,) each; the rows must have a negative."""
        vectors, pairs = self.vectors.by_scorer[scorer], self.pairs
        positive, negative = (
            np.concatenate([(vectors[pairs.anchor[some]] * vectors[other[some]]).sum(1) for some in _chunks(rows)])
            for other in (pairs.positive, pairs.negative)
        )
        return positive, negative


def pairs_alone(keys: Iterable[Key], component_of: Mapping[str, str]) -> pa.Table:
    """Test triplets that have no negative, of versions without a table of triplets."""
    versions = [key for key in keys if key[1] is not None]
    names = [painting for painting, _, _ in versions]
    columns: dict[str, Any] = {
        "id": names,
        "level": [key[1] for key in versions],
        "component": [component_of[name] for name in names],
    }
    nobody = pa.nulls(len(versions), pa.string())
    columns |= {"tier": ["any"] * len(versions), "split": ["test"] * len(versions), "approach": nobody}
    columns |= {"negative_id": nobody, "negative_level": nobody}
    columns |= {"negative_variant": pa.nulls(len(versions), pa.int32())}
    return pa.table(columns | {"variant": pa.array([key[2] for key in versions], pa.int32())})


def _chunks(rows: np.ndarray, size: int = 8192) -> list[np.ndarray]:
    return np.array_split(rows, max(1, len(rows) // size))


def figures(scored: Scored, num_draws: int) -> list[dict[str, Any]]:
    """Figures of the test triplets, a row for each scorer, level, tier and kind of approach that has one."""
    found = []
    for level, tier, approaches in itertools.product(LEVELS, TIERS, APPROACHES):
        rows = scored.where("test", level, tier, approaches)
        there = rows[scored.has_negative[rows]]
        if len(there):
            counts: dict[str, Any] = {"level": level, "tier": tier, "approaches": approaches}
            counts |= {"n": len(there), "missing": len(rows) - len(there)}
            found += compare(*_measure(scored, there, num_draws), counts, scored.groups[there])
    return found


def _measure(scored: Scored, rows: np.ndarray, num_draws: int) -> tuple[dict[str, dict[str, float]], dict[str, Draws]]:
    bootstrap, values, draws = Bootstrap(scored.groups[rows], num_draws), {}, {}
    for name in scored.vectors.by_scorer:
        positive, negative = scored.similarities(name, rows)
        values[name] = summary(positive, negative)
        drawn = {"mean_positive": bootstrap.means(positive), "mean_negative": bootstrap.means(negative)}
        drawn |= {"gap": drawn["mean_positive"] - drawn["mean_negative"]}
        drawn |= {"triplet_accuracy": bootstrap.means(wins(positive, negative))}
        draws[name] = drawn | bootstrap.verification(positive, negative)
    return values, draws


def compare(
    values: Mapping[str, dict[str, float]], draws: Mapping[str, Draws], counts: dict[str, Any], groups: np.ndarray
) -> list[dict[str, Any]]:
    """A row for each scorer: its figures, their 95% intervals, and what the head gains on it, draw by draw."""
    found = []
    for name, of_scorer in values.items():
        row = {"scorer": name, **counts, "groups": len(np.unique(groups)), **of_scorer}
        row["intervals"] = {figure: interval(drawn) for figure, drawn in draws[name].items()}
        if name != "model":
            row["head_gain"] = {
                figure: {
                    "value": values["model"][figure] - of_scorer[figure],
                    "interval": interval(draws["model"][figure] - drawn),
                }
                for figure, drawn in draws[name].items()
            }
        found.append(row)
    return found

"""What edits, bars and files do to the score: the edited pictures of the test split beside the pictures themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from artsim.baselines import centred
from artsim.config import FRAMINGS, Config
from artsim.evaluation.scorers import embed
from artsim.evaluation.triplets import Scored
from artsim.resume import Input
from artsim.robustness import Edited, Originals, robustness
from artsim.schemas import to_array
from artsim.shortcuts import CROPPED, file_cues, framings
from artsim.siamese import Head
from artsim.tables import Table

EditedKey = tuple[str, str | None, int | None, str]
"""id, level and variant of a picture, None for paintings, and what was done to it."""


class EditedVectors(NamedTuple):
    """Edited pictures: which row is whose, and unit vectors (n, D) of the trained head and of the encoder."""

    row_of: dict[EditedKey, int]
    by_scorer: dict[str, np.ndarray]


def edited_inputs(config: Config, num_buckets: int) -> tuple[Input, ...]:
    """The tables of edited pictures, of paintings and of versions; none where they were not made."""
    tables = [Table(config.root, name, num_buckets) for name in ("edited_embeddings", "edited_version_embeddings")]
    tokens = {"tokens": "tokens"} if config.head.preset == "tokens" else {}
    if config.head.caption_fusion or any(table.manifest() is None for table in tables):
        return ()
    if not of_split(config, num_buckets):
        return ()
    return tuple(Input.of(table, {"pooled": "pooled"} | tokens) for table in tables)


def of_split(config: Config, num_buckets: int) -> bool:
    """Whether the edited pictures are of the test split that is judged; a root holds those of one split."""
    header = Table(config.root, "edited", num_buckets).header()
    return header is not None and f"splits/{config.split.name}" in header["recipe"]["inputs"]


def load_edited(
    inputs: tuple[Input, ...], head: Head, bucket: int
) -> tuple[list[EditedKey], dict[str, np.ndarray]] | None:
    """One bucket's edited pictures, their pooled features (n, D) and what the head makes of them; None if empty."""
    keys: list[EditedKey] = []
    parts: dict[str, list[np.ndarray]] = {"pooled": [], "model": []}
    for source in inputs:
        rows = source.keys(bucket)
        if not len(rows):
            continue
        keys += _keys(rows)
        columns = {name: to_array(column) for name, column in source.rows(bucket, rows).items()}
        parts["pooled"].append(columns["pooled"])
        parts["model"].append(embed(head, (columns["pooled"], columns.get("tokens"), None), np.arange(len(rows))))
    return (keys, {name: np.concatenate(found) for name, found in parts.items()}) if keys else None


def _keys(rows: pa.Table) -> list[EditedKey]:
    nobody = [None] * len(rows)
    level, variant = (rows[name].to_pylist() if name in rows.column_names else nobody for name in ("level", "variant"))
    return list(zip(rows["id"].to_pylist(), level, variant, rows["edit"].to_pylist(), strict=True))


def join_edited(
    parts: Iterable[tuple[list[EditedKey], dict[str, np.ndarray]] | None], train: np.ndarray
) -> EditedVectors | None:
    """Put buckets together; `train` (m, D) are features of the training set. None where nothing was edited."""
    found = [part for part in parts if part is not None]
    if not found:
        return None
    columns = {name: np.concatenate([part[name] for _, part in found]) for name in found[0][1]}
    frozen = centred(train, columns["pooled"])
    keys = [key for names, _ in found for key in names]
    return EditedVectors(
        {key: row for row, key in enumerate(keys)}, {"model": columns["model"], "frozen_centred": frozen}
    )


def how_robust(scored: Scored, edited: EditedVectors, num_draws: int) -> dict[str, Any] | None:
    """`robustness.robustness` of the trained head on the test split; None where no painting was edited."""
    rows = scored.where("test")
    gallery, first = np.unique(scored.pairs.anchor[rows], return_index=True)
    place = {row: at for at, row in enumerate(gallery.tolist())}
    keys = [
        (row, place[at], key[3])
        for key, row in edited.row_of.items()
        if key[1] is None
        and key[3] not in FRAMINGS
        and (at := scored.vectors.row_of.get((key[0], None, None), -1)) in place
    ]
    if not keys:
        return None
    own, painting, edits = zip(*keys, strict=True)
    originals = Originals(scored.vectors.by_scorer["model"][gallery], scored.groups[rows][first])
    return robustness(originals, Edited(edited.by_scorer["model"][list(own)], np.array(painting), edits), num_draws)


def how_framed(scored: Scored, edited: EditedVectors, scorer: str, num_draws: int) -> list[dict[str, Any]]:
    """`shortcuts.framings` of a scorer on the test triplets of tier any whose pictures all have every framing."""
    rows = scored.where("test", "any")
    rows = rows[scored.has_negative[rows]]
    columns = [_decoded(scored.rows[name], rows) for name in ("id", "level", "variant")]
    negative = [_decoded(scored.rows[f"negative_{name}"], rows) for name in ("id", "level", "variant")]
    names = sorted({key[3] for key in edited.row_of} & set(FRAMINGS), key=FRAMINGS.index)
    places = {name: _places(edited.row_of, columns, negative, name) for name in names}
    there = np.logical_and.reduce([(place >= 0).all(0) for place in places.values()] or [np.zeros(len(rows), bool)])
    if not there.any():
        return []
    vectors = edited.by_scorer[scorer]
    similarities = {CROPPED: scored.similarities(scorer, rows[there])}
    for name, place in places.items():
        anchor, positive, other = (vectors[some[there]] for some in place)
        similarities[name] = (anchor * positive).sum(1), (anchor * other).sum(1)
    return framings(similarities, scored.groups[rows[there]], num_draws)


def _decoded(column: pa.ChunkedArray, rows: np.ndarray) -> list[Any]:
    return column.take(pa.array(rows)).to_pylist()


def _places(row_of: Mapping[EditedKey, int], own: list[list[Any]], other: list[list[Any]], edit: str) -> np.ndarray:
    """Rows of anchor, positive and negative in one framing, (3, n); -1 where it was not made."""
    anchor = [row_of.get((painting, None, None, edit), -1) for painting in own[0]]
    pairs = [[row_of.get((*key, edit), -1) for key in zip(*columns, strict=True)] for columns in (own, other)]
    return np.array([anchor, *pairs])


def cues_of_files(scored: Scored, num_draws: int) -> list[dict[str, Any]]:
    """`shortcuts.file_cues` of the test split's versions beside their paintings."""
    rows = scored.where("test")
    version, first = np.unique(scored.pairs.positive[rows], return_index=True)
    painting, cues = scored.pairs.anchor[rows][first], scored.vectors.cues
    paintings, versions = ({name: values[at] for name, values in cues.items()} for at in (painting, version))
    return file_cues(paintings, versions, scored.groups[rows][first], num_draws)

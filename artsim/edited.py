"""Which paintings are edited, and what is done to each: the rows of `edited` and `edited_versions`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artsim.config import EditConfig
from artsim.schemas import row_seed


class Chosen(NamedTuple):
    """Paintings in the order in which they were drawn: those that are edited, and those that are framed otherwise."""

    edited: list[str]
    framed: list[str]


def choose(splits: pa.Table, config: EditConfig, seed: int, among: Iterable[str] = ("test",)) -> Chosen:
    """Draw paintings of some splits, by seed and id alone; `splits` has the columns id and split."""
    ids = splits.filter(pc.is_in(splits["split"], value_set=pa.array(list(among))))["id"].to_pylist()
    drawn = sorted(ids, key=lambda painting: (row_seed(seed, "edit", painting), painting))
    return Chosen(drawn[: config.num_paintings], drawn[: config.num_framed])


def edits_of(chosen: Chosen, config: EditConfig) -> dict[str, tuple[str, ...]]:
    """What is done to each painting, or to its versions if those are what the table holds."""
    edits = dict.fromkeys(chosen.edited, config.edits) if config.table == "edited" else {}
    framings = dict.fromkeys(chosen.framed, config.framings)
    return {painting: edits.get(painting, ()) + framings.get(painting, ()) for painting in edits | framings}


def num_edits(config: EditConfig, num_paintings: int) -> int:
    """Rows of the settings' table, of each version for versions, if there are so many paintings to draw from."""
    num_edited = min(num_paintings, config.num_paintings) if config.table == "edited" else 0
    return num_edited * len(config.edits) + min(num_paintings, config.num_framed) * len(config.framings)


def expand_edits(ids: list[str], edits: Mapping[str, tuple[str, ...]]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The rows that each picture gets: which of the ids (B,) int64, and edit (B,)."""
    rows = [(at, edit) for at, painting in enumerate(ids) for edit in edits.get(painting, ())]
    return np.array([at for at, _ in rows], np.int64), {"edit": np.array([edit for _, edit in rows], object)}

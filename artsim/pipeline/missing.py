"""What a table lacks: planned bucket by bucket in tasks, and cut into what a worker does in one call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import ray

from artsim.pipeline.cluster import shares
from artsim.resume import Work
from artsim.step import Step
from artsim.tables import Parts


class Piece(NamedTuple):
    """Missing rows `start` to `stop` of one bucket, which become one part."""

    plan: int
    """which of the plans names them"""
    bucket: int
    start: int
    stop: int


Quarantined = dict[int, list[str]]
"""Names of quarantined parts, by bucket."""
Plan = dict[int, pa.Table]
"""Key, input_hash and former attempts of missing rows, by bucket."""


class Missing(NamedTuple):
    """What a table lacks: plans, which lie on the cluster, and what a worker does in one call."""

    plans: list[ray.ObjectRef]
    chunks: list[list[Piece]]

    @property
    def num_rows(self) -> int:
        """Rows of all pieces."""
        return sum(piece.stop - piece.start for chunk in self.chunks for piece in chunk)

    def keys(self, pieces: Iterable[Piece]) -> pa.Table:
        """Key, input_hash and former attempts of the rows of some pieces."""
        plans: dict[int, Plan] = {piece.plan: ray.get(self.plans[piece.plan]) for piece in pieces}
        return pa.concat_tables(plans[plan][bucket].slice(start, stop - start) for plan, bucket, start, stop in pieces)


# What lies on a machine that is lost is made again, as often as that happens.
@ray.remote(num_cpus=1, num_returns=2, max_retries=-1)
def _plan(work: Work, buckets: Sequence[int], parts: Parts, again: Quarantined) -> Any:
    """The missing rows of some buckets; how many they are, and how many rows the buckets must have."""
    missing = {bucket: work.missing(bucket, parts, again.get(bucket, ())) for bucket in buckets}
    return missing, {bucket: (len(rows), len(work.expected(bucket))) for bucket, rows in missing.items()}


def find_missing(step: Step, work: Work, again: Quarantined) -> tuple[Missing, int]:
    """The missing rows, and the number of rows that the finished table must account for.

    Rows of the quarantined parts `again` are missing too, unless they are done or quarantined anew since then.
    """
    parts, shared, size = ray.put(work.table.parts()), ray.put(work), step.workers.rows_per_part
    tried = ray.put(again)
    plan_some: Any = _plan.options(name=f"plan {step.table}")
    tasks = [plan_some.remote(shared, buckets, parts, tried) for buckets in shares(work.table.num_buckets)]
    pieces, expected = [], 0
    for plan, counts in enumerate(ray.get([counts for _, counts in tasks])):
        expected += sum(wanted for _, wanted in counts.values())
        pieces += [
            Piece(plan, bucket, start, min(start + size, missing))
            for bucket, (missing, _) in counts.items()
            for start in range(0, missing, size)
        ]
    # The largest first, so that at the end no worker waits long for another.
    pieces.sort(key=lambda piece: piece.start - piece.stop)
    return Missing([plan for plan, _ in tasks], _pack(pieces, step.workers.batch_size)), expected


def _pack(pieces: Iterable[Piece], batch_size: int) -> list[list[Piece]]:
    """Put small pieces together as long as they are one batch of the stage."""
    chunks: list[list[Piece]] = []
    room = 0
    for piece in pieces:
        num_rows = piece.stop - piece.start
        if num_rows > room:
            chunks.append([])
            room = batch_size
        chunks[-1].append(piece)
        room -= num_rows
    return chunks

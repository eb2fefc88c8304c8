"""What a head is trained on: cached features, pairs of them, and the batches of an epoch. torch only.

Shapes: B rows of a batch, P pairs, H hard negatives of a pair, D width of the pooled features, N tokens of width T.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artsim.config import TrainingConfig
from artsim.siamese import Sizes

Rows = NDArray[np.int64]


class Features:
    """Cached embeddings of many pictures, left in the chunks that they came in (views of shared memory, never copied).

    pooled: chunks (n, D) float32; tokens: (n, N, T) float16; captions: (n, D) float32. Row numbers run through all
    chunks. Hand over only what the head looks at: tokens for preset tokens, captions for caption_fusion.
    """

    def __init__(
        self,
        pooled: Sequence[np.ndarray],
        tokens: Sequence[np.ndarray] | None = None,
        captions: Sequence[np.ndarray] | None = None,
    ) -> None:
        self._columns = {"pooled": pooled}
        self._columns |= {name: c for name, c in (("tokens", tokens), ("caption", captions)) if c is not None}
        lengths = [len(chunk) for chunk in pooled]
        for name, chunks in self._columns.items():
            if [len(chunk) for chunk in chunks] != lengths:
                raise ValueError(f"chunks of {name} must be as many and as long as those of pooled")
            if len({chunk.shape[1:] for chunk in chunks}) != 1:
                raise ValueError(f"chunks of {name} must be of one width, and there must be one at least")
        if captions is not None and captions[0].shape[1] != pooled[0].shape[1]:
            raise ValueError(f"captions are {captions[0].shape[1]} wide, pictures {pooled[0].shape[1]}: must be alike")
        self._starts = np.cumsum([0, *lengths])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def sizes(self) -> Sizes:
        """Widths, as build_head takes them."""
        tokens = self._columns["tokens"][0].shape if "tokens" in self._columns else (None, None, None)
        return Sizes(self._columns["pooled"][0].shape[1], token_size=tokens[2], num_tokens=tokens[1])

    def gather(self, rows: Rows, device: torch.device | str = "cpu") -> dict[str, Tensor]:
        """Copy some rows to a device: pooled (B, D), and tokens (B, N, T) and caption (B, D) where there are any."""
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()}..{rows.max()} of {len(self)}")
        chunk_of = np.searchsorted(self._starts, rows, side="right") - 1
        places = list(zip(chunk_of.tolist(), (rows - self._starts[chunk_of]).tolist(), strict=True))
        batch = {}
        for name, chunks in self._columns.items():
            out = np.empty((len(rows), *chunks[0].shape[1:]), chunks[0].dtype)
            for i, (chunk, row) in enumerate(places):
                out[i] = chunks[chunk][row]
            batch[name] = torch.from_numpy(out).to(device)
        return batch


@dataclass(frozen=True)
class Pairs:
    """What is compared: (P,) int64 row numbers of Features; negative is -1 where a pair has none.

    Pairs of one group show the same painting, and are never each other's negatives in a batch. `hard` (P, H) are the
    versions of paintings that are easily taken for a pair's, which show the groups `hard_group` (P, H): -1 where a pair
    has fewer than H. Without any H is 0.
    """

    anchor: Rows
    positive: Rows
    negative: Rows
    group: Rows
    hard: Rows = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    hard_group: Rows = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    def __post_init__(self) -> None:
        assert len(self.anchor) == len(self.positive) == len(self.negative) == len(self.group)
        assert self.hard.shape == self.hard_group.shape
        assert len(self.hard) in (0, len(self.anchor))

    def __len__(self) -> int:
        return len(self.anchor)

    def rows(self, config: TrainingConfig) -> Rows:
        """What config.loss compares, (P, 2 or 3): anchor, positive and, for loss triplet, negative."""
        negative = [self.negative] if config.loss == "triplet" else []
        return np.stack([self.anchor, self.positive, *negative], axis=1)

    def with_negative(self) -> Pairs:
        """Those pairs that are triplets."""
        has = self.negative >= 0
        hard = [rows[has] if len(rows) else rows for rows in (self.hard, self.hard_group)]
        return Pairs(self.anchor[has], self.positive[has], self.negative[has], self.group[has], *hard)

    def to_train(self, config: TrainingConfig) -> Pairs:
        """Those pairs that config.loss can learn from: for loss triplet only triplets."""
        return self.with_negative() if config.loss == "triplet" else self

    def pictures(self, config: TrainingConfig) -> Rows:
        """The row of each picture that config.loss looks at, once."""
        pairs = self.to_train(config)
        hard = pairs.hard[pairs.hard >= 0] if _brings_hard(config) else pairs.hard[:0]
        return np.unique(np.concatenate([pairs.rows(config).reshape(-1), hard.reshape(-1)]))


class Batch(NamedTuple):
    """What one step learns from, over all ranks."""

    pictures: Rows
    """(B, 2 or 3) rows of Features: anchor, positive and, for loss triplet, negative"""
    hard: Rows
    """(h,) rows of Features: hard negatives that some of the pairs bring along, for all anchors to be told from"""
    groups: Rows
    """(B + h,) what the positives show, and then what the hard negatives show"""

    def share(self, rank: int, world_size: int) -> Rows:
        """The rows of one rank: its part of the pictures, pair by pair, and then its part of the hard negatives."""
        parts = (np.array_split(rows, world_size)[rank].reshape(-1) for rows in (self.pictures, self.hard))
        return np.concatenate(list(parts))


def plan_epoch(pairs: Pairs, config: TrainingConfig, epoch: int, seed: int) -> list[Batch]:
    """The batches of an epoch; which pair brings which hard negative depends on (seed, epoch) alone, as the order does.

    In each batch a share config.hard_share of the pairs, or as many as have one, bring a hard negative along: one of
    theirs, each as likely.
    """
    rows = pairs.rows(config)
    drawn = _draw_hard(pairs, epoch, seed) if _brings_hard(config) else np.full(len(pairs), -1)
    planned = []
    for batch in batches(len(pairs), config.batch_size, epoch, seed):
        bring = batch[drawn[batch] >= 0][: round(config.hard_share * len(batch))]
        hard = [table[bring, drawn[bring]] for table in (pairs.hard, pairs.hard_group)] if len(bring) else [bring] * 2
        planned.append(Batch(rows[batch], hard[0], np.concatenate([pairs.group[batch], hard[1]])))
    return planned


def _brings_hard(config: TrainingConfig) -> bool:
    return config.loss == "infonce" and config.hard_share > 0


def _draw_hard(pairs: Pairs, epoch: int, seed: int) -> Rows:
    """The column of pairs.hard (P,) that each pair draws in an epoch; -1 where it has none."""
    if not pairs.hard.size:
        return np.full(len(pairs), -1)
    first = np.argsort(pairs.hard < 0, axis=1, kind="stable")  # those that are there, then the rest
    count = (pairs.hard >= 0).sum(1)
    drawn = (np.random.default_rng([seed, epoch, 1]).random(len(pairs)) * count).astype(np.int64)
    return np.where(count > 0, np.take_along_axis(first, drawn[:, None], axis=1)[:, 0], -1)


def batches(num_pairs: int, batch_size: int, epoch: int, seed: int) -> list[Rows]:
    """The epoch's global batches: a permutation drawn from (seed, epoch), cut into as many equal parts as it takes.

    No batch is larger than batch_size and sizes differ by one at most, so nothing is dropped and no small rest is
    left. The world's size does not matter: ranks share each batch as np.array_split cuts it.
    """
    order = np.random.default_rng([seed, epoch]).permutation(num_pairs)
    return np.array_split(order, math.ceil(num_pairs / batch_size))

"""What a run will take: how fast one worker of a stage is, measured on a few rows, and what follows for all. No Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from artsim import training as loop
from artsim.batches import Features, Pairs
from artsim.cache import load_bucket
from artsim.config import Config
from artsim.resume import Input, Work
from artsim.schemas import to_batch
from artsim.siamese import build_head
from artsim.step import Step, read_rows

HEADER = f"{'table':<28}{'rows':>12}{'rows/s each':>13}{'work':>17}{'workers':>9}{'time':>10}{'storage':>11}"
NUM_STEPS = 4
"""Steps of the optimizer that are timed."""
COPIES_OF_WEIGHTS = 9
"""A model folder holds the best weights, and two checkpoints with weights, AdamW's two moments and the best so far."""


class Plan(NamedTuple):
    """What one stage will take."""

    table: str
    rows: int
    rows_per_s: float
    """of one worker"""
    num_workers: int
    num_gpus: float
    """of one worker"""
    gigabytes: float

    @property
    def hours(self) -> float:
        """How long the stage takes with all its workers."""
        return self.rows / self.rows_per_s / self.num_workers / 3600

    def __str__(self) -> str:
        work = f"{self.hours * self.num_workers * (self.num_gpus or 1):.2f} {'GPU' if self.num_gpus else 'worker'}-h"
        rate = f"{self.rows_per_s:,.{0 if self.rows_per_s >= 100 else 2}f}"
        return (
            f"{self.table:<28}{self.rows:>12,}{rate:>13}{work:>17}{self.num_workers:>9}"
            f"{duration(self.hours):>10}{size(self.gigabytes):>11}"
        )


def duration(hours: float) -> str:
    """Hours in the unit that people would say them in."""
    seconds = 3600 * hours
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if hours < 2 else f"{hours:.1f} h"


def size(gigabytes: float) -> str:
    """Gigabytes in MB, GB or TB."""
    if gigabytes < 1:
        return f"{1000 * gigabytes:.0f} MB"
    return f"{gigabytes:.1f} GB" if gigabytes < 1000 else f"{gigabytes / 1000:.1f} TB"


def stage_rate(step: Step, work: Work) -> float:
    """Rows per second of one worker whose model is loaded and warm, on as many rows as it takes at a time.

    Where the stage reads files of the source, their reading counts.
    """
    stage = step.stage(*step.arguments)
    wanted = work.expected(bucket=0)
    batch = to_batch(read_rows(step, work, wanted))
    num_rows = len(batch["id"])
    if step.fetch_bytes:
        return num_rows / _seconds(lambda: stage(to_batch(read_rows(step, work, wanted))))
    at = np.arange(max(num_rows, step.workers.micro_batch_size)) % num_rows
    batch = {name: column[at] for name, column in batch.items()}
    return len(at) / _seconds(lambda: stage(batch))


class HeadRates(NamedTuple):
    """How fast one process works with a siamese head, and how large the head is."""

    pairs_per_s: float
    """learned from"""
    pictures_per_s: float
    """embedded, on a CPU, as evaluation does"""
    num_bytes: int


def head_rates(config: Config, inputs: Sequence[Input], device: str) -> HeadRates:
    """Train a head of the settings' size for some steps of full batches, whose pictures come again and again."""
    torch.set_num_threads(max(1, int(config.training.num_cpus)))
    _, (pooled, tokens, captions) = load_bucket(inputs, 0)
    features = Features([pooled], *([column] if column is not None else None for column in (tokens, captions)))
    head = build_head(config.head, *features.sizes)
    head.set_statistics(loop.statistics(features, np.arange(len(features))))
    state = loop.start_training(head.to(device), config.training)
    numbers = np.arange(NUM_STEPS * config.training.batch_size)
    anchor, positive, negative = ((numbers + shift) % len(features) for shift in range(3))
    hard = numbers[:, None] + 3
    pairs = Pairs(anchor, positive, negative, group=numbers, hard=hard % len(features), hard_group=hard)
    train = _seconds(lambda: loop.train_epoch(state, features, pairs, config.training, config.seed))
    embed = _seconds(lambda: loop.embed_rows(state.head.cpu(), features, anchor))
    num_bytes = sum(value.numel() * value.element_size() for value in head.parameters())
    return HeadRates(len(numbers) / train, len(numbers) / embed, num_bytes)


def _seconds(call: Callable[[], object]) -> float:
    """Seconds of the second call."""
    call()
    began = time.perf_counter()
    call()
    return time.perf_counter() - began

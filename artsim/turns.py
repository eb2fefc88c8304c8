"""What benchmarks measure with: two ways of doing the same work in turns, and looks at what goes on meanwhile."""

from __future__ import annotations

import math
import os
import statistics
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

Report = dict[str, Any]
Work = dict[str, Any]
"""What was done: equal on both sides, or the comparison is worth nothing."""
Measurement = tuple[float, Work]
"""Things done per second, and what was done."""


def in_turns(ours: Callable[[], Measurement], reference: Callable[[], Measurement], num_runs: int) -> Report:
    """Measure both several times, whoever was second going first: medians, and the median of the runs' ratios."""
    runs: list[dict[str, Any]] = []
    for number in range(num_runs):
        sides = {"ours": ours, "reference": reference}
        load = os.getloadavg()[0]
        measured = {name: sides[name]() for name in sorted(sides, reverse=number % 2 == 1)}
        (rate, work), (plain_rate, plain_work) = measured["ours"], measured["reference"]
        assert _alike(work, plain_work), f"not the same work: {work} and {plain_work}"
        figures = {"ours": rate, "reference": plain_rate, "ratio": rate / plain_rate, "load": load}
        rounded = {name: float(f"{value:.4g}") for name, value in figures.items()}
        runs.append(rounded | {"work": {"ours": work, "reference": plain_work}})
    medians = {name: statistics.median(run[name] for run in runs) for name in ("ours", "reference", "ratio")}
    return {name: float(f"{value:.4g}") for name, value in medians.items()} | {"runs": runs}


def _alike(work: Work, other: Work) -> bool:
    """Whether two sides did the same; figures may differ by a thousandth, as batches round differently."""
    return work.keys() == other.keys() and all(
        math.isclose(value, other[name], rel_tol=1e-3) if isinstance(value, float) else value == other[name]
        for name, value in work.items()
    )


@contextmanager
def watching(look: Callable[[], T], every_s: float) -> Iterator[list[T]]:
    """What a look finds at once and then every so many seconds, from another thread, until the block ends."""
    found, done = [look()], threading.Event()

    def watch() -> None:
        while not done.wait(every_s):
            found.append(look())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()

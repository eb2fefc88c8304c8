"""What Prometheus learns of the service, through Ray's own exporter on each node."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.serve import metrics

_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]


class Measures:
    """Counters and histograms of one replica; Ray adds application, deployment and replica as labels."""

    def __init__(self) -> None:
        self._stage = metrics.Histogram(
            "artsim_stage_seconds",
            "Time of a stage: upload, answer (of a whole request), queue (until a batch takes a picture), look, judge.",
            boundaries=_SECONDS,
            tag_keys=("stage",),
        )
        self._batch = metrics.Histogram(
            "artsim_batch_size", "Pictures looked at together.", boundaries=[1, 2, 4, 8, 16, 32, 64]
        )
        # Ray annotates a tuple of one.
        labels: Any = ("path", "status")
        self._requests = metrics.Counter("artsim_requests", "Requests by path and status.", tag_keys=labels)
        self._rejections = metrics.Counter(
            "artsim_rejections", "Requests not answered, by reason.", tag_keys=("reason",)
        )
        self._in_flight = metrics.Gauge("artsim_in_flight", "Requests that a replica of Ingress is busy with.")
        self._num_in_flight = 0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside, also where it raises."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.took(name, time.perf_counter() - began)

    def took(self, stage: str, seconds: float) -> None:
        """How long a stage took."""
        self._stage.observe(max(seconds, 1e-9), {"stage": stage})

    def batch(self, size: int) -> None:
        """How many pictures were looked at together."""
        self._batch.observe(size)

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """A request while it is worked on."""
        self._move(1)
        try:
            yield
        finally:
            self._move(-1)

    def _move(self, step: int) -> None:
        self._num_in_flight += step
        self._in_flight.set(self._num_in_flight)

    def answered(self, path: str, status: int) -> None:
        """A request was answered; `path` is that of its route, never one with ids in it."""
        self._requests.inc(1, {"path": path, "status": str(status)})

    def refused(self, reason: str) -> None:
        """A request was not answered as asked."""
        self._rejections.inc(1, {"reason": reason})

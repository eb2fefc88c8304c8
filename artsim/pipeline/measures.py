"""What Prometheus learns of a stage, through Ray's own exporter on the job's node."""

from __future__ import annotations

from collections.abc import Sequence

from ray.util.metrics import Counter, Gauge

from artsim.log import events
from artsim.step import Outcome, Step


class Measures:
    """Metrics and log lines of what becomes of a step's rows; counted by the job, part by part as they are written.

    Every metric is labelled `table` and `stage`. Nothing is exported where Ray collects no metrics, as on a laptop.
    """

    def __init__(self, step: Step, num_missing: int) -> None:
        labels = tuple(step.labels)
        self._step, self._num_missing = step, num_missing
        self._rows = Counter("artsim_rows", "Rows written, by outcome: done, or why not.", (*labels, "outcome"))
        self._retries = Counter(
            "artsim_retries", "What was tried again, by what: worker, row or pass.", (*labels, "what")
        )
        self._missing = Gauge("artsim_rows_missing", "Rows of a table that are not there yet.", labels)
        self._missing.set(num_missing, step.labels)
        begun = {"event": "begun", "rows": num_missing}
        events.info(f"{step.table}: {num_missing} rows are missing", extra=begun | step.labels)

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Rows came out of the stage."""
        for outcome in outcomes:
            self._rows.inc(outcome.num_rows, self._step.labels | {"outcome": outcome.reason})
            self._num_missing -= outcome.num_rows
            if outcome.key is not None:
                told = {"reason": outcome.reason, "key": outcome.key, "attempts": outcome.attempts}
                sentence = f"{self._step.table}: {outcome.reason}: {outcome.message}"
                events.warning(sentence, extra={"event": "quarantined"} | self._step.labels | told)
        self._missing.set(max(0, self._num_missing), self._step.labels)

    def retry(self, what: str, sentence: str, **more: object) -> None:
        """Something is tried again: a `worker` was replaced, a `row` goes alone, or the table has another `pass`."""
        self._retries.inc(1, self._step.labels | {"what": what})
        events.warning(
            f"{self._step.table}: {sentence}", extra={"event": "retry", "what": what} | self._step.labels | more
        )

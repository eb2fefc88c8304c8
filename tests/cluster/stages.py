"""Stages that behave badly on purpose, each on the rows whose title says so."""

import os
import time
from pathlib import Path
from typing import ClassVar

import numpy as np

from artsim.schemas import Batch
from artsim.stages import EngineError


class Shout:
    """Adds caption: the title in capitals. `kill` ends the process, `hang` never returns, `fail` is an error.
    `eat` takes memory until it gets no more.

    `engine` loses the stage's engine; with a file `once`, only while that file does not exist.
    """

    version: ClassVar[int] = 1
    determinism: ClassVar[str] = "exact"

    def __init__(self, seconds_per_row: float = 0.0, once: str = "") -> None:
        if once == "broken":
            raise OSError("no weights here")
        self._seconds_per_row, self._once = seconds_per_row, once

    def __call__(self, batch: Batch) -> Batch:
        time.sleep(self._seconds_per_row * len(batch["title"]))
        if "kill" in batch["title"]:
            os._exit(1)
        if "engine" in batch["title"] and not (self._once and Path(self._once).exists()):
            if self._once:
                Path(self._once).touch()
            raise EngineError("the engine's process has died")
        if "eat" in batch["title"]:
            eaten = []
            while sum(map(len, eaten)) < 4e9:  # more than the tests allow, and less than would hurt the machine
                eaten.append(bytes(100_000_000))
        if "hang" in batch["title"]:
            time.sleep(1e6)
        if "bug" in batch["title"]:
            raise ZeroDivisionError("a defect of the stage")
        errors = [f"corrupt: {title}" if title == "fail" else None for title in batch["title"]]
        captions = [None if title == "fail" else title.upper() for title in batch["title"]]
        return batch | {"caption": np.array(captions, object), "error": np.array(errors, object)}


class Whisper(Shout):
    """The same under a name that no other test counts."""

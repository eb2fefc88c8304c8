"""What is seen of a job from outside: its log lines, its metrics, and what Ray calls its parts."""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from artsim import log
from artsim.pipeline import run
from tests.cluster.programs import NUM_PAINTINGS
from tests.cluster.programs import run as run_program
from tests.cluster.stages import Whisper
from tests.cluster.test_pipeline import command, listing, step
from tests.processes import exported

OUTPUT_ROWS = "ray_data_output_rows"

pytestmark = pytest.mark.cluster


@pytest.fixture
def _json_lines() -> Iterator[None]:
    hook = sys.excepthook
    log.configure("json", job="a-test")
    yield
    log.configure("text")
    sys.excepthook = hook


def samples(text: str, name: str) -> list[tuple[dict[str, str], float]]:
    """Labels and values of a metric in Prometheus's text."""
    found = re.findall(rf"^{name}{{(.*)}} (\S+)$", text, re.MULTILINE)
    return [(dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)) for labels, value in found]


def ours(text: str, name: str, label: str) -> dict[str, float]:
    """The values of a metric of this test's stage, by one of its labels."""
    found = samples(text, name)
    return {labels[label]: value for labels, value in found if labels["stage"] == "Whisper"}


@pytest.mark.usefixtures("new_cluster", "_json_lines")
def test_rows_failures_and_retries_are_seen_in_logs_and_metrics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    titles = [f"t{row}" for row in range(40)]
    titles[7], titles[21], titles[33] = "fail", "fail", "engine"
    listing(tmp_path, titles)
    run(replace(step(), stage=Whisper, arguments=(0.0, str(tmp_path / "once"))), command(tmp_path))
    said = capsys.readouterr().out.splitlines()  # Ray's core prints a line of its own where a worker dies
    lines = [json.loads(line) for line in said if "(raylet)" not in line]
    place = {"job": "a-test", "table": "captions", "stage": "Whisper"}
    assert [{name: line[name] for name in place} for line in lines] == [place] * len(lines)
    assert (lines[0]["event"], lines[0]["rows"]) == ("begun", 40)
    assert (lines[-1]["event"], lines[-1]["rows"], lines[-1]["quarantined"]) == ("finished", 38, 2)
    lost = sorted((line["key"]["id"], line["reason"], line["attempts"]) for line in named(lines, "quarantined"))
    assert lost == [("g/0007", "corrupt", 1), ("g/0021", "corrupt", 1)]
    assert [line["what"] for line in named(lines, "retry")] == ["worker"]

    text = wait_for(lambda text: ours(text, "ray_artsim_rows_total", "outcome") == {"done": 38, "corrupt": 2})
    assert ours(text, "ray_artsim_retries_total", "what") == {"worker": 1}
    assert ours(text, "ray_artsim_rows_missing", "table") == {"captions": 0}
    operators = {(labels["dataset"].split("_")[0], labels["operator"]) for labels, _ in samples(text, OUTPUT_ROWS)}
    assert ("captions", "MapBatches(Whisper)_1") in operators
    wait_for(lambda text: "MapWorker(MapBatches(Whisper))" in names(text, "ray_actors"))
    wait_for(lambda text: {"plan captions", "settle captions"} <= names(text, "ray_tasks"))


def wait_for(condition: Callable[[str], bool]) -> str:
    """What is exported once it is as it should be: Ray sends its figures every second here."""
    deadline = time.monotonic() + 30
    while not condition(text := exported(os.getpid())):
        assert time.monotonic() < deadline, text
        time.sleep(0.5)
    return text


def names(text: str, metric: str) -> set[str]:
    return {labels["Name"] for labels, _ in samples(text, metric)}


def named(lines: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [line for line in lines if line.get("event") == event]


@pytest.mark.slow
def test_a_job_that_speaks_json_says_nothing_else_and_names_what_it_lost(paintings: Path, tmp_path: Path) -> None:
    settings = ("log_format=json", f"source.uri={paintings}", "max_failure_rate=0.1")
    said = run_program("ingest", tmp_path, *settings).splitlines()
    lines = [json.loads(line) for line in said if "logging.cc" not in line]  # Ray's core says how it logs
    (lost,) = named(lines, "quarantined")
    assert (lost["key"], lost["reason"]) == ({"id": "Baroque/nobody_words"}, "not_an_image")
    assert (lost["table"], lost["stage"], lost["levelname"]) == ("artworks", "Measure", "WARNING")
    assert named(lines, "finished")[0]["rows"] == NUM_PAINTINGS
    assert len({(line["job"], line.get("job_id")) for line in lines if line.get("table")}) == 1

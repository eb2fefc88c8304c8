"""Training through Ray Train: a run that was killed goes on where it was, and draws the same curve."""

import json
import re
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.cluster.programs import job, run

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

NUM_EPOCHS = 10
SETTINGS = (f"training.num_epochs={NUM_EPOCHS}", "training.patience=99")


@pytest.fixture(scope="module")
def unharmed(whole: tuple[Path, str]) -> list[dict[str, float]]:
    """The curve of a run that nobody killed."""
    run("train", whole[0], "training.name=unharmed", *SETTINGS)
    return curve(whole[0], "unharmed")


def curve(root: Path, name: str) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (root / f"models/{name}/metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def read_until(process: subprocess.Popen[str], epoch: int) -> list[str]:
    """What the job printed until an epoch ended."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if f"epoch {epoch}:" in line:
            return lines
    raise AssertionError("".join(lines))


def epochs(output: str) -> list[tuple[str, int]]:
    """The epochs that ended, each with the worker process that ran it."""
    return [(pid, int(epoch)) for pid, epoch in re.findall(r"pid=(\d+)\)\S* epoch (\d+):", output)]


def test_a_killed_driver_goes_on_where_it_was(whole: tuple[Path, str], unharmed: list[dict[str, float]]) -> None:
    settings = ("training.name=killed-driver", *SETTINGS)
    process = job("train", whole[0], *settings)
    read_until(process, 3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = [epoch for _, epoch in epochs(run("train", whole[0], *settings))]
    assert again
    assert again == list(range(again[0], NUM_EPOCHS + 1))
    assert again[0] > 3
    assert curve(whole[0], "killed-driver") == unharmed


def test_a_killed_worker_is_replaced(whole: tuple[Path, str], unharmed: list[dict[str, float]]) -> None:
    process = job("train", whole[0], "training.name=killed-worker", *SETTINGS)
    lines = read_until(process, 3)
    family = psutil.Process(process.pid).children(recursive=True)
    victim = next(child for child in family if "RayTrainWorker" in " ".join(child.cmdline()))
    victim.kill()
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    trained = epochs("".join(lines) + output)
    assert len({pid for pid, _ in trained}) == 2
    ended = [epoch for _, epoch in trained]
    assert ended == sorted(set(ended))  # none twice
    assert len(ended) >= NUM_EPOCHS - 1  # one may count already and be killed before it says so
    assert curve(whole[0], "killed-worker") == unharmed


def test_the_same_settings_are_trained_once_and_others_are_refused(
    whole: tuple[Path, str], unharmed: list[dict[str, float]]
) -> None:
    assert "trained already" in run("train", whole[0], "training.name=unharmed", *SETTINGS)
    process = job("train", whole[0], "training.name=unharmed", *SETTINGS, "training.lr=0.5")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "training.lr: 3e-05 before, 0.5 now" in output
    assert len(output.strip().splitlines()) == 1


def test_more_processes_than_the_machine_holds_are_refused(whole: tuple[Path, str]) -> None:
    process = job("train", whole[0], "training.name=too-many", "training.num_workers=99")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "models/too-many: a worker needs 1 CPUs and 0 GPUs, and of the 99 that work together" in output
    assert not (whole[0] / "models/too-many").exists()

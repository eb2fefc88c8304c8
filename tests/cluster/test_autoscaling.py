"""A cluster that grows by itself: machines come when a stage asks for their kind, and go when it is done."""

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

import pytest

from tests.cluster.autoscaled import NUM_ROWS
from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def autoscaled() -> dict[str, Any]:
    """What tests/cluster/autoscaled.py says, in namespaces of its own; skips where this user may not make them."""
    made = [
        "unshare",
        "--pid",
        "--net",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "sh",
        "-c",
        'ip link set lo up && exec "$@"',
        "sh",
    ]
    if os.geteuid() or subprocess.run([*made, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make namespaces")
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # a short name, for Ray's sockets
        command = [*made, sys.executable, "-m", "tests.cluster.autoscaled", folder]
        process = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=180, check=False)
    assert process.returncode == 0, process.stderr[-3000:]
    told: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return told


def test_machines_come_for_a_stage_and_go_after_it() -> None:
    told = autoscaled()
    changes, stages = told["machines"], told["stages"]
    assert changes[0][1] == changes[-1][1] == {"cpu": 0, "gpu": 0}
    assert {name: stage["rows"] for name, stage in stages.items()} == NUM_ROWS
    gpus = {name: [counts["gpu"] for at, counts in changes if stage["began"] < at] for name, stage in stages.items()}
    after = len(gpus["left open"])
    asked, left_open = gpus["asks for three"][:-after], gpus["left open"]
    assert (asked[0], max(asked), asked[-1]) == (0, 3, 0)
    assert max(left_open) > 1  # where it had one for ever once
    assert left_open[-1] == 0
    gone = next(at for at, counts in changes if at > stages["asks for three"]["ended"] and not counts["gpu"])
    assert gone - stages["asks for three"]["ended"] < 20

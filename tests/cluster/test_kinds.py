"""Stages of different kinds on machines of different kinds: they run where the settings let them."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.cluster.kinds import NUM_ROWS
from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tests/cluster/kinds.py says."""
    command = [sys.executable, "-m", "tests.cluster.kinds", str(tmp_path_factory.mktemp("kinds"))]
    process = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=240)
    assert process.returncode == 0, process.stderr[-3000:]
    told: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return told


def test_a_stage_has_no_other_machines_than_its_labels_name_and_grows_on_them(found: dict[str, Any]) -> None:
    assert found["labelled"]["rows"] == {"cpu": NUM_ROWS}
    (workers,) = found["labelled"]["workers"].values()
    assert 2 <= workers <= 3


def test_two_workers_share_a_gpu(found: dict[str, Any]) -> None:
    assert found["halves"] == {"rows": {"gpu": NUM_ROWS}, "workers": {"gpu 0.5": 2}}


def test_what_is_left_open_takes_all_that_the_machines_hold(found: dict[str, Any]) -> None:
    assert found["left_open"]["workers"] == {"cpu 0": 2, "gpu 0": 2}
    assert sum(found["left_open"]["rows"].values()) == NUM_ROWS


def test_labels_count_when_a_place_is_sought(found: dict[str, Any]) -> None:
    needs = "captions: a worker needs 1 CPUs and 1 GPUs on a machine labelled kind=cpu, and no machine has them"
    assert found["shortage"].startswith(needs)
    assert found["halves_held"] is None

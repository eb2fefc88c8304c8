"""The same jobs through `ray job submit`, on a cluster that RAY_ADDRESS names, and with the root on an object store."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from artsim.store import Store
from artsim.tables import status
from tests.cluster.programs import NUM_PAINTINGS, SMALL, artsim, contents, job, run
from tests.conftest import REPOSITORY
from tests.servers import BIN, free_port, wait_for

pytestmark = pytest.mark.cluster


class Head(NamedTuple):
    """Where a Ray head node listens."""

    address: str
    dashboard: str


@pytest.fixture(scope="module")
def head(s3: None) -> Iterator[Head]:
    """A Ray cluster of one node that other processes join, and whose workers know the S3 server."""
    port, dashboard = free_port(), free_port()
    command = [BIN / "ray", "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}"]
    command += ["--num-cpus=2", "--object-store-memory=500000000", "--include-dashboard=true"]
    command += [f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1", "--temp-dir=/tmp/artsim-ray"]
    # Ray's agents all want port 52365, and without its agent a head takes no jobs: 0 is any free port.
    command += ["--dashboard-agent-listen-port=0", "--min-worker-port=21000", "--max-worker-port=21999"]
    command += [f"--ray-client-server-port={free_port()}"]
    # Submitted jobs find `python` on the head's path, as in an activated virtual environment.
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, start_new_session=True, env=environment, **quiet)
    try:
        wait_for(f"http://127.0.0.1:{dashboard}/api/version", process)
        yield Head(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def submit(head: Head, name: str, *settings: str) -> str:
    """What a job printed that was submitted with this repository as its working directory."""
    command = [BIN / "ray", "job", "submit", "--address", head.dashboard, "--working-dir", ".", "--"]
    command += ["python", f"jobs/{name}.py", *settings]
    submitted = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=1200, check=False)
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    return submitted.stdout


def check_run(output: str, root: Path | str, whole: Path) -> None:
    """A whole run printed what it should and made the rows that the run on this machine made."""
    assert f"{root}/models/a70/report.html\n{root}/models/a70\n" in output
    assert f"captions: {NUM_PAINTINGS} rows" in output
    assert len(status(str(root))["tables"]) >= 14
    assert Store(f"{root}/models/a70").read("report.html")
    for name in status(str(root))["tables"]:
        # The inputs of splits and triplets are whole tables, parts and all: only the rows must be the same.
        here, there = ({key: row for key, (_, row) in contents(each, name).items()} for each in (whole, root))
        assert here == there, name


@pytest.mark.s3
@pytest.mark.slow
def test_every_job_is_submitted_to_a_cluster_and_writes_to_an_object_store(
    head: Head, whole: tuple[Path, str], paintings: Path
) -> None:
    root = "s3://art/root"
    output = submit(head, "run", f"root={root}", *SMALL, f"source.uri={paintings}", "max_failure_rate=0.1")
    check_run(output, root, whole[0])
    assert [name for name in Store(f"{root}/models/a70/checkpoints").find() if name.endswith(".safetensors")]
    picture = whole[0] / "models/a70/examples/painting.jpg"
    same = artsim("compare", picture, picture, "--model", f"{root}/models/a70", "--json")
    assert json.loads(same)["similarity"] == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_a_job_sends_its_code_to_the_cluster_of_ray_address(
    head: Head, whole: tuple[Path, str], paintings: Path, tmp_path: Path
) -> None:
    """What else differs from a submitted job is where its driver is."""
    source = (f"source.uri={paintings}", "max_failure_rate=0.1")
    for name in ("ingest", "resize", "caption"):
        run(name, tmp_path, *source, RAY_ADDRESS=head.address)
    for table in ("artworks", "resized", "captions"):
        assert contents(tmp_path, table) == contents(whole[0], table)


def test_a_relative_root_is_refused_on_a_cluster() -> None:
    process = job("resize", Path("runs/nowhere"), RAY_ADDRESS="127.0.0.1:6379")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "name an absolute folder or a URL that all machines reach" in output


@pytest.mark.s3
def test_a_table_lives_on_an_object_store(s3: None, paintings: Path) -> None:
    command = [sys.executable, "jobs/ingest.py", "root=s3://art/ingested", f"source.uri={paintings}", *SMALL]
    subprocess.run([*command, "max_failure_rate=0.1"], cwd=REPOSITORY, capture_output=True, timeout=200, check=True)
    table = status("s3://art/ingested")["tables"]["artworks"]
    assert (table["done"], table["quarantined"]) == (NUM_PAINTINGS, {"not_an_image": 1})


@pytest.mark.s3
def test_a_bucket_that_is_not_there_is_one_sentence(s3: None, paintings: Path) -> None:
    command = [sys.executable, "jobs/ingest.py", "root=s3://nobodys-bucket/root", f"source.uri={paintings}"]
    found = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "nobodys-bucket" in found.stderr
    assert len(found.stderr.strip().splitlines()) == 1

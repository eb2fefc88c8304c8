"""The jobs and the command `artsim` as programs, with settings that make them small, and what their tables hold."""

import os
import subprocess
import sys
from pathlib import Path

from artsim.tables import Table
from tests.conftest import REPOSITORY

NUM_PAINTINGS = 36
SMALL = (
    "num_buckets=4",
    "letterbox.sizes=[256]",
    "generate.size=256",
    "embed.size=256",
    "letterbox.workers.rows_per_part=4",
    "generate.workers.rows_per_part=4",
    "edit.num_paintings=3",
    "training.num_epochs=4",
    "head.model_size=32",
    "head.hidden_size=64",
    "letterbox.workers.num_workers=2",
)


def job(name: str, root: Path | str, *settings: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, f"jobs/{name}.py", f"root={root}", *SMALL, *settings]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(name: str, root: Path | str, *settings: str, **environment: str) -> str:
    process = job(name, root, *settings, **environment)
    try:
        output, _ = process.communicate(timeout=1200)
    except BaseException:
        process.kill()  # or it would go on to write where the next test does
        raise
    assert process.returncode == 0, output
    return output


def contents(root: Path | str, table: str) -> dict[str, tuple[int, int]]:
    """Key -> hashes of input and row, each key once."""
    found = Table(str(root), table, 4)
    rows = found.read_all((*found.key, "input_hash", "row_hash")).to_pylist()
    hashes = {"/".join(str(row[name]) for name in found.key): (row["input_hash"], row["row_hash"]) for row in rows}
    assert len(hashes) == len(rows)
    return hashes


def artsim(*arguments: object) -> str:
    command = [sys.executable, "-m", "artsim.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY).stdout

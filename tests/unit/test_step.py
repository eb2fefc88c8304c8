"""What a worker may take of a machine's memory."""

import subprocess
import sys
from pathlib import Path

import pytest

READS_PARTS = """
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa

from artsim.step import _limit_memory


def reserved():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmData:")) / 1e6


def read_part(sizes):
    rows = pa.table({"image": pa.array([bytes(size) for size in sizes], pa.binary())})
    for start in range(0, len(rows), 64):
        rows["image"].slice(start, 64).to_numpy(zero_copy_only=False)


rng = np.random.default_rng(0)
held = reserved()
_limit_memory(4)
for _ in range(4):
    readers = [threading.Thread(target=read_part, args=(rng.integers(1e5, 6e5, 1024).tolist(),)) for _ in range(2)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
print(reserved() - held)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is only limited on Linux")
def test_a_worker_gives_back_what_it_reserved() -> None:
    """Parts of 360 MB, two at a time: once they are done, the limit must not count them, or it ends a sound worker."""
    done = subprocess.run([sys.executable, "-c", READS_PARTS], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1.5


READS_WITHOUT_ROOM = """
import sys

from artsim.sources import fetch
from artsim.step import _limit_memory

_limit_memory(0.001)
try:
    fetch([sys.argv[1]] * 16, 1000)
except MemoryError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is only limited on Linux")
def test_no_room_for_a_thread_is_a_shortage_of_memory(tmp_path: Path) -> None:
    """It ends the worker, whose rows the next one does, and not the job."""
    path = tmp_path / "picture.jpg"
    path.write_bytes(b"1")
    command = [sys.executable, "-c", READS_WITHOUT_ROOM, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "can't start new thread: 8 read at a time\n"


RESAMPLES_WITHOUT_ROOM = """
from PIL import Image

from artsim.images import letterbox
from artsim.stages.letterbox import torch_lanczos
from artsim.step import _limit_memory

thin, resize = Image.new("RGB", (4_000_000, 1)), torch_lanczos()
letterbox(Image.new("RGB", (40, 10)), 16, resize=resize)
_limit_memory(0.1)
try:
    letterbox(thin, 16, resize=resize)
except MemoryError:
    print("too little")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is only limited on Linux")
def test_no_room_for_torch_is_a_shortage_of_memory() -> None:
    done = subprocess.run([sys.executable, "-c", RESAMPLES_WITHOUT_ROOM], capture_output=True, text=True, check=True)
    assert done.stdout == "too little\n"

"""What is asked of an object store: few requests, and no bytes that nobody wanted."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs

from artsim.schemas import schema_of
from artsim.sources import fetch
from artsim.store import Store
from artsim.tables import Table, claim, create_root
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.s3
NUM_ROWS = 64


@pytest.fixture
def calls(s3: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """The requests made from now on: their name, and how many bytes of a range were asked for."""
    s3fs.S3FileSystem.clear_instance_cache()
    found: list[tuple[str, int]] = []
    send = s3fs.S3FileSystem._call_s3

    async def count(self: Any, method: str, *arguments: Any, **options: Any) -> Any:
        first, _, last = options.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        found.append((method, int(last or 0) - int(first)))
        return await send(self, method, *arguments, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", count)
    yield found
    s3fs.S3FileSystem.clear_instance_cache()


def resized() -> pa.Table:
    columns: dict[str, Any] = {"id": [f"genre/{row:04d}" for row in range(NUM_ROWS)]}
    for size, num_bytes in ((1024, 600_000), (768, 300_000)):
        columns |= {f"image_{size}": [os.urandom(num_bytes) for _ in range(NUM_ROWS)]}
        columns |= {f"box_{size}": [[0, 0, size, size]] * NUM_ROWS}
    columns |= {name: np.arange(NUM_ROWS, dtype=np.uint64) for name in ("input_hash", "row_hash")}
    return pa.table({field.name: pa.array(columns[field.name], field.type) for field in schema_of("resized")})


def test_a_part_takes_two_requests_and_one_for_each_row_group(calls: list[tuple[str, int]]) -> None:
    root = f"s3://art/{uuid.uuid4().hex}"
    table = Table(root, "resized", create_root(root, 1))
    calls.clear()
    rows = resized()
    (name,) = table.write(rows)
    assert [method for method, _ in calls] == ["put_object"]
    data = Store(table.store.url).read(name)
    assert data is not None
    num_groups = pq.ParquetFile(pa.BufferReader(data)).num_row_groups
    assert num_groups > 2
    key = ["id", "input_hash"]
    image = ["id", "image_768", "box_768"]
    for columns, least, most in (
        (key, 0, 100_000),
        (image, 19_200_000, 20_000_000),
        (rows.schema.names, 0, 60_000_000),
    ):
        s3fs.S3FileSystem.clear_instance_cache()
        calls.clear()
        assert table.read([name], columns).equals(rows.select(columns))
        assert len(calls) <= 2 + num_groups
        assert least <= sum(size for _, size in calls) <= most


def test_a_picture_takes_one_request(calls: list[tuple[str, int]]) -> None:
    store = Store(f"s3://art/{uuid.uuid4().hex}")
    for row in range(20):
        store.write(f"{row}.jpg", bytes([row]) * 1000)
    calls.clear()
    images, errors = fetch([f"{store.url}/{row}.jpg" for row in range(20)], max_bytes=10_000)
    assert images == [bytes([row]) * 1000 for row in range(20)]
    assert errors == [None] * 20
    assert len(calls) == 20


def test_status_needs_the_root_and_no_ray(s3: None, tmp_path: Path) -> None:
    root = f"s3://art/{uuid.uuid4().hex}"
    table = Table(root, "resized", create_root(root, 1))
    claim(table, {}, {}, overwrite=False)
    table.write(resized())
    code = (
        "import sys; from artsim.cli import app\n"
        f"try: app(['status', '{root}', '--json'])\n"
        "finally: print('ray' in sys.modules, file=sys.stderr)"
    )
    environment = os.environ | {"RAY_ADDRESS": "127.0.0.1:1", "PYTHONPATH": str(REPOSITORY)}  # where nobody answers
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(told.stdout)["tables"]["resized"]["done"] == NUM_ROWS
    assert told.stderr.strip() == "False"

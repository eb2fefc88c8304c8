"""How an export lies at its destination: folders with a CSV, Parquet shards, or WebDataset shards."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from artsim.store import Store

IMAGES = ("image", "original")
"""Columns of samples that hold JPEG bytes; the others are metadata."""
SHARD_BYTES = 500_000_000
"""A shard is closed when it is as large."""
NUM_THREADS = 16
_ROWS_PER_GROUP = 64


class Writer(Protocol):
    """Takes samples as they come, holding no more than it was handed, and ends with close()."""

    def write(self, samples: pa.Table) -> None: ...

    def close(self) -> None: ...


def image_names(sample: dict[str, Any]) -> dict[str, str]:
    """Where the pictures of a sample lie in an export as folders, by column."""
    return {
        "image": f"generated/{sample['level']}-{sample['variant']}/{sample['id']}.jpg",
        "original": f"originals/{sample['id']}.jpg",
    }


_FILE_TITLES = {"image": "file_name", "original": "original_file_name"}
"""Columns of metadata.csv; Hugging Face looks for file_name."""


class Folders:
    """`generated/<level>-<variant>/<id>.jpg`, `originals/<id>.jpg`, and all else in metadata.csv."""

    def __init__(self, store: Store) -> None:
        self._store, self._pool = store, ThreadPoolExecutor(NUM_THREADS)
        self._file = io.TextIOWrapper(store.stream("metadata.csv"), encoding="utf-8", newline="")
        self._csv: Any = None

    def write(self, samples: pa.Table) -> None:
        rows = samples.drop_columns([name for name in IMAGES if name in samples.column_names]).to_pylist()
        files = {}
        for column, title in _FILE_TITLES.items():
            if column in samples.column_names:
                for row, data in zip(rows, samples[column].to_pylist(), strict=True):
                    row[title] = image_names(row)[column] if data is not None else None
                    files[row[title]] = data  # an original stands beside each of its versions, and is one file
        files.pop(None, None)
        list(self._pool.map(self._store.write, files, files.values()))
        if self._csv is None:
            self._csv = csv.DictWriter(self._file, list(rows[0]), lineterminator="\n")
            self._csv.writeheader()
        self._csv.writerows({name: _text(value) for name, value in row.items()} for row in rows)

    def close(self) -> None:
        self._pool.shutdown()
        self._file.close()


def _text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value


class ParquetShards:
    """`data/00000.parquet` and so on: the metadata as columns, the pictures as bytes in `image` and `original`."""

    def __init__(self, store: Store) -> None:
        self._store, self._count = store, 0
        self._stream: Any = None
        self._writer: Any = None

    def write(self, samples: pa.Table) -> None:
        if self._writer is None:
            self._stream = self._store.stream(f"data/{self._count:05d}.parquet")
            self._writer = pq.ParquetWriter(self._stream, samples.schema, compression="zstd")
            self._count += 1
        self._writer.write_table(samples, row_group_size=_ROWS_PER_GROUP)
        if self._stream.tell() >= SHARD_BYTES:
            self.close()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._stream.close()
        self._writer = None


class WebDataset:
    """`00000.tar` and so on: of each sample N.jpg, N.original.jpg, N.txt (the prompt) and N.json (all metadata)."""

    def __init__(self, store: Store) -> None:
        self._store, self._shards, self._samples = store, 0, 0
        self._stream: Any = None
        self._tar: Any = None

    def write(self, samples: pa.Table) -> None:
        columns = [name for name in IMAGES if name in samples.column_names]
        for at, row in enumerate(samples.drop_columns(columns).to_pylist()):
            if self._tar is None:
                self._stream = self._store.stream(f"{self._shards:05d}.tar")
                self._tar = tarfile.TarFile(fileobj=self._stream, mode="w", format=tarfile.PAX_FORMAT)
                self._shards += 1
            pictures = {column: samples[column][at].as_py() for column in columns}
            for name, data in _members(row, pictures).items():
                put_member(self._tar, f"{self._samples:09d}.{name}", data)
            self._samples += 1
            if self._tar.offset >= SHARD_BYTES:
                self.close()

    def close(self) -> None:
        if self._tar is not None:
            self._tar.close()
            self._stream.close()
        self._tar = None


def _members(row: dict[str, Any], pictures: dict[str, bytes | None]) -> dict[str, bytes]:
    names = {"image": "jpg", "original": "original.jpg"}
    found = {names[column]: data for column, data in pictures.items() if data is not None}
    return found | {"txt": (row["prompt"] or "").encode(), "json": json.dumps(row, ensure_ascii=False).encode()}


def put_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file to a tar archive; the same data give the same bytes, whenever it is."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


FORMATS: dict[str, type[Folders] | type[ParquetShards] | type[WebDataset]] = {
    "folders": Folders,
    "parquet": ParquetShards,
    "webdataset": WebDataset,
}

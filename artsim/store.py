"""Files below one folder or URL: whole writes, lists and deletes, on local disks and object stores alike."""

from __future__ import annotations

import io
import json
import os
import posixpath
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.fs as pafs
from fsspec.implementations.local import LocalFileSystem

from artsim.clients import is_absent, open_url, telling

NUM_CONNECTIONS = 16
"""Files of an object store that are opened at a time."""


@dataclass(frozen=True)
class Store:
    """A folder on a local disk, or below any URL that fsspec opens.

    Raises StoreError, which names the setting that the folder comes from, where files cannot be had or put in place.
    """

    url: str
    setting: str = "root"

    def _at(self, name: str) -> tuple[Any, str]:
        fs, path = open_url(self.url)
        return fs, posixpath.join(path, name) if name else path

    def _telling(self, name: str, verb: str) -> AbstractContextManager[None]:
        return telling(self.setting, posixpath.join(self.url, name), verb)

    def read(self, name: str) -> bytes | None:
        """The contents of a file, or None where there is none."""
        fs, path = self._at(name)
        with self._telling(name, "read"):
            try:
                return fs.cat_file(path)
            except (FileNotFoundError, NotADirectoryError) as error:
                if not is_absent(error):
                    raise
                return None

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A JSON file, or None where there is none."""
        data = self.read(name)
        return None if data is None else json.loads(data)

    def write(self, name: str, data: bytes) -> None:
        """Put a file in place whole or not at all: a rename on local disks, one put on object stores."""
        with self.put(name) as file:
            file.write(data)

    @contextmanager
    def put(self, name: str) -> Iterator[BinaryIO]:
        """A file to be written that appears whole at the end, or not at all where that raises.

        On object stores memory holds it until one put sends it; see create.
        """
        fs, path = self._at(name)
        if isinstance(fs, LocalFileSystem):
            with self._telling(name, "written"), _create_local(path) as file:
                yield file
            return
        buffer = io.BytesIO()
        yield buffer
        with self._telling(name, "written"):
            fs.pipe_file(path, buffer.getvalue())

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """The same for a file that is too large for memory: object stores get it piece by piece."""
        fs, path = self._at(name)
        with self._telling(name, "written"):
            if isinstance(fs, LocalFileSystem):
                with _create_local(path) as local:
                    yield local
                return
            file = fs.open(path, "wb", autocommit=False)
            try:
                yield file
            except BaseException:
                file.close()
                file.discard()
                raise
            file.close()
            file.commit()

    def stream(self, name: str, mode: str = "wb") -> Any:
        """A file to write ("wb") or read ("rb") what is too large to hold; a writer may leave it half-written."""
        fs, path = self._at(name)
        if mode == "wb" and isinstance(fs, LocalFileSystem):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        return fs.open(path, mode)

    def fetch(self, name: str, folder: Path) -> Path:
        """A local path of a file: its own on a local disk, else that of a copy in a folder; there may be no file."""
        fs, path = self._at(name)
        if isinstance(fs, LocalFileSystem):
            return Path(path)
        with self._telling(name, "read"), suppress(FileNotFoundError):
            fs.get_file(path, str(folder / name))
        return folder / name

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, in the place of the file that has it."""
        fs, path = self._at(old)
        if isinstance(fs, LocalFileSystem):
            os.replace(path, self._at(new)[1])
        else:
            fs.mv(path, self._at(new)[1])

    def write_json(self, name: str, value: dict[str, Any]) -> None:
        """Write a JSON file whole or not at all."""
        self.write(name, json.dumps(value, indent=1, ensure_ascii=False).encode())

    def list(self, name: str = "") -> list[str]:
        """Names of the files and folders right below a folder, sorted; empty where there is none."""
        fs, path = self._at(name)
        with self._telling(name, "listed"):
            try:
                fs.invalidate_cache(path)
                found = fs.ls(path, detail=False)
            except (FileNotFoundError, NotADirectoryError) as error:
                if not is_absent(error):
                    raise
                return []
        return sorted(posixpath.basename(entry.rstrip("/")) for entry in found)

    def times(self, name: str = "") -> dict[str, float]:
        """Names right below a folder and when each appeared, epoch s (0 where that is not told), from one listing."""
        fs, path = self._at(name)
        try:
            if isinstance(fs, LocalFileSystem):
                with os.scandir(path) as entries:
                    return {entry.name: _mtime(entry) for entry in entries}
            fs.invalidate_cache(path)
            found = fs.ls(path, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return {posixpath.basename(entry["name"].rstrip("/")): _appeared(entry) for entry in found}

    def find(self) -> set[str]:
        """Names of all files below, with the folders that they lie in; empty where there is none."""
        fs, path = self._at("")
        with self._telling("", "listed"):
            return {name.removeprefix(path).lstrip("/") for name in fs.find(path)}

    def num_bytes(self) -> int:
        """Size of all files below, in bytes."""
        fs, path = self._at("")
        with self._telling("", "listed"):
            return int(fs.du(path))

    def delete(self, names: Iterable[str]) -> None:
        """Delete files and whole folders; those that are gone already do not matter."""
        for name in names:
            fs, path = self._at(name)
            with self._telling(name, "deleted"), suppress(FileNotFoundError):
                fs.rm(path, recursive=True)

    def arrow(self) -> tuple[str, pafs.FileSystem]:
        """The folder as Arrow's file systems take it: a path, and the file system that the rest of this class uses.

        Arrow's own client of S3 makes a folder by an empty object of its name, which not every server takes.
        """
        fs, path = self._at("")
        return path, _arrow(fs)

    def read_parquet(
        self, names: Sequence[str], columns: Sequence[str] | None = None, filter: pc.Expression | None = None
    ) -> pa.Table:
        """Some Parquet files of one schema, in their order: all of their rows and columns, or some.

        Of an object the footer and the ranges that hold the wanted columns are read, and nothing ahead of them.
        """
        with self._telling(names[0], "read"):
            return self._dataset(names).to_table(columns=None if columns is None else list(columns), filter=filter)

    def _dataset(self, names: Sequence[str]) -> pads.Dataset:
        fs, path = self._at("")
        paths = [posixpath.join(path, name) for name in names]
        if isinstance(fs, LocalFileSystem):
            return pads.dataset(paths, filesystem=fs, format="parquet")
        parquet = pads.ParquetFileFormat()
        with ThreadPoolExecutor(NUM_CONNECTIONS) as pool:  # each asks for its size
            files = list(pool.map(lambda path: fs.open(path, "rb", cache_type="none"), paths))
        fragments = [parquet.make_fragment(pa.PythonFile(file, "r")) for file in files]
        return pads.FileSystemDataset(fragments, schema=fragments[0].physical_schema, format=parquet)


_TIMES = ("LastModified", "last_modified", "mtime", "updated", "created")
"""What fsspec's file systems call the time of a file: S3, Azure, local and others, Google, memory."""


def _mtime(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:  # a temporary file that has its name by now
        return 0.0


def _appeared(entry: dict[str, Any]) -> float:
    value = next((entry[name] for name in _TIMES if entry.get(name) is not None), 0.0)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.timestamp() if isinstance(value, datetime) else float(value)


class _Handler(pafs.FSSpecHandler):
    """Arrow's adapter, which asks first whether a file is there and then takes any trouble for a no."""

    def open_input_file(self, path: str) -> pa.PythonFile:
        return pa.PythonFile(self.fs.open(path, mode="rb"), mode="r")


def _arrow(fs: Any) -> pafs.FileSystem:
    return pafs.LocalFileSystem() if isinstance(fs, LocalFileSystem) else pafs.PyFileSystem(_Handler(fs))


@contextmanager
def _create_local(path: str) -> Iterator[BinaryIO]:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = posixpath.join(posixpath.dirname(path), f".tmp-{uuid.uuid4().hex}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(OSError):  # a full disk needs the room
            os.remove(temporary)

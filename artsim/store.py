"""Files below one folder or URL: whole writes, lists and deletes, on local disks and object stores alike."""

from __future__ import annotations

import json
import os
import posixpath
import uuid
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.fs as pafs
from fsspec.implementations.local import LocalFileSystem

from artsim.clients import is_absent, open_url, telling


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
        fs, path = self._at(name)
        with self._telling(name, "written"):
            if isinstance(fs, LocalFileSystem):
                _write_local(path, data)
            else:
                fs.pipe_file(path, data)

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
        """Some Parquet files of one schema, in their order: all of their rows and columns, or some."""
        fs, path = self._at("")
        paths = [posixpath.join(path, name) for name in names]
        with self._telling(names[0], "read"):
            files = pads.dataset(paths, filesystem=_arrow(fs), format="parquet")
            return files.to_table(columns=None if columns is None else list(columns), filter=filter)


class _Handler(pafs.FSSpecHandler):
    """Arrow's adapter, which asks first whether a file is there and then takes any trouble for a no."""

    def open_input_file(self, path: str) -> pa.PythonFile:
        return pa.PythonFile(self.fs.open(path, mode="rb"), mode="r")


def _arrow(fs: Any) -> pafs.FileSystem:
    return pafs.LocalFileSystem() if isinstance(fs, LocalFileSystem) else pafs.PyFileSystem(_Handler(fs))


def _write_local(path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = posixpath.join(posixpath.dirname(path), f".tmp-{uuid.uuid4().hex}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):  # a full disk needs the room
            os.unlink(temporary)
        raise

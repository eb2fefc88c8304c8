"""Files as found: what lies below a folder or URL, and their contents, whole or a range of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from artsim import UserError
from artsim.clients import error_code, is_absent, open_url, telling

RAW_BYTE = re.compile("[\udc80-\udcff]")  # PEP 383: a byte that was not UTF-8
_MEMBER = re.compile(r"(.+\.tar)#(\d+),(\d+)", re.DOTALL)


class SourceError(UserError, ValueError):
    """A source that cannot be read; the message says what was given, what is wrong and what to do."""


class File(NamedTuple):
    """A file below a source, and what tells that it has changed."""

    path: str  # below the source, as spelled there ("": the source is this file); surrogates: bytes that are not UTF-8
    uri: str
    version: str


class _Place(NamedTuple):
    """Where bytes lie: a file, or `size` bytes of one from `start` on."""

    fs: AbstractFileSystem
    path: str
    start: int = 0
    size: int | None = None


def member_uri(archive: str, start: int, size: int) -> str:
    """What names a part of a .tar file: `size` bytes from byte `start` on."""
    return f"{archive}#{start},{size}"


def fetch(
    uris: Sequence[str], max_bytes: int, setting: str = "source.uri", num_threads: int = 8
) -> tuple[list[bytes | None], list[str | None]]:
    """Read files or members of archives, one request each, several at a time: their contents, or why there are none.

    Errors are `missing_file: ...`, `too_large: ...` (more than `max_bytes`), `truncated: ...` (the archive ends before)
    or `empty: ...`, as in schemas.REASONS; whatever else goes wrong is no property of the file: StoreError, which
    names the setting that led to it, and MemoryError, where there is no room to read.
    """
    # Filesystem objects are cached per thread, and the pool's threads are new: so they are looked up here.
    places = [_place(uri) for uri in uris]

    def read(uri: str, place: _Place) -> tuple[bytes | None, str | None]:
        with telling(setting, uri, "read"):
            return _read(place, max_bytes)

    with ThreadPoolExecutor(num_threads) as pool:
        try:
            results = list(pool.map(read, uris, places))
        except RuntimeError as error:
            if "can't start new thread" in str(error):  # there is no room for its stack
                raise MemoryError(f"{error}: {num_threads} read at a time") from error
            raise
    return [data for data, _ in results], [error for _, error in results]


def read_file(uri: str) -> bytes:
    """All of a file that the settings name; SourceError where there is none."""
    with telling("pairs.uri", uri, "read"):
        try:
            return contents(uri)
        except (FileNotFoundError, ValueError, ImportError) as error:
            raise SourceError(f"{uri} cannot be read ({error}): check the spelling") from error


def contents(uri: str) -> bytes:
    """All of a file that was listed."""
    return _contents(_place(uri), None)


def open_file(uri: str, **options: Any) -> Any:
    """A file to seek and read in; `options` (block_size, cache_type) say how a remote one is fetched."""
    fs, path, *_ = _place(uri)
    return open(path, "rb") if isinstance(fs, LocalFileSystem) else fs.open(path, "rb", **options)


def versions_of(uris: Sequence[str], num_threads: int = 16) -> list[str]:
    """What tells that files anywhere have changed, one request each; "missing" where there is no such file."""
    places = [_place(uri) for uri in uris]
    with ThreadPoolExecutor(num_threads) as pool:
        return list(pool.map(_version_of, places))


def _version_of(place: _Place) -> str:
    try:
        return _version(place.fs.info(place.path))
    except (FileNotFoundError, NotADirectoryError):
        return "missing"


def list_files(uri: str) -> Iterator[File]:
    """Every file below a folder or URL; the file itself, with an empty path, where it is one."""
    if not uri.strip():
        raise SourceError("source.uri is empty: give the folder that holds Genre/artist_title.jpg, or an fsspec URL")
    try:
        fs, root = open_url(uri)
    except ImportError as error:
        raise SourceError(
            f"source.uri = {uri}: the package that reads it is not installed ({error}): hf:// needs huggingface_hub, "
            "gs:// gcsfs, abfs:// adlfs"
        ) from error
    except ValueError as error:  # a protocol that fsspec does not know
        raise SourceError(f"source.uri = {uri}: {error}") from error
    with telling("source.uri", uri, "listed"):
        yield from _find_local(uri, root) if isinstance(fs, LocalFileSystem) else _find_remote(uri, fs, root)


def _find_local(uri: str, root: str) -> Iterator[File]:
    # fsspec's own listing leaves out linked folders and those that may not be read, without a word.
    if os.path.isfile(root):
        return iter([_local_file(root, root)._replace(path="")])
    if not os.path.isdir(root):
        raise SourceError(f"source.uri = {uri}: there is no such folder; check the spelling and that it is mounted")
    return (_local_file(root, path) for path in _walk(root))


def _walk(root: str) -> Iterator[str]:
    """Paths of all files below a folder; a folder that is linked into itself is entered once."""

    def fail(error: OSError) -> None:
        raise error

    seen = set()
    for folder, folders, names in os.walk(root, onerror=fail, followlinks=True):
        facts = os.stat(folder)
        if (facts.st_dev, facts.st_ino) in seen:
            folders.clear()
            continue
        seen.add((facts.st_dev, facts.st_ino))
        yield from (os.path.join(folder, name) for name in names)


def _local_file(root: str, path: str) -> File:
    try:
        facts = os.stat(path)
        version = f"{facts.st_size}-{facts.st_mtime_ns}"
    except FileNotFoundError:
        version = "missing"  # a link that leads nowhere: it has a row, which will say missing_file
    # A table holds UTF-8 alone: only names that are not UTF-8 become URLs.
    uri = f"file://{quote_from_bytes(os.fsencode(path))}" if RAW_BYTE.search(path) else path
    return File(os.path.relpath(path, root), uri, version)


def _find_remote(uri: str, fs: AbstractFileSystem, root: str) -> Iterator[File]:
    try:
        fs.invalidate_cache()
        found = fs.find(root, detail=True)
    except FileNotFoundError as error:
        raise SourceError(f"source.uri = {uri}: there is no such bucket or folder; check the spelling") from error
    except ValueError as error:
        raise SourceError(f"source.uri = {uri} cannot be listed ({error}): check the spelling") from error
    if not found:
        raise SourceError(f"source.uri = {uri}: nothing lies below it; check the spelling")
    if set(found) == {root}:
        return iter([File("", fs.unstrip_protocol(root), _version(found[root]))])
    prefix = root.rstrip("/") + "/"
    return (
        File(path.removeprefix(prefix), fs.unstrip_protocol(path), _version(facts)) for path, facts in found.items()
    )


def _version(facts: dict[str, Any]) -> str:
    """Size and what else a listing tells about a file's contents: its checksum, or when it was written."""
    names = ("ETag", "etag", "blob_id", "mtime", "LastModified", "last_modified", "updated", "created")
    changed = next((facts[name] for name in names if facts.get(name) is not None), "")
    return f"{facts['size']}-{str(changed).strip(chr(34))}"


def _place(uri: str) -> _Place:
    if match := _MEMBER.fullmatch(uri):
        return _place(match[1])._replace(start=int(match[2]), size=int(match[3]))
    if uri.startswith("file://"):
        return _Place(LocalFileSystem(), os.fsdecode(unquote_to_bytes(uri.removeprefix("file://"))))
    return _Place(*open_url(uri))


def _read(place: _Place, max_bytes: int) -> tuple[bytes | None, str | None]:
    if place.size is not None and place.size > max_bytes:
        return None, f"too_large: more than the {max_bytes} bytes allowed"
    if place.size == 0:
        return None, "empty: there is no picture in the source"
    try:
        data = _contents(place, max_bytes + 1 if place.size is None else place.size)
    except (FileNotFoundError, NotADirectoryError) as error:
        if not is_absent(error):
            raise
        return None, "missing_file: it was listed, and is not there"
    if len(data) > max_bytes:
        return None, f"too_large: more than the {max_bytes} bytes allowed"
    if place.size is not None and len(data) < place.size:
        return None, "truncated: the archive ends before the picture does"
    return (data, None) if data else (None, "empty: the file has no bytes")


def _contents(place: _Place, limit: int | None) -> bytes:
    """The first `limit` bytes of a place, or all of them: one request, without asking for the size first."""
    fs, path, start, _ = place
    if isinstance(fs, LocalFileSystem):
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(limit)
    try:
        return fs.cat_file(path, start=start, end=None if limit is None else start + limit)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error_code(error) not in ("", "InvalidRange", "416") or fs.info(path)["size"] > start:
            raise
        return b""  # an object store has no range of bytes behind the end of an object

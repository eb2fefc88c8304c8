"""What WikiArt looks like in the wild -> rows of `artworks`: folders, spellings, classes.csv, file contents."""

from __future__ import annotations

import csv
import io
import itertools
import os
import posixpath
import re
import unicodedata
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

import ftfy
import pyarrow as pa
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from artsim import UserError
from artsim.clients import error_code, is_absent, open_url, telling
from artsim.config import SourceConfig

IMAGE_EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".tif", ".tiff", ".gif", ".bmp"),
    *(".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".avif"),
)
SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "uri", "genre", "artist", "title", "subset", "version")])

_CLASSES = "classes.csv"
_RAW_BYTE = re.compile("[\udc80-\udcff]")  # PEP 383: a byte that was not UTF-8
_DOS = re.compile("[\u2500-\u259f]|Γ[öòû]")  # box drawing, or box drawing read as cp437 once more
_LOWERED = re.compile("[ãäå][\x80-\xbf]|â[\xa0-\xbf](?![\x80-\xbf])")  # UTF-8 read as Latin-1, then Ã..Å lower-cased
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


class SourceError(UserError, ValueError):
    """A source that cannot be read; the message says what was given, what is wrong and what to do."""


class File(NamedTuple):
    """A file below a source, and what tells that it has changed."""

    path: str  # below the source, as spelled there; surrogates stand for bytes that are not UTF-8
    uri: str
    version: str


class _Metadata(NamedTuple):
    artist: str | None
    subset: str | None


def list_source(config: SourceConfig) -> pa.Table:
    """The paintings below `config.uri`: id, uri, genre, artist, title, subset, version, sorted by id. Reads no image.

    `Genre/artist_title.jpg` gives genre (the first folder; "" for a file that is in none), artist and title; the
    artist of a name without "_" is None. `version` changes when the file does. From Kaggle's classes.csv, where it is
    there, come subset and artist. Hidden files and files that are not images are left out.
    Raises SourceError where there is no such folder, or no image in it.
    """
    found = list(list_files(config.uri))
    files = sorted(file for file in found if _is_image(file.path))
    if not files:
        raise SourceError(
            f"source.uri = {config.uri}: none of its {len(found)} files is an image; "
            "give the folder that holds Genre/artist_title.jpg"
        )
    metadata = _read_classes(next((file.uri for file in found if file.path == _CLASSES), None))
    names = [repair_name(file.path) for file in files]
    rows = sorted(_row(*row, metadata) for row in zip(_unique_ids(names), names, files, strict=True))
    columns = list(zip(*rows[: config.limit or None], strict=True))
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=SCHEMA)


def fetch(
    uris: Sequence[str], max_bytes: int, setting: str = "source.uri", num_threads: int = 8
) -> tuple[list[bytes | None], list[str | None]]:
    """Read files, several at a time: their contents, and for each None or why it has none.

    Errors are `missing_file: ...`, `too_large: ...` (more than `max_bytes`) or `empty: ...`, as in schemas.REASONS;
    whatever else goes wrong is no property of the file: StoreError, which names the setting that led to it.
    """
    # Filesystem objects are cached per thread, and the pool's threads are new: so they are looked up here.
    places = [_place(uri) for uri in uris]

    def read(uri: str, place: tuple[AbstractFileSystem, str]) -> tuple[bytes | None, str | None]:
        with telling(setting, uri, "read"):
            return _read(place, max_bytes)

    with ThreadPoolExecutor(num_threads) as pool:
        results = list(pool.map(read, uris, places))
    return [data for data, _ in results], [error for _, error in results]


def repair_name(name: str) -> str:
    """A path as it was meant: mis-encodings undone, NFC, no control characters, no blanks around "/" and "_".

    WikiArt's names went through up to three wrong readings: UTF-8 read as Latin-1 and then lower-cased (í: Ã\\xad:
    ã\\xad), that as cp866 (├г┬н), that as cp437 (Γö£╨│Γö¼╨╜).
    """
    return "".join(_repair(part) for part in re.split("([/_])", name))


def _repair(text: str) -> str:
    if not text.isascii():
        text = _RAW_BYTE.sub(lambda match: bytes([ord(match[0]) - 0xDC00]).decode("sloppy-windows-1252"), text)
        before = ""
        while text != before:  # each wrong reading undone makes it shorter
            before, text = text, _undo_lowered(_undo_dos(ftfy.fix_encoding(text)))
        text = unicodedata.normalize("NFC", text)
    return _CONTROL.sub("", " ".join(text.split()))


def _undo_dos(text: str) -> str:
    """Undo UTF-8 read in a code page of DOS; cp866 is one that ftfy does not know."""
    if _DOS.search(text):
        for encoding in ("cp437", "cp866"):
            try:
                return text.encode(encoding).decode("utf-8")
            except UnicodeError:
                continue
    return text


def _undo_lowered(text: str) -> str:
    return _LOWERED.sub(lambda match: bytes([ord(match[0][0]) - 0x20, ord(match[0][1])]).decode("utf-8"), text)


def _is_image(path: str) -> bool:
    hidden = any(part.startswith(".") for part in path.split("/"))
    return not hidden and posixpath.splitext(path)[1].lower() in IMAGE_EXTENSIONS


def _unique_ids(names: Sequence[str]) -> list[str]:
    """Paths without their extension; the second of one id keeps it, and a third is numbered."""
    ids: dict[str, None] = {}
    for name in names:
        numbered = (f"{name}~{number}" for number in itertools.count(2))
        candidates = itertools.chain((posixpath.splitext(name)[0], name), numbered)
        ids[next(candidate for candidate in candidates if candidate not in ids)] = None
    return list(ids)


def _row(row_id: str, name: str, file: File, metadata: dict[str, _Metadata]) -> tuple[str | None, ...]:
    stem = posixpath.splitext(name)[0]
    folder, _, _ = stem.rpartition("/")
    artist, separator, title = posixpath.basename(stem).partition("_")
    if not separator:
        artist, title = "", artist
    known = metadata.get(stem, _Metadata(None, None))
    return row_id, file.uri, folder.split("/")[0], known.artist or artist or None, title, known.subset, file.version


def _read_classes(uri: str | None) -> dict[str, _Metadata]:
    """Kaggle's classes.csv by repaired path without extension; empty where there is none.

    Its artists are spelled as in file names (claude-monet), so that rows that it lacks do not get a second spelling.
    """
    if uri is None:
        return {}
    rows = csv.DictReader(io.StringIO(_contents(*_place(uri), None).decode("utf-8-sig", "surrogateescape"), newline=""))
    if missing := {"filename", "artist", "subset"} - set(rows.fieldnames or ()):
        raise SourceError(f"{uri} has no column {', '.join(sorted(missing))}: give Kaggle's file, or take it away")
    metadata: dict[str, _Metadata] = {}
    for row in rows:
        artist = "-".join(repair_name(row["artist"] or "").lower().split())
        subset = row["subset"] if row["subset"] in ("train", "test") else None
        metadata.setdefault(
            posixpath.splitext(repair_name(row["filename"] or ""))[0], _Metadata(artist or None, subset)
        )
    return metadata


def list_files(uri: str) -> Iterator[File]:
    """Every file below a folder or URL."""
    if not uri.strip():
        raise SourceError("source.uri is empty: give the folder that holds Genre/artist_title.jpg, or an fsspec URL")
    try:
        fs, root = open_url(uri)
    except (ValueError, ImportError) as error:  # a protocol that fsspec does not know or lacks a package for
        raise SourceError(f"source.uri = {uri}: {error}") from error
    with telling("source.uri", uri, "listed"):
        yield from _find_local(uri, root) if isinstance(fs, LocalFileSystem) else _find_remote(uri, fs, root)


def _find_local(uri: str, root: str) -> Iterator[File]:
    # fsspec's own listing leaves out linked folders and those that may not be read, without a word.
    if os.path.isfile(root):
        raise SourceError(f"source.uri = {uri} is a file: give the folder that holds Genre/artist_title.jpg")
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
    uri = f"file://{quote_from_bytes(os.fsencode(path))}" if _RAW_BYTE.search(path) else path
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
        raise SourceError(f"source.uri = {uri} is a file: give the folder that holds Genre/artist_title.jpg")
    prefix = root.rstrip("/") + "/"
    return (
        File(path.removeprefix(prefix), fs.unstrip_protocol(path), _version(facts)) for path, facts in found.items()
    )


def _version(facts: dict[str, Any]) -> str:
    """Size and what else a listing tells about a file's contents: its checksum, or when it was written."""
    names = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")
    changed = next((facts[name] for name in names if facts.get(name) is not None), "")
    return f"{facts['size']}-{str(changed).strip(chr(34))}"


def _place(uri: str) -> tuple[AbstractFileSystem, str]:
    if uri.startswith("file://"):
        return LocalFileSystem(), os.fsdecode(unquote_to_bytes(uri.removeprefix("file://")))
    fs, path = open_url(uri)
    return fs, path


def read_file(uri: str) -> bytes:
    """All of a file that the settings name; SourceError where there is none."""
    with telling("pairs.uri", uri, "read"):
        try:
            return _contents(*_place(uri), None)
        except (FileNotFoundError, ValueError, ImportError) as error:
            raise SourceError(f"{uri} cannot be read ({error}): check the spelling") from error


def _read(place: tuple[AbstractFileSystem, str], max_bytes: int) -> tuple[bytes | None, str | None]:
    try:
        data = _contents(*place, max_bytes + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        if not is_absent(error):
            raise
        return None, "missing_file: it was listed, and is not there"
    if len(data) > max_bytes:
        return None, f"too_large: more than the {max_bytes} bytes allowed"
    return (data, None) if data else (None, "empty: the file has no bytes")


def _contents(fs: AbstractFileSystem, path: str, limit: int | None) -> bytes:
    """The first `limit` bytes of a file, or all of them: one request, without asking for the size first."""
    if isinstance(fs, LocalFileSystem):
        with open(path, "rb") as file:
            return file.read(limit)
    try:
        return fs.cat_file(path, start=0, end=limit)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error_code(error) not in ("", "InvalidRange", "416") or fs.info(path)["size"]:
            raise
        return b""  # an object store has no range of bytes in an empty object

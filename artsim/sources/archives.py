"""Uncompressed .tar files as WebDataset has them, KEY.jpg beside KEY.json, KEY.txt or KEY.cls -> pictures."""

from __future__ import annotations

import json
import posixpath
import tarfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from artsim.config import Column
from artsim.sources.files import File, SourceError, member_uri, open_file
from artsim.sources.names import Picture, facts_of, is_hidden, is_image, path_in_folders

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")
_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_BLOCK_BYTES = 16_384  # read at a time: a header and what is said of a picture, and hardly a picture
_MAX_TEXT_BYTES = 1_000_000
_TEXTS = (".json", ".txt", ".cls")


def pictures_in_archives(
    files: Sequence[File], columns: Mapping[Column, str], num_threads: int = 16
) -> tuple[list[Picture], set[str]]:
    """The pictures of .tar files, and the names of all that is said of them. Reads headers and texts, no pictures.

    A picture and its texts share their name up to the last dot. Keys of a JSON object are columns, and so are `txt`
    and `cls`; without a genre or a folder, `cls` is the genre.
    Raises SourceError for a file that is compressed, cut short or no archive.
    """
    with ThreadPoolExecutor(num_threads) as pool:
        found = list(pool.map(lambda file: _read_archive(file, columns), files))
    return [picture for pictures, _ in found for picture in pictures], set().union(*(names for _, names in found))


def is_archive(file: File) -> bool:
    """Whether a file is an archive by its name, compressed or not, and not hidden."""
    return (file.path or file.uri).lower().endswith((".tar", *COMPRESSED)) and not is_hidden(file.path)


def _compressed(uri: str) -> SourceError:
    return SourceError(
        f"{uri} is compressed, so that its pictures cannot be read one by one: uncompress it to a .tar file"
    )


def _read_archive(file: File, columns: Mapping[Column, str]) -> tuple[list[Picture], set[str]]:
    pictures: list[tarfile.TarInfo] = []
    texts: dict[str, dict[str, str | None]] = defaultdict(dict)
    if file.uri.lower().endswith(COMPRESSED):
        raise _compressed(file.uri)
    with open_file(file.uri, block_size=_BLOCK_BYTES, cache_type="readahead") as opened:
        try:
            with tarfile.open(fileobj=opened, mode="r:") as archive:
                for member in archive:
                    stem, extension = posixpath.splitext(_path(member))
                    if is_image(_path(member)) and member.isreg() and not member.issparse():
                        pictures.append(member)
                    elif extension.lower() in _TEXTS and member.isreg() and member.size <= _MAX_TEXT_BYTES:
                        texts[stem] |= _said(extension.lower(), _bytes(archive, member))
                end = archive.offset
        except tarfile.TarError as error:
            raise _unreadable(file.uri, opened, error) from error
        # tarfile takes a header that is cut off or no header for the end; the end is a block of zeros.
        opened.seek(end)
        if opened.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise _unreadable(file.uri, opened, f"its last {tarfile.BLOCKSIZE} bytes are missing")
    return [_picture(file, member, texts, columns) for member in pictures], {
        name for said in texts.values() for name in said
    }


def _path(member: tarfile.TarInfo) -> str:
    return posixpath.normpath(member.name)


def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    opened = archive.extractfile(member)
    assert opened is not None
    return opened.read()


def _said(extension: str, data: bytes) -> dict[str, str | None]:
    text = data.decode("utf-8", "replace").strip()
    if extension != ".json":
        return {extension[1:]: text}
    try:
        value: Any = json.loads(text)
    except ValueError:
        return {}  # what cannot be read says nothing; the picture is there all the same
    if not isinstance(value, dict):
        return {}
    firsts = {name: (item[0] if item else None) if isinstance(item, list) else item for name, item in value.items()}
    return {name: str(item) for name, item in firsts.items() if isinstance(item, str | int | float)}


def _unreadable(uri: str, opened: Any, reason: object) -> SourceError:
    opened.seek(0)
    if opened.read(8).startswith(_MAGIC):
        return _compressed(uri)
    return SourceError(f"{uri} is cut short or no archive ({reason}): copy it again, or take it away")


def _picture(
    file: File, member: tarfile.TarInfo, texts: Mapping[str, dict[str, str | None]], columns: Mapping[Column, str]
) -> Picture:
    path = _path(member)
    said = texts.get(posixpath.splitext(path)[0], {})
    facts = facts_of(said, columns)
    if not facts["genre"] and "/" not in path:
        facts["genre"] = said.get("cls")
    where = member_uri(file.uri, member.offset_data, member.size)
    version = f"{file.version}@{member.offset_data},{member.size}"
    return Picture(path_in_folders(path, facts), where, version, facts)

"""What a picture of a source is called: spellings repaired, ids that are unique, genre, artist and title."""

from __future__ import annotations

import itertools
import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import ftfy
import pyarrow as pa

from artsim.config import Column
from artsim.sources.files import RAW_BYTE

IMAGE_EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".tif", ".tiff", ".gif", ".bmp"),
    *(".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".avif"),
)
SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "uri", "genre", "artist", "title", "subset", "version")])

_DOS = re.compile("[\u2500-\u259f]|Γ[öòû]")  # box drawing, or box drawing read as cp437 once more
_LOWERED = re.compile("[ãäå][\x80-\xbf]|â[\xa0-\xbf](?![\x80-\xbf])")  # UTF-8 read as Latin-1, then Ã..Å lower-cased
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_LIST = re.compile(r"""\[\s*(["'])(.*?)\1.*\]""", re.DOTALL)  # a list as text, as Kaggle's file has it
_NOBODY = ("unknown artist", "unknown genre")  # labels of huggan/wikiart for what it does not know


class Picture(NamedTuple):
    """A picture of a source: its path as if it lay in folders, where its bytes are, and what else is known.

    `facts` may hold genre, artist, title and subset, and where they do not, the path tells.
    """

    path: str
    uri: str
    version: str
    facts: Mapping[str, str | None] = {}


def rows_of(pictures: Iterable[Picture], limit: int = 0) -> pa.Table:
    """Pictures -> rows of SCHEMA, sorted by id, at most `limit` of them (0: all).

    The id is the path without its extension. Of two pictures with one id, the second in the order of paths keeps its
    extension, and a third is numbered. Genres and artists whose spellings differ in case alone are one, in its
    commonest spelling.
    """
    pictures = sorted(pictures, key=lambda picture: picture[:3])
    names = [repair_name(picture.path) for picture in pictures]
    rows = [_row(*row) for row in zip(_unique_ids(names), names, pictures, strict=True)]
    columns = dict(zip(SCHEMA.names, zip(*rows, strict=True), strict=True))
    columns |= {name: _one_spelling(columns[name]) for name in ("genre", "artist")}
    table = pa.table([pa.array(columns[name], pa.string()) for name in SCHEMA.names], schema=SCHEMA).sort_by("id")
    return table.slice(0, limit or None)


def facts_of(row: Mapping[str, str | None], columns: Mapping[Column, str]) -> dict[str, str | None]:
    """Genre, artist, title and subset from a row of texts; `columns` says which columns have other names.

    The first genre of several counts. Artists are spelled as in file names (claude-monet). A subset is train or test.
    """
    names: tuple[Column, ...] = ("genre", "artist", "title", "subset")
    facts: dict[str, str | None] = {name: _known(row.get(columns.get(name, name))) for name in names}
    return facts | {
        "artist": spell_artist(facts["artist"]),
        "subset": facts["subset"] if facts["subset"] in ("train", "test") else None,
    }


def path_in_folders(name: str, facts: Mapping[str, str | None]) -> str:
    """`Genre/artist_name.jpg` for a picture whose own name has no folder; else its name, as it is."""
    if "/" in name and not name.startswith("/"):
        return name
    stem, extension = posixpath.splitext(posixpath.basename(name))
    artist = facts.get("artist") or ""
    if artist and not stem.startswith(f"{artist}_"):
        stem = f"{artist}_{stem}"
    genre = (facts.get("genre") or "").replace("/", "-")
    return posixpath.join(genre, stem.replace("/", "-")) + (extension if is_image(name) else f"{extension}.jpg")


def spell_artist(name: str | None) -> str | None:
    """An artist as file names spell it: Claude Monet -> claude-monet."""
    return "-".join(repair_name(name or "").lower().split()) or None


def is_image(path: str) -> bool:
    """Whether a file is a picture by its name; hidden ones are not."""
    return not is_hidden(path) and posixpath.splitext(path)[1].lower() in IMAGE_EXTENSIONS


def is_hidden(path: str) -> bool:
    """Whether a file or a folder that it lies in begins with a dot."""
    return any(part.startswith(".") for part in path.split("/"))


def repair_name(name: str) -> str:
    """A path as it was meant: mis-encodings undone, NFC, no control characters, no blanks around "/" and "_".

    WikiArt's names went through up to three wrong readings: UTF-8 read as Latin-1 and then lower-cased (í: Ã\\xad:
    ã\\xad), that as cp866 (├г┬н), that as cp437 (Γö£╨│Γö¼╨╜).
    """
    return "".join(_repair(part) for part in re.split("([/_])", name))


def _repair(text: str) -> str:
    if not text.isascii():
        text = RAW_BYTE.sub(lambda match: bytes([ord(match[0]) - 0xDC00]).decode("sloppy-windows-1252"), text)
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


def _unique_ids(names: Sequence[str]) -> list[str]:
    """Paths without their extension; the second of one id keeps it, and a third is numbered."""
    ids: dict[str, None] = {}
    for name in names:
        numbered = (f"{name}~{number}" for number in itertools.count(2))
        candidates = itertools.chain((posixpath.splitext(name)[0], name), numbered)
        ids[next(candidate for candidate in candidates if candidate not in ids)] = None
    return list(ids)


def _row(row_id: str, name: str, picture: Picture) -> tuple[str | None, ...]:
    folder, _, stem = posixpath.splitext(name)[0].rpartition("/")
    facts = picture.facts
    artist, separator, title = stem.partition("_")
    if not separator:
        artist, title = "", stem
    if known := facts.get("artist"):
        title = stem.removeprefix(f"{known}_") if stem.startswith(f"{known}_") else title
    genre = facts.get("genre") or folder.split("/")[0]
    return (
        *(row_id, picture.uri, genre, known or artist or None),
        *(facts.get("title") or title, facts.get("subset"), picture.version),
    )


def _known(text: str | None) -> str | None:
    if text and (listed := _LIST.fullmatch(text.strip())):
        text = listed[2]
    return None if not text or text.strip().lower() in _NOBODY else " ".join(repair_name(text).split())


def _one_spelling(values: Sequence[str | None]) -> list[str | None]:
    counts = Counter(value for value in values if value)
    chosen: dict[str, str] = {}
    for value in sorted(counts, key=lambda value: (-counts[value], value)):
        chosen.setdefault(value.casefold(), value)
    return [chosen[value.casefold()] if value else value for value in values]

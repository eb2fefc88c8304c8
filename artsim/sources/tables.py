"""A CSV or Parquet file whose rows name pictures by URI, with columns of any names -> pictures."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from urllib.parse import unquote, urlsplit

from artsim.config import Column
from artsim.sources.columns import check_columns, read_texts
from artsim.sources.files import SourceError, list_files, versions_of
from artsim.sources.names import Picture, facts_of, path_in_folders


def pictures_in_table(uri: str, columns: Mapping[Column, str]) -> list[Picture]:
    """The pictures that the rows of a table name; relative URIs lie below the table's folder. Reads no picture.

    The path of a picture is its relative URI, or what `columns` calls its id; else it is made of genre, artist and the
    URI's last part. A picture that is not there has a row, whose file will be missing.
    Raises SourceError where there is no such table or column, or a row has no URI.
    """
    rows = read_texts(uri)
    check_columns(columns, rows[0], uri)
    column = columns.get("uri", "uri")
    if column not in rows[0]:
        raise SourceError(
            f"{uri} has no column uri: say which column names the pictures, source.columns={{uri: NAME}}; it has "
            f"{', '.join(sorted(rows[0]))}"
        )
    named = [(row[column] or "").strip() for row in rows]
    places = locate(named, uri)
    return [_picture(row, name, *places[name], columns) for row, name in zip(rows, named, strict=True)]


def locate(names: Sequence[str], table: str) -> dict[str, tuple[str, str]]:
    """URI and version of each picture that a table names: one listing of its folder, one request for others.

    Raises SourceError where a name is empty.
    """
    if "" in names:
        raise SourceError(f"{table}: row {names.index('') + 1} names no picture: give each row one, or leave it out")
    folder = posixpath.dirname(table if "://" in table else os.path.abspath(table))
    below = [name for name in dict.fromkeys(names) if not _is_absolute(name)]
    elsewhere = [name for name in dict.fromkeys(names) if _is_absolute(name)]
    files = {file.path: file for file in list_files(folder)} if below else {}
    places = {name: (posixpath.join(folder, name), "missing") for name in below}
    paths = {name: posixpath.normpath(name) for name in below}
    places |= {name: files[path][1:] for name, path in paths.items() if path in files}
    return places | dict(zip(elsewhere, zip(elsewhere, versions_of(elsewhere), strict=True), strict=True))


def _is_absolute(name: str) -> bool:
    return "://" in name or os.path.isabs(name)


def _picture(
    row: Mapping[str, str | None], name: str, uri: str, version: str, columns: Mapping[Column, str]
) -> Picture:
    facts = facts_of(row, columns)
    chosen = row[columns["id"]] if "id" in columns else None
    if not chosen and _is_absolute(name):
        chosen = unquote(posixpath.basename(urlsplit(name).path if "://" in name else name)) or name
    return Picture(path_in_folders(chosen or posixpath.normpath(name), facts), uri, version, facts)

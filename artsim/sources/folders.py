"""Folders of pictures, Genre/artist_title.jpg, with or without Kaggle's classes.csv -> pictures."""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Sequence

from artsim.sources.files import File, SourceError, contents
from artsim.sources.names import Picture, is_image, repair_name, spell_artist

CLASSES = "classes.csv"


def pictures_in_folders(files: Sequence[File]) -> list[Picture]:
    """The pictures among files, with what classes.csv says of them, where it is there. Reads no picture.

    A file in no folder has the genre "". Extensions count in any case, as do names in classes.csv; a picture that it
    does not name has artist and title from its own name, and what it names without a file is left out. Of two lines
    for one picture the first counts. A link that leads nowhere has a row, whose file will be missing.
    """
    classes = _read_classes(next((file.uri for file in files if file.path == CLASSES), None))
    pictures = []
    for file in files:
        if is_image(file.path):
            stem = posixpath.splitext(repair_name(file.path))[0]
            facts = classes.get(stem) or classes.get(stem.casefold()) or {}
            pictures.append(Picture(*file, facts))
    return pictures


def _read_classes(uri: str | None) -> dict[str, dict[str, str | None]]:
    """Artist and subset by repaired path without extension, as spelled and folded; empty where there is no file.

    Its artists are spelled as in file names (claude-monet), so that rows that it lacks do not get a second spelling.
    """
    if uri is None:
        return {}
    rows = csv.DictReader(io.StringIO(contents(uri).decode("utf-8-sig", "surrogateescape"), newline=""))
    if missing := {"filename", "artist", "subset"} - set(rows.fieldnames or ()):
        raise SourceError(f"{uri} has no column {', '.join(sorted(missing))}: give Kaggle's file, or take it away")
    exact: dict[str, dict[str, str | None]] = {}
    folded: dict[str, dict[str, str | None]] = {}
    for row in rows:
        subset = row["subset"] if row["subset"] in ("train", "test") else None
        stem = posixpath.splitext(repair_name(row["filename"] or ""))[0]
        facts = exact.setdefault(stem, {"artist": spell_artist(row["artist"]), "subset": subset})
        folded.setdefault(stem.casefold(), facts)
    return folded | exact

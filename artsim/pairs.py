"""Versions that exist already: a table whose rows name a painting and its version -> rows of `_pairs`."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Collection
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from artsim.config import PairsConfig
from artsim.schemas import schema_of
from artsim.sources import SourceError, list_files, read_file, repair_name


class Paintings(NamedTuple):
    """Ids of what a source lists, and of those that are in `artworks`: the others are in its quarantine."""

    listed: Collection[str]
    there: Collection[str]


def list_pairs(config: PairsConfig, paintings: Paintings) -> tuple[pa.Table, int]:
    """The pairs of a CSV or Parquet file, (id, level, variant, uri, prompt, version), and how many were left out.

    Pictures lie below the folder of the file; a version that is not there gets a row too, which will say
    missing_file. `variant` counts the versions of one painting and level. Pairs of quarantined paintings are left out.
    Raises SourceError where the file, a column or a level is not what the settings say, or a painting is not known.
    """
    table = _read_table(config)
    folder = posixpath.dirname(config.uri if "://" in config.uri else os.path.abspath(config.uri))
    versions = {file.path: file for file in list_files(folder)}
    counts: Counter[tuple[str, str]] = Counter()
    rows = []
    for row in table:
        painting = posixpath.splitext(repair_name(row[config.original]))[0]
        if painting not in paintings.listed:
            raise SourceError(
                f"{config.uri}: {config.original} = {row[config.original]} is no painting of the source: give paths "
                "below source.uri, and ingest the paintings first"
            )
        level = _level(row, config)
        if painting not in paintings.there:
            continue
        file = versions.get(row[config.generated])
        uri = file.uri if file else posixpath.join(folder, row[config.generated])
        prompt = (row[config.prompt] or "") if config.prompt else ""
        rows.append((painting, level, counts[painting, level], uri, prompt, file.version if file else "missing"))
        counts[painting, level] += 1
    schema = pa.schema([field for field in schema_of("_pairs") if field.name not in ("input_hash", "row_hash")])
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema), len(table) - len(rows)


def _read_table(config: PairsConfig) -> list[dict[str, Any]]:
    """The wanted columns as texts: a reader may take names, levels or prompts for numbers."""
    data = pa.BufferReader(read_file(config.uri))
    try:
        table = pa.parquet.read_table(data) if config.uri.endswith(".parquet") else pa.csv.read_csv(data)
    except pa.ArrowInvalid as error:
        raise SourceError(f"pairs.uri = {config.uri} cannot be read as a table: {error}") from error
    wanted = [name for name in (config.original, config.generated, config.prompt, config.level) if name]
    if missing := sorted(set(wanted) - set(table.column_names)):
        raise SourceError(
            f"{config.uri} has no column {', '.join(missing)}: pairs.original, pairs.generated, pairs.prompt and "
            f"pairs.level name its columns, each one of {', '.join(table.column_names)}"
        )
    if not len(table):
        raise SourceError(f"{config.uri} has no rows")
    return [
        {name: None if value is None else str(value) for name, value in row.items()}
        for row in table.select(wanted).to_pylist()
    ]


def _level(row: dict[str, Any], config: PairsConfig) -> str:
    if not config.level:
        return config.default_level
    value = row[config.level]
    if value not in config.levels:
        raise SourceError(f"{config.uri}: {config.level} = {value}: pairs.levels knows only {', '.join(config.levels)}")
    return config.levels[value]

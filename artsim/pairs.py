"""Versions that exist already: a table whose rows name a painting and its version -> rows of `_pairs`."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Collection
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from artsim.config import PairsConfig
from artsim.schemas import schema_of
from artsim.sources import SourceError, list_files, read_file, repair_name


def list_pairs(config: PairsConfig, paintings: Collection[str]) -> pa.Table:
    """The pairs of a CSV or Parquet file: id, level, variant, uri, prompt, version, in the file's order.

    Pictures lie below the folder of the file; a version that is not there gets a row too, which will say
    missing_file. `variant` counts the versions of one painting and level. `paintings` are the ids of `artworks`.
    Raises SourceError where the file, a column or a level is not what the settings say, or a painting is not known.
    """
    table = _read_table(config)
    folder = posixpath.dirname(config.uri if "://" in config.uri else os.path.abspath(config.uri))
    versions = {file.path: file for file in list_files(folder)}
    counts: Counter[tuple[str, str]] = Counter()
    rows = []
    for row in table.to_pylist():
        painting = posixpath.splitext(repair_name(row[config.original]))[0]
        if painting not in paintings:
            raise SourceError(
                f"{config.uri}: {config.original} = {row[config.original]} is no painting of the table artworks: give "
                "paths below source.uri, and ingest the paintings first"
            )
        level = _level(row, config)
        file = versions.get(row[config.generated])
        uri = file.uri if file else posixpath.join(folder, row[config.generated])
        prompt = row[config.prompt] if config.prompt else ""
        rows.append((painting, level, counts[painting, level], uri, prompt, file.version if file else "missing"))
        counts[painting, level] += 1
    schema = pa.schema([field for field in schema_of("_pairs") if not field.name.endswith("_hash")])
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), schema, strict=True)], schema
    )


def _read_table(config: PairsConfig) -> pa.Table:
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
    return table.select(wanted)


def _level(row: dict[str, Any], config: PairsConfig) -> str:
    if not config.level:
        return config.default_level
    value = str(row[config.level])
    if value not in config.levels:
        raise SourceError(f"{config.uri}: {config.level} = {value}: pairs.levels knows only {', '.join(config.levels)}")
    return config.levels[value]

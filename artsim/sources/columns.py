"""Columns of a CSV or Parquet file as texts: labels by their names, lists by their first value."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from artsim.config import Column
from artsim.sources.files import SourceError, read_file

Texts = dict[str, str | None]


def read_texts(uri: str) -> list[Texts]:
    """The rows of a CSV or Parquet file, each value as it is spelled, but for labels, which get their names.

    Raises SourceError where there is no such file, it cannot be read as a table, or it has no rows.
    """
    data = read_file(uri)
    try:
        table = pq.read_table(pa.BufferReader(data)) if uri.endswith(".parquet") else _read_csv(data)
        rows = texts_of(table)
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceError(f"{uri} cannot be read as a table: {first_line(error)}") from error
    if not len(table):
        raise SourceError(f"{uri} has no rows")
    return rows


def _read_csv(data: bytes) -> pa.Table:
    # A reader that guesses would take names of digits for numbers: 007 for 7.
    names = pa.csv.open_csv(pa.BufferReader(data)).schema.names
    options = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    return pa.csv.read_csv(
        pa.BufferReader(data), pa.csv.ReadOptions(), pa.csv.ParseOptions(newlines_in_values=True), options
    )


def texts_of(table: pa.Table) -> list[Texts]:
    """Rows of the texts that `text_columns` names."""
    labels, names = label_names(table.schema), text_columns(table.schema)
    columns = [_texts(table[name], labels.get(name)) for name in names]
    return (
        [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        if names
        else [{} for _ in range(len(table))]
    )


def text_columns(schema: pa.Schema) -> list[str]:
    """Names of the columns that can be read as texts: not those of bytes and of structs."""
    return [field.name for field in schema if not (pa.types.is_struct(field.type) or _is_binary(field.type))]


def label_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of integer labels by column, from what the package `datasets` notes in a Parquet file's schema."""
    try:
        noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    except ValueError as error:
        raise pa.ArrowInvalid(f"what the schema notes under huggingface is no JSON: {error}") from error
    features = noted.get("info", {}).get("features", {})
    return {
        name: feature["names"]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }


def check_columns(columns: Mapping[Column, str], there: Collection[str], where: str) -> None:
    """Raise SourceError where source.columns names a column that is not there."""
    if missing := sorted(set(columns.values()) - set(there)):
        raise SourceError(
            f"{where} has no column {', '.join(missing)}: source.columns names its columns, each one of "
            f"{', '.join(sorted(there))}"
        )


def first_line(error: BaseException) -> str:
    """What an error says, without the pages that a library may add."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _texts(column: pa.ChunkedArray, labels: list[str] | None) -> list[str | None]:
    values = [(value[0] if value else None) if isinstance(value, list) else value for value in column.to_pylist()]
    if labels is None:
        return [None if value is None else str(value) for value in values]
    # -1 is how `datasets` spells that there is no label; a number without a name says nothing either.
    return [labels[value] if isinstance(value, int) and 0 <= value < len(labels) else None for value in values]

"""Versions that exist already: a table whose rows name or hold a painting and its version -> rows of `_pairs`."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from artsim.config import PairsConfig
from artsim.schemas import schema_of
from artsim.sources import SourceError, repair_name
from artsim.sources.columns import read_texts
from artsim.sources.shards import Embedded, Shard, Unpack, read_unpacked, shards_at, unpack_here
from artsim.sources.tables import locate


class Paintings(NamedTuple):
    """Ids of what a source lists, and of those that are in `artworks`: the others are in its quarantine."""

    listed: Collection[str]
    there: Collection[str]
    versions: Mapping[str, str] = {}
    """Ids of those listed by their version, which for pictures out of Parquet files is that of their bytes."""


def list_pairs(
    config: PairsConfig, paintings: Paintings, root: str = "", unpack: Unpack = unpack_here
) -> tuple[pa.Table, int]:
    """The pairs of a CSV or Parquet file, (id, level, variant, uri, prompt, version), and how many were left out.

    Pictures lie below the folder of the file, or in it, unpacked below `root`; a version that is not there gets a row
    too, which will say missing_file or empty. `variant` counts the versions of one painting and level. Pairs of
    quarantined paintings are left out.
    Raises SourceError where the file, a column or a level is not what the settings say, or a painting is not known.
    """
    shards = shards_at(config.uri)
    unpack(shards, root)
    table = _read_table(config, shards, root)
    named = [row[config.generated] or "" for row in table if not isinstance(row[config.generated], Embedded)]
    places = locate(named, config.uri)
    counts: Counter[tuple[str, str]] = Counter()
    rows = []
    for row in table:
        painting, level = _painting(row[config.original], config, paintings), _level(row, config)
        if painting not in paintings.there:
            continue
        version = row[config.generated]
        uri, changed = version[1:] if isinstance(version, Embedded) else places[version or ""]
        prompt = (row[config.prompt] or "") if config.prompt else ""
        rows.append((painting, level, counts[painting, level], uri, prompt, changed))
        counts[painting, level] += 1
    schema = pa.schema([field for field in schema_of("_pairs") if field.name not in ("input_hash", "row_hash")])
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema), len(table) - len(rows)


def _read_table(config: PairsConfig, shards: list[Shard], root: str) -> list[dict[str, Any]]:
    """Rows of texts, and of pictures where they lie in the file."""
    table = [row for _, row in read_unpacked(shards, root)] if shards else read_texts(config.uri)
    if not table:
        raise SourceError(f"{config.uri} has no rows")
    wanted = {name for name in (config.original, config.generated, config.prompt, config.level) if name}
    if missing := sorted(wanted - set(table[0])):
        raise SourceError(
            f"{config.uri} has no column {', '.join(missing)}: pairs.original, pairs.generated, pairs.prompt and "
            f"pairs.level name its columns, each one of {', '.join(table[0])}"
        )
    return table


def _painting(original: str | Embedded | None, config: PairsConfig, paintings: Paintings) -> str:
    """The id of a row's painting, known by its path, or by its bytes where the row holds them."""
    if isinstance(original, Embedded):
        painting = paintings.versions.get(original.version)
        name = original.path or original.uri
        advice = f"ingest the same file first, source.uri={config.uri} source.columns={{uri: {config.original}}}"
    else:
        name = original or ""
        painting = posixpath.splitext(repair_name(name))[0]
        advice = "give paths below source.uri, and ingest the paintings first"
    if painting is None or painting not in paintings.listed:
        raise SourceError(f"{config.uri}: {config.original} = {name} is no painting of the source: {advice}")
    return painting


def _level(row: dict[str, Any], config: PairsConfig) -> str:
    if not config.level:
        return config.default_level
    value = row[config.level]
    if value not in config.levels:
        raise SourceError(f"{config.uri}: {config.level} = {value}: pairs.levels knows only {', '.join(config.levels)}")
    return config.levels[value]

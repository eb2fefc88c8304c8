"""What paintings look like in the wild -> rows of `artworks`: folders, archives, Parquet shards, tables of URIs."""

from __future__ import annotations

import pyarrow as pa

from artsim.config import SourceConfig
from artsim.sources.archives import is_archive, pictures_in_archives
from artsim.sources.columns import check_columns
from artsim.sources.files import File, SourceError, fetch, list_files
from artsim.sources.folders import pictures_in_folders
from artsim.sources.names import Picture, is_image, repair_name, rows_of
from artsim.sources.shards import Shard, Unpack, is_parquet, list_shards, pictures_in_shards, unpack_here
from artsim.sources.tables import pictures_in_table

__all__ = ["SourceError", "count_paintings", "fetch", "list_source", "repair_name"]

WANTED = "give the folder that holds Genre/artist_title.jpg, or .tar files, Parquet files with pictures, or one table"


def list_source(config: SourceConfig, root: str = "", unpack: Unpack = unpack_here) -> pa.Table:
    """The paintings at `config.uri`: id, uri, genre, artist, title, subset, version, sorted by id. Reads no image.

    What lies there tells how it is read: folders of images (sources.folders), .tar files (archives), Parquet files
    with pictures in them, which are unpacked below `root` first (shards), or one table of URIs (tables).
    `Genre/artist_title.jpg` gives genre (the first folder; "" for a file that is in none), artist and title, where
    nothing else does; the artist of a name without "_" is None. `version` changes when the picture does. Hidden files
    and files that are not images are left out. names.rows_of says what becomes of equal ids.
    Of Parquet files, `config.limit` takes the first, by path, that hold as many rows.
    Raises SourceError where nothing lies there, none of these, or more than one.
    """
    files = list(list_files(config.uri))
    if shards := _shards(config, files):
        unpack(shards, root)
        return rows_of(pictures_in_shards(shards, config.columns, root), config.limit)
    return rows_of(_pictures(config, files), config.limit)


def count_paintings(config: SourceConfig) -> int:
    """How many paintings a source holds, `config.limit` included, without unpacking it."""
    files = list(list_files(config.uri))
    shards = _shards(config, files)
    num_rows = sum(shard.num_rows for shard in shards) if shards else len(_pictures(config, files))
    return min(num_rows, config.limit or num_rows)


def _pictures(config: SourceConfig, files: list[File]) -> list[Picture]:
    if archives := [file for file in files if is_archive(file)]:
        pictures, names = pictures_in_archives(archives, config.columns)
        check_columns(config.columns, names, config.uri)
    elif len(files) == 1 and not files[0].path:
        pictures = _of_one_file(config)
    elif config.columns:
        raise SourceError(
            f"source.columns = {config.columns}: folders of images have no columns; leave it out, or name a table"
        )
    else:
        pictures = pictures_in_folders(files)
    if not pictures:
        raise SourceError(f"source.uri = {config.uri}: none of its {len(files)} files is an image; {WANTED}")
    return pictures


def _shards(config: SourceConfig, files: list[File]) -> list[Shard]:
    shards = list_shards(files, config.limit)
    counts = {
        "images": sum(is_image(file.path) for file in files),
        "Parquet files with pictures": sum(map(is_parquet, files)) if shards else 0,
        ".tar files": sum(map(is_archive, files)),
    }
    kinds = [f"{count} {kind}" for kind, count in counts.items() if count]
    if len(kinds) > 1:
        raise SourceError(f"source.uri = {config.uri} holds {' and '.join(kinds)}: give the folder or file of one kind")
    return shards


def _of_one_file(config: SourceConfig) -> list[Picture]:
    if config.uri.endswith((".csv", ".parquet")):
        return pictures_in_table(config.uri, config.columns)
    raise SourceError(f"source.uri = {config.uri} is a file: {WANTED}")

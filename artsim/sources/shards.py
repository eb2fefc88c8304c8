"""Parquet files that hold pictures, as on the Hugging Face Hub -> tars that can be read picture by picture."""

from __future__ import annotations

import hashlib
import io
import posixpath
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from artsim.config import Column
from artsim.schemas import digest64
from artsim.sources.columns import check_columns, first_line, text_columns, texts_of
from artsim.sources.files import File, SourceError, list_files, member_uri, open_file
from artsim.sources.names import Picture, facts_of, is_hidden, is_image, path_in_folders
from artsim.store import Store

FOLDER = "_source"
"""Below the root: for each shard an uncompressed .tar, and then a .parquet that says where in it each picture is."""

_READ_BYTES = 8_000_000  # of a column, at a time
_BATCH_ROWS = 16
_PLACE = pa.struct([("path", pa.string()), ("start", pa.int64()), ("size", pa.int64()), ("version", pa.string())])


class Shard(NamedTuple):
    """A Parquet file with pictures in it."""

    file: File
    num_rows: int
    pictures: tuple[str, ...]
    """Columns that hold pictures: structs with bytes, and perhaps a path."""

    @property
    def stem(self) -> str:
        """File name without extension."""
        return posixpath.splitext(posixpath.basename(self.file.path or self.file.uri))[0]

    @property
    def name(self) -> str:
        """What it is called when it is unpacked: it changes when the file does."""
        return f"{self.stem}-{digest64(self.file.uri):016x}-{digest64(self.file.version):016x}"


Unpack = Callable[[Sequence[Shard], str], None]
"""What makes sure that shards are unpacked below a root."""


class Embedded(NamedTuple):
    """Where a picture of an unpacked shard lies; its version is that of its bytes."""

    path: str | None
    uri: str
    version: str


def list_shards(files: Sequence[File], limit: int = 0, num_threads: int = 16) -> list[Shard]:
    """The Parquet files among files, if pictures lie in them: the first, by path, that hold `limit` rows (0: all).

    Reads their footers alone. Raises SourceError where one has none, or some hold pictures and others do not.
    """
    files = sorted(file for file in files if is_parquet(file))
    if not files or not _open_shard(files[0]).pictures:
        return []
    with ThreadPoolExecutor(num_threads) as pool:
        shards = list(pool.map(_open_shard, files))
    if other := next((shard for shard in shards if shard.pictures != shards[0].pictures), None):
        raise SourceError(
            f"{other.file.uri} has other columns of pictures than {shards[0].file.uri} "
            f"({', '.join(other.pictures) or 'none'}; {', '.join(shards[0].pictures)}): give files of one kind"
        )
    wanted: list[Shard] = []
    for shard in shards:
        if limit and sum(before.num_rows for before in wanted) >= limit:
            break
        wanted.append(shard)
    return wanted


def shards_at(uri: str) -> list[Shard]:
    """The shards that a file or folder is; none where its Parquet files hold no pictures, or it is something else."""
    return list_shards(list(list_files(uri))) if uri and not uri.endswith(".csv") else []


def is_parquet(file: File) -> bool:
    """Whether a file is Parquet by its name, and not hidden."""
    return (file.path or file.uri).endswith(".parquet") and not is_hidden(file.path)


def not_unpacked(shards: Sequence[Shard], root: str) -> list[Shard]:
    """Those of which the root has no copy yet, or an old one; deletes what a killed job left half-written."""
    if not shards:
        return []
    store = Store(posixpath.join(root, FOLDER))
    there = store.list()
    store.delete(name for name in there if name.startswith(".tmp-"))
    return [shard for shard in shards if f"{shard.name}.parquet" not in there]


def unpack(shard: Shard, root: str) -> SourceError | int:
    """Copy the pictures of a shard into a tar below the root; returns their size in bytes, or what is wrong with it.

    A page or two of the file at a time are in memory. The tar appears whole or not at all, its index after it, and
    then copies of an older version of the same file go.
    """
    store, name = Store(posixpath.join(root, FOLDER)), shard.name
    try:
        with store.create(f"{name}.tar") as file:
            index = pa.concat_tables(_copy(shard, file))
    except (pa.ArrowException, OSError) as error:
        return _unreadable(shard.file, error)
    buffer = io.BytesIO()
    pq.write_table(index, buffer)
    store.write(f"{name}.parquet", buffer.getvalue())
    of_file = name[: -len("-0123456789abcdef")]
    store.delete(old for old in store.list() if old.startswith(of_file) and posixpath.splitext(old)[0] != name)
    return sum(pc.sum(pc.struct_field(index[column], "size")).as_py() or 0 for column in shard.pictures)


def unpack_here(shards: Sequence[Shard], root: str) -> None:
    """Unpack shards one after the other, in this process; raises SourceError for one that cannot be read."""
    for shard in not_unpacked(shards, root):
        if isinstance(result := unpack(shard, root), SourceError):
            raise result


def read_unpacked(shards: Sequence[Shard], root: str) -> Iterator[tuple[Shard, dict[str, Any]]]:
    """The rows of unpacked shards: texts, and for each column of pictures where the picture is, an Embedded."""
    store = Store(posixpath.join(root, FOLDER))
    for shard in shards:
        data = store.read(f"{shard.name}.parquet")
        assert data is not None, f"{shard.file.uri} is not unpacked"
        tar = posixpath.join(store.url, f"{shard.name}.tar")
        for row in pq.read_table(io.BytesIO(data)).to_pylist():
            for column in shard.pictures:
                place = row[column]
                where = member_uri(tar, place["start"], place["size"])
                row[column] = Embedded(place["path"], where, place["version"])
            yield shard, row


def pictures_in_shards(shards: Sequence[Shard], columns: Mapping[Column, str], root: str) -> list[Picture]:
    """The pictures of unpacked shards, named by their path if it has folders, else by genre, artist and file or row.

    Where shards hold several columns of pictures, as pairs do, equal pictures are one painting.
    Raises SourceError where it is not clear which column holds the paintings, or a column is not there.
    """
    column = _column_of_paintings(shards, columns)
    pictures: list[Picture] = []
    seen: set[str] = set()
    number, before = 0, None
    for shard, row in read_unpacked(shards, root):
        number, before = (number + 1 if shard is before else 0), shard
        check_columns(columns, row, shard.file.uri)
        picture: Embedded = row[column]
        if picture.version in seen and len(shard.pictures) > 1:
            continue
        seen.add(picture.version)
        pictures.append(_picture(picture, row, columns, shard, number))
    return pictures


def _open_shard(file: File) -> Shard:
    try:
        with open_file(file.uri) as opened:
            footer = pq.ParquetFile(opened)
            fields = [field.name for field in footer.schema_arrow if _holds_pictures(field.type)]
            return Shard(file, footer.metadata.num_rows, tuple(fields))
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def _holds_pictures(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    inner = kind.field("bytes").type
    return bool(pa.types.is_binary(inner) or pa.types.is_large_binary(inner))


def _unreadable(file: File, error: pa.ArrowException | OSError) -> SourceError:
    """A sentence for a file whose contents are wrong; trouble with the disk or the network raises."""
    if isinstance(error, OSError) and error.errno:
        raise error
    return SourceError(f"{file.uri} cannot be read as Parquet ({first_line(error)}): copy it again, or take it away")


def _copy(shard: Shard, file: Any) -> Iterator[pa.Table]:
    """Put the pictures of a shard into a tar, and yield what else its rows hold and where the pictures are."""
    # With a buffer, a row group is read page by page; without, it would lie in memory as a whole.
    with (
        open_file(shard.file.uri, cache_type="none") as opened,
        tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        parquet, number = pq.ParquetFile(opened, buffer_size=_READ_BYTES), 0
        schema = _index_schema(parquet.schema_arrow, shard)
        for batch in parquet.iter_batches(_BATCH_ROWS, use_threads=False):
            rows: list[dict[str, Any]] = [*map(dict, texts_of(pa.Table.from_batches([batch])))]
            for column in shard.pictures:
                for row, picture in enumerate(batch.column(column).to_pylist()):
                    rows[row][column] = _add(tar, f"{number + row:08d}.{column}", picture or {})
            yield pa.Table.from_pylist(rows, schema)
            number += len(rows)
        yield schema.empty_table()


def _index_schema(schema: pa.Schema, shard: Shard) -> pa.Schema:
    texts = [pa.field(name, pa.string()) for name in text_columns(schema)]
    return pa.schema([*texts, *(pa.field(name, _PLACE) for name in shard.pictures)])


def _add(tar: tarfile.TarFile, name: str, picture: Mapping[str, Any]) -> dict[str, Any]:
    path, data = picture.get("path"), picture.get("bytes")
    if not data:
        return {"path": path, "start": 0, "size": 0, "version": "0"}
    extension = posixpath.splitext(path)[1] if path and is_image(path) else ".jpg"
    member = tarfile.TarInfo(name + extension)
    member.size = len(data)
    start = tar.offset + tarfile.BLOCKSIZE
    tar.addfile(member, io.BytesIO(data))
    version = f"{len(data)}-{hashlib.blake2b(data, digest_size=16).hexdigest()}"
    return {"path": path, "start": start, "size": len(data), "version": version}


def _column_of_paintings(shards: Sequence[Shard], columns: Mapping[Column, str]) -> str:
    there = shards[0].pictures
    if "uri" in columns and columns["uri"] in there:
        return columns["uri"]
    if len(there) == 1 and "uri" not in columns:
        return there[0]
    raise SourceError(
        f"{shards[0].file.uri} holds pictures in the columns {', '.join(there)}: say which are the paintings, "
        f"source.columns={{uri: {there[0]}}}"
    )


def _picture(
    picture: Embedded, row: Mapping[str, Any], columns: Mapping[Column, str], shard: Shard, number: int
) -> Picture:
    facts = facts_of(row, columns)
    if split := re.match(r"(train|test)(?![a-z])", shard.stem):
        facts["subset"] = facts["subset"] or split[1]
    chosen = (row[columns["id"]] if "id" in columns else None) or picture.path
    name = chosen or f"{shard.stem.replace('_', '-')}-{number:06d}.jpg"
    return Picture(path_in_folders(name, facts), picture.uri, picture.version, facts)

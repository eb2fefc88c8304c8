"""What a row of each table looks like: columns, keys, hashes, and the way between Arrow tables and NumPy batches."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Batch = dict[str, Any]
"""Columns of a few rows: name -> NumPy array whose first axis is the row; bytes, strings and None in object arrays."""

REASONS = {
    "missing_file": "the file is listed but cannot be found",
    "too_large": "more bytes or pixels than the settings allow",
    "not_an_image": "no decoder knows these bytes",
    "truncated": "the file ends before the picture does",
    "corrupt": "the decoder gave up on the contents",
    "empty": "there is nothing in it: no pixels, or no text",
    "refused": "the model declined to do it",
    "echo": "the model repeated what it was told instead of answering",
    "invalid_output": "the model's answer does not have the form that was asked for",
    "black_image": "the model's picture is black, or holds values that are no numbers",
    "killed_worker": "the row ended its worker process, or took its memory, also when it was tried alone",
    "timeout": "the row took longer than the stage's timeout_s, also when it was tried alone",
}
"""Why a row may be in quarantine. A stage puts `reason: message` in the column `error`."""

VERSION_KEY = ("id", "level", "variant")
WHOLE = ("duplicates", "splits", "triplets", "edited", "edited_versions")
"""Kinds of tables each of whose rows depends on all rows of the tables that it is made from."""
_VERSION = [("id", pa.string()), ("level", pa.string()), ("variant", pa.int32())]
_EDITED = [("id", pa.string()), ("edit", pa.string())]
_BOX = pa.list_(pa.int32(), 4)
_NUMBERS = pa.list_(pa.float32())
_FEATURES = [("pooled", _NUMBERS), ("early", _NUMBERS), ("tokens", pa.list_(pa.list_(pa.float16())))]
_CUES = [
    *(("num_bytes", pa.int64()), ("jpeg_quality", pa.int32()), ("aspect", pa.float32())),
    *(("histogram", _NUMBERS), ("phash", pa.string())),
]
_HASHES = [("input_hash", pa.uint64()), ("row_hash", pa.uint64())]

_COLUMNS: dict[str, list[tuple[str, pa.DataType]]] = {
    "_listing": [(name, pa.string()) for name in ("id", "uri", "genre", "artist", "title", "subset", "version")],
    "_pairs": [*_VERSION, *((name, pa.string()) for name in ("uri", "prompt", "version"))],
    "artworks": [
        *((name, pa.string()) for name in ("id", "uri", "genre", "artist", "title", "subset")),
        *((name, pa.int32()) for name in ("width", "height")),
        *((name, pa.string()) for name in ("sha256", "phash")),
    ],
    "duplicates": [
        *((name, pa.string()) for name in ("id", "exact_of", "near_of")),
        ("distance", pa.int32()),
        ("component", pa.string()),
        ("num_in_component", pa.int32()),
    ],
    "thumbnails": [("id", pa.string()), ("image", pa.binary())],
    "captions": [("id", pa.string()), ("caption", pa.string())],
    "prompts": [*_VERSION, ("approach", pa.string()), ("prompt", pa.string()), ("num_tokens", pa.int32())],
    "generated": [*_VERSION, ("seed", pa.int64()), ("image", pa.binary()), ("box", _BOX)],
    "generated_captions": [*_VERSION, ("caption", pa.string())],
    "embeddings": [("id", pa.string()), *_FEATURES],
    "generated_embeddings": [*_VERSION, *_FEATURES],
    "caption_embeddings": [("id", pa.string()), _FEATURES[0]],
    "generated_caption_embeddings": [*_VERSION, _FEATURES[0]],
    "cues": [("id", pa.string()), *_CUES],
    "generated_cues": [*_VERSION, *_CUES],
    "edited_cues": [*_EDITED, *_CUES],
    "edited": [*_EDITED, ("image", pa.binary()), ("box", _BOX)],
    "edited_versions": [*_VERSION, _EDITED[1], ("image", pa.binary()), ("box", _BOX)],
    "edited_embeddings": [*_EDITED, *_FEATURES],
    "edited_version_embeddings": [*_VERSION, _EDITED[1], *_FEATURES],
    "splits": [(name, pa.string()) for name in ("id", "group", "split", "component")],
    "triplets": [
        *_VERSION,
        ("tier", pa.string()),
        ("draw", pa.int32()),
        ("negative_id", pa.string()),
        ("negative_level", pa.string()),
        ("negative_variant", pa.int32()),
        ("split", pa.string()),
        ("component", pa.string()),
        ("approach", pa.string()),
    ],
}
_KEYS = {
    "triplets": (*VERSION_KEY, "tier", "draw"),
    **dict.fromkeys(("edited", "edited_embeddings", "edited_cues"), ("id", "edit")),
    **dict.fromkeys(("edited_versions", "edited_version_embeddings"), (*VERSION_KEY, "edit")),
}


def key_of(table: str) -> tuple[str, ...]:
    """Names of the key columns of a table; `splits/a70` is of the kind `splits`."""
    kind = table.split("/")[0]
    if kind in _KEYS:
        return _KEYS[kind]
    return VERSION_KEY if kind in ("_pairs", "prompts") or kind.startswith("generated") else ("id",)


def schema_of(table: str, sizes: Sequence[int] = (1024, 768)) -> pa.Schema:
    """The Arrow schema of a table; `sizes` are the squares of `resized`, px."""
    kind = table.split("/")[0]
    if kind == "resized":
        squares = [[(f"image_{size}", pa.binary()), (f"box_{size}", _BOX)] for size in sizes]
        columns = [("id", pa.string()), *(column for square in squares for column in square)]
    else:
        columns = _COLUMNS[kind]
    return pa.schema([*columns, *_HASHES])


def quarantine_schema(table: str) -> pa.Schema:
    """The Arrow schema of a table's quarantine: the key, what was read, and what went wrong how often."""
    keys = [schema_of(table).field(name) for name in key_of(table)]
    texts = [pa.field(name, pa.string()) for name in ("stage", "reason", "message")]
    return pa.schema([*keys, pa.field("input_hash", pa.uint64()), *texts, pa.field("attempts", pa.int32())])


def row_seed(seed: int, *what: object) -> int:
    """A seed in [0, 2**63) that depends on the run's seed and on what is made, and on nothing else."""
    return digest64(str(seed), *map(str, what)) >> 1


def digest64(*parts: str | bytes) -> int:
    """A 64-bit hash of some texts, the same on every machine and in every process."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return int.from_bytes(digest.digest(), "big")


def mix_hashes(*hashes: np.ndarray) -> np.ndarray:
    """Combine arrays of 64-bit hashes row by row, order mattering (Steele et al. 2014, splitmix64's finalizer)."""
    mixed = np.zeros(len(hashes[0]), np.uint64)
    for column in hashes:
        mixed = (mixed ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x632BE59BD9B4E019)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
    return mixed


def bucket_of(row_id: str, num_buckets: int) -> int:
    """The bucket that a painting's rows live in, in every table."""
    return digest64(row_id) % num_buckets


def key_strings(table: pa.Table, key: Sequence[str]) -> pa.Array:
    """One string per row that holds its key columns, for look-ups (B,)."""
    columns = [table[name].cast(pa.string()).combine_chunks() for name in key]
    return columns[0] if len(columns) == 1 else pc.binary_join_element_wise(*columns, "\x1f", null_handling="replace")


def row_hashes(table: pa.Table) -> np.ndarray:
    """A hash of each row's contents (B,) uint64; the columns that hold hashes do not count."""
    hashes = [_column_hashes(table[name]) for name in table.column_names if name not in ("input_hash", "row_hash")]
    return mix_hashes(*hashes) if len(table) else np.zeros(0, np.uint64)


def _column_hashes(column: pa.ChunkedArray) -> np.ndarray:
    kind = column.type
    if pa.types.is_binary(kind):
        return np.array([_digest_of_file(value) for value in column], np.uint64)
    if pa.types.is_string(kind):
        values: list[bytes | None] = column.cast(pa.binary()).to_pylist()
        return np.array([0 if value is None else digest64(value) for value in values], np.uint64)
    if pa.types.is_integer(kind):
        return pc.fill_null(column.cast(pa.int64()), np.iinfo(np.int64).min).to_numpy().view(np.uint64)
    if pa.types.is_floating(kind):  # as one array, or a missing value would make the others beside it Python's floats
        column = pc.fill_null(column, pa.scalar(np.nan, kind))
    rows = to_array(column)
    if rows.dtype == object:
        return np.array(
            [0 if row is None else digest64(np.ascontiguousarray(row).tobytes()) for row in rows], np.uint64
        )
    return np.array([digest64(np.ascontiguousarray(row).tobytes()) for row in rows], np.uint64)


def _digest_of_file(value: pa.BinaryScalar) -> int:
    """A 64-bit hash of the bytes of a picture, where they lie: CPUs have instructions for SHA-256."""
    data = value.as_buffer()
    return 0 if data is None else int.from_bytes(hashlib.sha256(data).digest()[:8], "big")


def to_batch(table: pa.Table) -> Batch:
    """Columns as a stage reads them: (B,), boxes (B, 4) int32, pooled (B, D) float32, tokens (B, N, T) float16."""
    return {name: to_array(table[name]) for name in table.column_names}


def to_array(column: pa.ChunkedArray) -> np.ndarray:
    """One column as an array whose first axis is the row; an object array where values are texts, bytes or missing."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
    if pa.types.is_nested(array.type) and array.null_count:
        there = enumerate(array.is_valid().to_pylist())
        return _objects([to_array(column.slice(row, 1))[0] if valid else None for row, valid in there])
    if pa.types.is_fixed_size_list(array.type):
        return array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), array.type.list_size)
    if pa.types.is_list(array.type):
        return _dense(array)
    if array.null_count or pa.types.is_string(array.type) or pa.types.is_binary(array.type):
        return _objects(array.to_pylist())
    return array.to_numpy(zero_copy_only=False)


def _dense(array: pa.Array) -> np.ndarray:
    """Lists of equal length, nested or not, as one array (B, ...)."""
    shape = [len(array)]
    while pa.types.is_list(array.type):
        assert pc.count_distinct(pc.list_value_length(array)).as_py() <= 1, "lists of one column differ in length"
        inner = array.flatten()
        shape.append(len(inner) // len(array) if len(array) else 0)
        array = inner
    return array.to_numpy(zero_copy_only=False).reshape(shape)


def _objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def to_arrow(batch: Batch, schema: pa.Schema) -> pa.Table:
    """The columns of `schema`, taken from a batch; what the batch lacks is null."""
    num_rows = len(next(iter(batch.values())))
    columns = [_column(batch.get(field.name), field.type, num_rows) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _column(values: Any, kind: pa.DataType, num_rows: int) -> pa.Array:
    if values is None:
        return pa.nulls(num_rows, kind)
    values = np.asarray(values)
    if values.dtype == object:
        nested = pa.types.is_list(kind) and pa.types.is_list(kind.value_type)
        return pa.array([list(value) if nested and value is not None else value for value in values], kind)
    if values.ndim == 1:
        return pa.array(values, kind)
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1), kind.value_type), kind.list_size)
    return _nested(values, kind)


def _nested(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """An array (B, ...) as lists, the innermost axis first."""
    flat = values.reshape(values.shape[0] * values.shape[1], *values.shape[2:])
    inner = _nested(flat, kind.value_type) if flat.ndim > 1 else pa.array(flat, kind.value_type)
    offsets = np.arange(len(values) + 1, dtype=np.int32) * np.int32(values.shape[1])
    return pa.ListArray.from_arrays(offsets, inner)

"""The way between tables and batches, and the hashes that decide what is made again."""

import io
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artsim.schemas import (
    bucket_of,
    digest64,
    key_of,
    key_strings,
    mix_hashes,
    row_hashes,
    row_seed,
    schema_of,
    to_arrow,
    to_batch,
)
from artsim.tables import ORDER

IDS = ["Genre/artist_title", "Ukiyo-e/葛飾北斎_神奈川沖浪裏", "", "Ö/\N{PILE OF POO}_e\u0301"]
B = len(IDS)
TABLES = ("_listing", *ORDER)


def objects(*values: object) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def full_batch(schema: pa.Schema) -> dict[str, np.ndarray]:
    """A value of each column's kind in every row; the first is as empty as its kind allows."""
    return {field.name: column(field.name, field.type) for field in schema}


def column(name: str, kind: pa.DataType) -> np.ndarray:
    if name == "tokens":
        return np.arange(B * 6, dtype=np.float16).reshape(B, 2, 3) / 7
    if name in ("pooled", "early", "histogram"):
        return np.arange(B * 5, dtype=np.float32).reshape(B, 5) / 7
    if pa.types.is_floating(kind):
        return np.array([0, 0.1, -2.5, np.inf], kind.to_pandas_dtype())
    if pa.types.is_fixed_size_list(kind):
        return np.arange(B * 4, dtype=np.int32).reshape(B, 4)
    if pa.types.is_integer(kind):
        return np.array([0, 1, 2, np.iinfo(kind.to_pandas_dtype()).max], kind.to_pandas_dtype())
    return objects(b"", *(text.encode() for text in IDS[1:])) if pa.types.is_binary(kind) else objects(*IDS)


def through_parquet(table: pa.Table) -> pa.Table:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return pq.read_table(io.BytesIO(buffer.getvalue()))


@pytest.mark.parametrize("name", TABLES)
def test_batches_come_back_from_parquet_as_they_were(name: str) -> None:
    schema = schema_of(name)
    batch = full_batch(schema)
    back = to_batch(through_parquet(to_arrow(batch, schema)))
    assert list(back) == schema.names
    for column_name, values in batch.items():
        assert back[column_name].dtype == values.dtype
        np.testing.assert_array_equal(back[column_name], values)


@pytest.mark.parametrize("name", TABLES)
def test_no_rows_and_missing_values_come_back_as_well(name: str) -> None:
    schema = schema_of(name)
    empty = to_arrow(to_batch(through_parquet(schema.empty_table())), schema)
    assert (empty.schema, len(empty)) == (schema, 0)
    batch = full_batch(schema)
    holed = {name: objects(None, *list(values)[1:]) for name, values in batch.items()}
    table = to_arrow(holed, schema)
    back = to_batch(through_parquet(table))
    for column_name, values in back.items():
        assert values[0] is None
        for got, given in zip(values[1:], list(batch[column_name])[1:], strict=True):
            np.testing.assert_array_equal(got, given)
    assert to_arrow(back, schema).equals(table)
    only_ids = to_arrow({"id": objects("a", "b")}, schema)
    assert [only_ids[column].null_count for column in schema.names if column != "id"] == [2] * (len(schema) - 1)


def test_every_table_has_its_key_columns_first() -> None:
    for name in (*TABLES, "splits/a70", "triplets/b80"):
        assert tuple(schema_of(name).names[: len(key_of(name))]) == key_of(name)


def test_squares_of_other_sizes_are_other_columns() -> None:
    assert schema_of("resized", [96]).names[:3] == ["id", "image_96", "box_96"]


def test_lists_of_differing_length_are_no_array() -> None:
    table = pa.table({"pooled": pa.array([[1.0], [2.0, 3.0, 4.0]], pa.list_(pa.float32()))})
    with pytest.raises(AssertionError, match="differ in length"):
        to_batch(table)


@pytest.mark.parametrize("name", TABLES)
def test_a_row_keeps_its_hash_however_the_table_is_cut(name: str) -> None:
    schema = schema_of(name)
    batch = full_batch(schema)
    holed = {name: objects(*list(values)[:-1], None) for name, values in batch.items()}
    for table in (to_arrow(batch, schema), to_arrow(holed, schema)):
        whole = row_hashes(table)
        assert len(set(whole)) == B
        alone = [table.slice(row, 1) for row in range(B)]
        assert np.concatenate([row_hashes(row) for row in alone]).tolist() == whole.tolist()
        assert row_hashes(pa.concat_tables(alone)).tolist() == whole.tolist()
        assert row_hashes(table.take([2, 0])).tolist() == whole[[2, 0]].tolist()


@pytest.mark.parametrize("name", TABLES)
def test_any_other_value_is_another_hash(name: str) -> None:
    schema = schema_of(name)
    batch = full_batch(schema)
    before = row_hashes(to_arrow(batch, schema))
    for changed in (column for column in schema.names if not column.endswith("_hash")):
        values = batch[changed]
        missing = row_hashes(to_arrow(batch | {changed: objects(None, *list(values)[1:])}, schema))
        assert (missing != before).tolist() == [True, *[False] * (B - 1)], changed
        rolled = row_hashes(to_arrow(batch | {changed: np.roll(values, 1, axis=0)}, schema))
        assert (rolled != before).all(), changed
    same = row_hashes(to_arrow(batch | {"input_hash": np.full(B, 9, np.uint64)}, schema))
    assert same.tolist() == before.tolist()


def test_missing_is_neither_empty_nor_minus_one() -> None:
    for values, kind in ((["", None], pa.string()), ([b"", None], pa.binary()), ([-1, 0, None], pa.int32())):
        assert len(set(row_hashes(pa.table({"x": pa.array(values, kind)})))) == len(values)


def test_values_that_change_places_change_the_hash() -> None:
    there, back = pa.table({"a": ["x"], "b": ["y"]}), pa.table({"a": ["y"], "b": ["x"]})
    assert row_hashes(there)[0] != row_hashes(back)[0]
    one, two = np.array([1], np.uint64), np.array([2], np.uint64)
    assert mix_hashes(one, two)[0] != mix_hashes(two, one)[0]


def test_hashes_are_the_same_in_every_process() -> None:
    code = (
        "import pyarrow as pa\nfrom artsim.schemas import *\n"
        "print(digest64('a', b'b'), bucket_of('é', 256), row_seed(3, 'x', 1, None), row_hashes(pa.table({'a': ['ü']})))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    here = (digest64("a", b"b"), bucket_of("é", 256), row_seed(3, "x", 1, None), row_hashes(pa.table({"a": ["ü"]})))
    assert printed == {(" ".join(map(str, here)) + "\n").encode()}


def test_parts_of_a_digest_do_not_run_into_each_other() -> None:
    assert (
        len({digest64("ab", "c"), digest64("a", "bc"), digest64("abc"), digest64("", "abc"), digest64("abc", "")}) == 5
    )


def test_seeds_are_63_bits_and_depend_on_all_that_is_named() -> None:
    seeds = {row_seed(seed, *what) for seed in range(30) for what in (("a", 1), ("a", 2), ("b", 1), (1, "a"), ("a1",))}
    assert len(seeds) == 150
    assert 0 <= min(seeds) < 2**62 < max(seeds) < 2**63


def test_buckets_are_evenly_filled() -> None:
    counts = Counter(bucket_of(f"Genre/artist_title-{row}", 64) for row in range(12_800))
    assert len(counts) == 64
    chi_square = sum((count - 200) ** 2 / 200 for count in counts.values())
    assert chi_square < 110  # 63 degrees of freedom: more in 1 of 4,000 samples


def test_different_keys_are_different_strings() -> None:
    ids = ["a", "a\x1fmoderate", "a moderate", "", "\x1f", "a\x1fmoderate\x1f1"]
    keys = [(id, level, variant) for id in ids for level in ("moderate", "radical") for variant in (0, 1, 11)]
    columns = [pa.array(values) for values in zip(*keys, strict=True)]
    table = pa.table(dict(zip(key_of("prompts"), columns, strict=True)))
    assert len(set(key_strings(table, key_of("prompts")).to_pylist())) == len(keys)

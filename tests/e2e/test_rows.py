"""Rows: every field type, every kind of key, every way to write and delete, compared one by one."""

import math
import random

import pytest
from pymilvus import DataType, FieldSchema, connections
from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from support.node import key_field, simple_rows, vector_field
from support.oracle import count, rows, wait_same_rows

pytestmark = pytest.mark.every_log

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

HARD_STRINGS = [
    "",
    " ",
    "plain",
    'double "quotes"',
    "single 'quotes'",
    "back\\slash",
    "ends with backslash\\",
    'both \\" at once',
    "new\nline, tab\t, return\r",
    "percent % under _ star *",
    "{braces} [brackets] (parens) $meta",
    "null\\u0000 written out",
    "umlauts äöü, accents éè, ß",
    "中文字符",
    "עברית ו ערבית عربى",
    "emoji 🦀🚀, family 👨‍👩‍👧",
    "combining e\u0301 and zero\u200bwidth",
    "id in [1, 2] or true",
    "a" * 500,
]

SCALARS = [
    FieldSchema("flag", DataType.BOOL),
    FieldSchema("tiny", DataType.INT8),
    FieldSchema("small", DataType.INT16),
    FieldSchema("medium", DataType.INT32),
    FieldSchema("large", DataType.INT64),
    FieldSchema("single", DataType.FLOAT),
    FieldSchema("double", DataType.DOUBLE),
    FieldSchema("text", DataType.VARCHAR, max_length=2000),
    FieldSchema("json", DataType.JSON),
]

ARRAYS = [
    FieldSchema("flags", DataType.ARRAY, element_type=DataType.BOOL, max_capacity=16),
    FieldSchema("tinies", DataType.ARRAY, element_type=DataType.INT8, max_capacity=16),
    FieldSchema("numbers", DataType.ARRAY, element_type=DataType.INT64, max_capacity=16),
    FieldSchema("singles", DataType.ARRAY, element_type=DataType.FLOAT, max_capacity=16),
    FieldSchema("doubles", DataType.ARRAY, element_type=DataType.DOUBLE, max_capacity=16),
    FieldSchema("texts", DataType.ARRAY, element_type=DataType.VARCHAR, max_length=100, max_capacity=16),
]


def every_type_row(key: int) -> dict:
    chance = random.Random(key)
    edge = key % 4
    return {
        "id": key,
        "flag": key % 2 == 0,
        "tiny": (-128, 127, 0, 5)[edge],
        "small": (-(2**15), 2**15 - 1, 0, 300)[edge],
        "medium": (-(2**31), 2**31 - 1, 0, 70_000)[edge],
        "large": (INT64_MIN, INT64_MAX, 0, 2**53 + 1)[edge],
        "single": (-3.4e38, 3.4e38, 1e-40, 0.1)[edge],
        "double": (-1.7e308, 1.7e308, 5e-324, 0.1)[edge],
        "text": HARD_STRINGS[key % len(HARD_STRINGS)],
        "json": [{"nested": {"list": [1, "zwei", None, 3.5]}}, {"large": 2**53 + 1}, {"text": 'q"\\'}, {}][edge],
        "flags": [chance.random() < 0.5 for _ in range(edge)],
        "tinies": [-128, 127][:edge],
        "numbers": [INT64_MIN, INT64_MAX, key][:edge],
        "singles": [chance.random() for _ in range(edge)],
        "doubles": [math.pi * key] * edge,
        "texts": [text[:30] for text in HARD_STRINGS[3 : 3 + edge]],
        "vec": [chance.uniform(-1, 1) for _ in range(8)],
    }


def test_every_field_type(following, source, target, name):
    made = source.create(name, fields=[key_field(), *SCALARS, *ARRAYS, vector_field()])
    made.insert([every_type_row(key) for key in range(200)])
    wait_same_rows(source, target, name, expect=200)


def test_binary_vectors(following, source, target, name):
    made = source.create(name, fields=[key_field(), FieldSchema("bits", DataType.BINARY_VECTOR, dim=64)])
    chance = random.Random(1)
    for first in range(0, 100, 20):
        # Several small calls: binary vectors are one field of bytes, which cannot be merged like the others.
        made.insert([{"id": key, "bits": chance.randbytes(8)} for key in range(first, first + 20)])
    wait_same_rows(source, target, name, expect=100)


def test_smallest_and_largest_integer_keys(following, source, target, name):
    made = source.create(name)
    keys = [INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX]
    made.insert(simple_rows(keys))
    wait_same_rows(source, target, name, expect=len(keys))
    made.upsert([keys, [[9.0] * 8] * len(keys)])
    made.delete(f"id in [{INT64_MAX}, -1]")
    wait_same_rows(source, target, name, expect=len(keys) - 2)


def test_delete_of_the_smallest_integer_key(following, source, target, name):
    made = source.create(name)
    made.insert(simple_rows([INT64_MIN, 1, 2]))
    source.wait_loaded(name)
    # The one way to name it on 2.3.5: everything below its neighbour.
    made.delete(f"id < {INT64_MIN + 1}")
    wait_same_rows(source, target, name, expect=2)


def test_hard_strings_as_keys_and_values(following, source, target, name):
    made = source.create(name, fields=[key_field(kind=DataType.VARCHAR, max_length=2000), vector_field()])
    made.insert([{"id": text, "vec": [float(n)] * 8} for n, text in enumerate(HARD_STRINGS)])
    wait_same_rows(source, target, name, expect=len(HARD_STRINGS))
    made.upsert([HARD_STRINGS, [[100.0 + n] * 8 for n in range(len(HARD_STRINGS))]])
    wait_same_rows(source, target, name, expect=len(HARD_STRINGS))


@pytest.mark.parametrize("number", range(0, len(HARD_STRINGS), 3))
def test_delete_by_hard_string_key(following, source, target, name, number):
    made = source.create(name, fields=[key_field(kind=DataType.VARCHAR, max_length=2000), vector_field()])
    victim = HARD_STRINGS[number]
    made.insert([{"id": text, "vec": [0.0] * 8} for text in HARD_STRINGS])
    quoted = (
        victim.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    )
    made.delete(f'id in ["{quoted}"]')
    wait_same_rows(source, target, name, expect=len(HARD_STRINGS) - 1)
    assert not any(key == victim for key, _ in rows(target, name))


def test_long_list_of_deletes(following, source, target, name):
    made = source.create(name, shards=2)
    for first in range(0, 20_000, 5_000):
        made.insert(simple_rows(range(first, first + 5_000)))
    made.delete(f"id in {list(range(0, 20_000, 2))}")
    wait_same_rows(source, target, name, expect=10_000)


@pytest.mark.parametrize("kind", [DataType.INT64, DataType.VARCHAR], ids=["integer", "string"])
def test_keys_made_by_the_source_are_kept(following, source, target, name, kind):
    made = source.create(name, fields=[key_field(kind=kind, auto_id=True), vector_field()])
    keys = made.insert([{"vec": [float(n)] * 8} for n in range(300)]).primary_keys
    wait_same_rows(source, target, name, expect=300)
    listed = ", ".join(f'"{key}"' if kind == DataType.VARCHAR else str(key) for key in keys[:50])
    made.delete(f"id in [{listed}]")
    wait_same_rows(source, target, name, expect=250)


def test_dynamic_fields(following, source, target, name):
    made = source.create(name, enable_dynamic_field=True)
    extra = [
        {"colour": "red"},
        {"size": 3.5, "tags": ["a", "b"]},
        {"deep": {"er": {"est": None}}},
        {},
        {"text": 'q"\\\n'},
    ]
    made.insert([{**row, **extra[n % 5]} for n, row in enumerate(simple_rows(range(100)))])
    wait_same_rows(source, target, name, expect=100)


def test_partition_of_each_row(following, source, target, name):
    made = source.create(name, shards=2)
    for part in ("a", "b", "c"):
        made.create_partition(part)
    for number, part in enumerate(["_default", "a", "b", "c"]):
        made.insert(simple_rows(range(number * 100, number * 100 + 100)), partition_name=part)
    wait_same_rows(source, target, name, expect=400)
    made.insert(simple_rows(range(1000, 1010)), partition_name="b")
    wait_same_rows(source, target, name, expect=410)


def test_delete_in_one_partition_only(following, source, target, name):
    made = source.create(name)
    made.create_partition("a")
    made.create_partition("b")
    for part in ("a", "b"):
        made.insert(simple_rows(range(10)), partition_name=part)
    made.delete("id in [1, 2, 3]", partition_name="a")
    wait_same_rows(source, target, name, expect=17)
    made.delete("id in [3, 4]")
    wait_same_rows(source, target, name, expect=14)


def test_every_shard(following, source, target, name):
    made = source.create(name, shards=8)
    for first in range(0, 2000, 100):
        made.insert(simple_rows(range(first, first + 100)))
    made.delete("id in [3, 33, 333, 1333]")
    wait_same_rows(source, target, name, expect=1996)


def test_upserts_replace(following, source, target, name):
    made = source.create(name, shards=2)
    made.insert(simple_rows(range(100)))
    made.upsert([list(range(50, 150)), [[7.0] * 8] * 100])
    wait_same_rows(source, target, name, expect=150)


def test_last_write_of_a_key_wins(following, source, target, name):
    made = source.create(name)
    for turn in range(30):
        made.upsert([[1, 2, 3], [[float(turn)] * 8] * 3])
        made.delete("id in [2]")
        if turn % 2:
            made.insert([{"id": 2, "vec": [float(turn)] * 8}])
    wait_same_rows(source, target, name, expect=3)


def test_insert_after_delete_of_the_same_key(following, source, target, name):
    made = source.create(name)
    for turn in range(20):
        made.insert([{"id": 1, "vec": [float(turn)] * 8}])
        made.delete("id in [1]")
    made.insert([{"id": 1, "vec": [99.0] * 8}])
    wait_same_rows(source, target, name, expect=1)


def test_doubles_of_the_source_stay_doubles(following, source, target, name):
    """Milvus does not refuse a second insert of a key; what the source holds twice, the target holds twice."""
    made = source.create(name)
    made.insert(simple_rows(range(10)))
    made.insert(simple_rows(range(10)))
    wait_same_rows(source, target, name, expect=20)


def test_large_and_small_messages(following, source, target, name):
    """An insert that the source itself splits into several messages of its log; and many small ones that can be
    merged."""
    made = source.create(name, dim=1024)
    made.insert(simple_rows(range(3_000), dim=1024))
    for key in range(20_000, 20_100):
        made.insert(simple_rows([key], dim=1024))
    wait_same_rows(source, target, name, expect=3_100, timeout=60)


def test_values_of_64_kb(following, source, target, name):
    text = FieldSchema("text", DataType.VARCHAR, max_length=65535)
    made = source.create(name, fields=[key_field(), text, vector_field()])
    made.insert([{"id": n, "text": "ä" * 30_000 + str(n), "vec": [0.0] * 8} for n in range(100)])
    wait_same_rows(source, target, name, expect=100)


def test_nothing_is_left_to_come(following, source, target, name):
    """Once the task says that it has caught up, the counts are final."""
    made = source.create(name, shards=2)
    for first in range(0, 5000, 500):
        made.insert(simple_rows(range(first, first + 500)))
    following.wait_caught_up()
    target.wait_loaded(name)
    assert count(target, name) == 5000


def test_columns_in_any_order(following, source, target, name):
    """Other clients send columns as their users give them; the server keeps that order. Messages that follow one
    another, and so may become one call to the target, have another order each."""
    numbers = [FieldSchema("age", DataType.INT64), FieldSchema("size", DataType.INT64)]
    made = source.create(name, fields=[key_field(), *numbers, vector_field(dim=2)])
    stub = connections._fetch_handler(source.using())._stub
    for key in range(200):
        columns = [
            long_column("id", key),
            long_column("age", 1000 + key),
            long_column("size", 2000 + key),
            float_column("vec", key),
        ]
        turned = columns[key % 4 :] + columns[: key % 4]
        request = milvus_pb2.InsertRequest(collection_name=name, fields_data=turned, num_rows=1)
        assert stub.Insert(request).status.code == 0
    wait_same_rows(source, target, name, expect=200)
    wanted = {(key, "_default"): (1000 + key, 2000 + key) for key in range(200)}
    assert {key: (row["age"], row["size"]) for key, row in rows(target, name).items()} == wanted
    made.upsert([[5], [0], [1], [[0.0, 1.0]]])
    wait_same_rows(source, target, name, expect=200)


def long_column(name: str, value: int):
    column = schema_pb2.FieldData(type=DataType.INT64, field_name=name)
    column.scalars.long_data.data.append(value)
    return column


def float_column(name: str, value: float):
    column = schema_pb2.FieldData(type=DataType.FLOAT_VECTOR, field_name=name)
    column.vectors.dim = 2
    column.vectors.float_vector.data.extend([value, value])
    return column

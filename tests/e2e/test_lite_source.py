"""Milvus Lite as a source: no log, no ids, no rows in order. What it holds is compared round by round and carried to
every kind of target."""

import random

import pytest
from pymilvus import Collection, DataType, FieldSchema, connections, db, utility
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from support.cdc import scope
from support.load import Load
from support.node import key_field, simple_rows, vector_field
from support.oracle import assert_same_rows, count, wait_same_rows
from support.waiting import wait_until
from test_check import check, problems

pytestmark = pytest.mark.lite

SCAN = {"log": "scan", "scan": {"interval": 1}}


@pytest.fixture(scope="module")
def lites(more_servers):
    """Two servers of each version, by version."""
    return {
        version: [more_servers.lite(f"{version}-{side}", version) for side in "ab"] for version in ("3.2.2", "2.5.1")
    }


@pytest.fixture
def lite3(lites):
    return lites["3.2.2"]


@pytest.fixture
def lite2(lites):
    return lites["2.5.1"]


@pytest.fixture(autouse=True)
def empty(lites):
    """Every test finds all of them running and empty."""
    yield
    for node in [node for pair in lites.values() for node in pair]:
        if not node.server.is_running():
            node.server.start()
        node.wipe()


@pytest.fixture
def follow(make_cdc):
    """A server that scans this source every second, with a task."""

    def follow(source, target, *what, **more):
        cdc = make_cdc(source, source_config=SCAN).start()
        return cdc, cdc.create(target, *what, **more)

    return follow


def new_rows(numbers, mark: float = 0.0) -> list[dict]:
    """Rows for `new_fields`, every other one with nulls."""
    return [
        {
            "key": f"k{number:06}",
            "vec": [float(number), mark] + [0.5] * 6,
            "sparse": {number % 50: 0.5, 100 + number: float(number + 1)},
            "number": None if number % 2 else number,
            "text": None if number % 3 else f"téxt {number}",
            "json": None if number % 2 else {"n": [number, None]},
            "list": None if number % 5 == 1 else list(range(number % 4)),
            "flag": None if number % 7 else True,
            **({} if number % 2 else {"level": number, "more": f"dynamic {number}"}),
        }
        for number in numbers
    ]


def new_fields() -> list[FieldSchema]:
    """What 2.3.5 does not have: nullable fields, default values, sparse vectors, two vectors."""
    return [
        key_field("key", DataType.VARCHAR, max_length=100),
        vector_field(),
        FieldSchema("sparse", DataType.SPARSE_FLOAT_VECTOR),
        FieldSchema("number", DataType.INT64, nullable=True),
        FieldSchema("text", DataType.VARCHAR, max_length=50, nullable=True),
        FieldSchema("json", DataType.JSON, nullable=True),
        FieldSchema("list", DataType.ARRAY, element_type=DataType.INT32, max_capacity=5, nullable=True),
        FieldSchema("flag", DataType.BOOL, nullable=True),
        FieldSchema("level", DataType.INT32, default_value=7),
    ]


def schema_of(node, name, database="default") -> dict:
    """What must be the same on both sides."""
    told = node.describe(name, database)
    return {key: told[key] for key in ("fields", "enable_dynamic_field", "auto_id", "properties", "aliases")}


def truncate(node, name, database) -> None:
    """pymilvus truncates in the default database only."""
    request = milvus_pb2.TruncateCollectionRequest(db_name=database, collection_name=name)
    answer = connections._fetch_handler(node.using(database))._stub.TruncateCollection(request)
    assert answer.status.code == 0, answer


def stub(node):
    return connections._fetch_handler(node.using())._stub


def alter_database(node, database, **properties) -> None:
    pairs = [common_pb2.KeyValuePair(key=key, value=value) for key, value in properties.items()]
    answer = stub(node).AlterDatabase(milvus_pb2.AlterDatabaseRequest(db_name=database, properties=pairs))
    assert answer.code == 0, answer


def database_properties(node, database) -> dict:
    answer = stub(node).DescribeDatabase(milvus_pb2.DescribeDatabaseRequest(db_name=database))
    return {pair.key: pair.value for pair in answer.properties}


def test_lite_3_to_milvus(follow, lite3, target, name):
    """More rows than a page holds, in no order; a partition, an index, changes and deletes."""
    source = lite3[0]
    fields = [key_field(), FieldSchema("text", DataType.VARCHAR, max_length=50), vector_field()]
    made = source.create(name, fields=fields, enable_dynamic_field=True)
    made.create_partition("p1")
    texts = lambda keys, mark=0.0: [
        {**row, "text": f"t{row['id']}", "x": row["id"]} for row in simple_rows(keys, mark=mark)
    ]
    made.insert(texts(range(-1500, 1500)))
    made.insert(texts(range(20_000, 20_500)), partition_name="p1")
    _, task = follow(source, target, scope(name))
    wait_same_rows(source, target, name, expect=3500, timeout=60)
    made.upsert(texts(range(-50, 50), mark=1.0))
    made.delete("id in [1000, 1001, 20001]")
    # One less than the largest, which Milvus 2.3.5 takes and never shows.
    made.insert(texts([-(2**63) + 1, 2**63 - 2]))
    wait_same_rows(source, target, name, expect=3499, timeout=60)
    assert target.indexes(name)["vec"][1]["index_type"] == "FLAT"
    utility.create_alias(name, f"{name}_alias", using=source.using())
    wait_until(lambda: target.aliases(name) == [f"{name}_alias"], 60, "the alias")
    made.release()
    made.drop_partition("p1")
    made.load()
    wait_until(lambda: target.partitions(name) == ["_default"], 60, "the end of p1")
    wait_same_rows(source, target, name, expect=3000, timeout=60)
    found = task.wait_phase("Following")
    assert found["skipped"] == {}, found


def test_what_milvus_cannot_hold_is_held(follow, lite3, target, name):
    source = lite3[0]
    source.create(name, fields=[key_field(), vector_field(), FieldSchema("maybe", DataType.INT64, nullable=True)])
    cdc, task = follow(source, target, scope(name))
    task.wait_reason(f"default.{name}", "maybe", "nullable", "v2.3.5", "2.5.0", phase="Retrying")
    assert not target.has(name)
    task.delete()
    found = problems(check(cdc, target, scope(name)))
    assert any(
        "maybe" in text and "nullable" in text and "2.5.0" in text for text in found
    ), "known before there is a task"


def test_lite_3_to_lite_3(follow, lite3, name):
    """Nullable fields, default values, sparse vectors, a database with a property, an alias, truncation, properties."""
    source, target = lite3
    db.create_database("shop", using=source.using())
    made = source.create(name, "shop", fields=new_fields(), enable_dynamic_field=True)
    made.insert(new_rows(range(2000)))
    _, task = follow(source, target)
    wait_same_rows(source, target, name, "shop", expect=2000)
    utility.create_alias(name, f"{name}_alias", using=source.using("shop"))
    made.set_properties({"collection.ttl.seconds": 86400})
    alter_database(source, "shop", timezone="Asia/Tokyo")
    made.upsert(new_rows(range(1, 100), mark=1.0))
    made.delete('key in ["k000007", "k000008"]')
    wait_same_rows(source, target, name, "shop", expect=1998)
    wait_until(lambda: target.aliases(name, "shop") == source.aliases(name, "shop") != [], 60, "the alias")
    wait_until(lambda: schema_of(source, name, "shop") == schema_of(target, name, "shop"), 60, "the same schema")
    wait_until(lambda: database_properties(target, "shop") == {"timezone": "Asia/Tokyo"}, 60, "the database's property")
    # While somebody reads, a Lite's truncation can fail half done (docs/sources.md).
    task.pause()
    truncate(source, name, "shop")
    task.resume()
    wait_same_rows(source, target, name, "shop", expect=0)
    made.insert(new_rows(range(10)))
    wait_same_rows(source, target, name, "shop", expect=10)
    utility.drop_collection(name, using=source.using("shop"))
    wait_until(lambda: target.collections("shop") == [], 60, "the drop")
    source.disconnect()
    db.drop_database("shop", using=source.using())
    wait_until(lambda: target.databases() == ["default"], 60, "the end of the database")
    assert task.get()["skipped"] == {}


def test_a_name_that_stands_for_another_collection(follow, lite3, name):
    """With another schema the collection is made anew; with the same one its rows come right."""
    source, target = lite3
    source.create(name).insert(simple_rows(range(100)))
    follow(source, target)
    wait_same_rows(source, target, name, expect=100)
    utility.drop_collection(name, using=source.using())
    source.create(name).insert(simple_rows(range(50, 150), mark=2.0))
    wait_same_rows(source, target, name, expect=100)
    utility.drop_collection(name, using=source.using())
    source.create(name, fields=[key_field("other", DataType.VARCHAR), vector_field(4)]).insert(
        [{"other": f"o{number}", "vec": [float(number)] * 4} for number in range(30)]
    )
    wait_same_rows(source, target, name, expect=30)


def test_a_rename_is_a_drop_and_a_new_collection(follow, lite3, name):
    source, target = lite3
    source.create(name).insert(simple_rows(range(100)))
    follow(source, target)
    wait_same_rows(source, target, name, expect=100)
    utility.rename_collection(name, f"{name}_new", using=source.using())
    source.collection(f"{name}_new").load()
    wait_same_rows(source, target, f"{name}_new", expect=100)
    wait_until(lambda: not target.has(name), 60, "the end of the old name")


def test_a_source_that_was_restarted_has_nothing_loaded(follow, lite3, name):
    """The target stays loaded; rows follow again as soon as they can be read."""
    source, target = lite3
    source.create(name).insert(simple_rows(range(100)))
    _, task = follow(source, target, scope(name))
    wait_same_rows(source, target, name, expect=100)
    source.server.restart()
    assert not source.is_loaded(name)
    source.collection(name).insert(simple_rows(range(100, 120)))
    wait_until(lambda: "not loaded" in (task.get().get("reason") or ""), 60, "a reason")
    assert target.is_loaded(name)
    source.collection(name).load()
    wait_same_rows(source, target, name, expect=120)


def bytes_of(number: int, count: int) -> bytes:
    return bytes((number * 31 + index * 7) % 60 for index in range(count))


def vector_rows(numbers, mark: int = 0) -> list[dict]:
    return [
        {
            "id": number,
            "half": bytes_of(number + mark, 16),
            "brain": bytes_of(number + mark + 1, 16),
            "bits": bytes_of(number + mark + 2, 4),
            "sparse": {number % 90: 1.5, 1000 + mark: float(number)},
            "text": f"t{number}",
        }
        for number in numbers
    ]


@pytest.mark.slow
def test_lite_2_to_lite_2(follow, lite2, name):
    """Every kind of vector that a row may hold as one piece of bytes, more rows than fit into one page."""
    source, target = lite2
    fields = [
        key_field(),
        FieldSchema("half", DataType.FLOAT16_VECTOR, dim=8),
        FieldSchema("brain", DataType.BFLOAT16_VECTOR, dim=8),
        FieldSchema("bits", DataType.BINARY_VECTOR, dim=32),
        FieldSchema("sparse", DataType.SPARSE_FLOAT_VECTOR),
        FieldSchema("text", DataType.VARCHAR, max_length=20),
    ]
    made = source.create(name, fields=fields, enable_dynamic_field=True)
    for first in range(0, 17_000, 8500):
        made.insert(vector_rows(range(first, first + 8500)))
    _, task = follow(source, target, scope(name))
    wait_same_rows(source, target, name, expect=17_000, timeout=60)
    made.delete("id in [5, 6, 7]")
    made.upsert(vector_rows(range(100, 200), mark=3))
    made.insert(vector_rows(range(30_000, 30_100)))
    wait_same_rows(source, target, name, expect=17_097, timeout=60)
    assert task.wait_phase("Following")["skipped"] == {}
    utility.drop_collection(name, using=source.using())
    wait_until(lambda: not target.has(name), 60, "the drop")


@pytest.mark.slow
def test_killed_in_the_first_copy_and_in_rounds(follow, lite3, target, name):
    """kill -9 of milvus-cdc and of the source, wherever they are. At first more rows than one answer holds."""
    source = lite3[0]
    made = source.create(name)
    for first in range(1_000_000, 1_017_000, 8500):
        made.insert(simple_rows(range(first, first + 8500)))
    cdc, task = follow(source, target, scope(name))
    wait_until(lambda: target.has(name) and count(target, name) > 0, 60, "the first page", every=0.01)
    cdc.kill9()
    cdc.start()
    wait_same_rows(source, target, name, expect=17_000, timeout=90)
    # What counts is what a whole round has seen, so no round may be under way.
    made.insert(simple_rows(range(2_000_000, 2_000_001)))
    wait_same_rows(source, target, name, expect=17_001, timeout=60)
    task.wait_caught_up()
    task.pause()
    made.delete("id >= 1001000")
    task.resume()
    # Nothing tells that from a source that was emptied: a user decides.
    task.wait_reason("has 1000 rows at the source, and had 17001", timeout=60)
    assert count(target, name) == 17_001
    cdc.ask("resync", task_id=task.id, collection=f"default.{name}")
    wait_same_rows(source, target, name, expect=1000, timeout=90)
    chance = random.Random(11)
    with Load(source, name) as load:
        for _ in range(3):
            load.go_on(2 + chance.randrange(6), 30)
            cdc.kill9()
            cdc.start()
    wait_same_rows(source, target, name, timeout=60)
    source.server.kill()
    source.server.start()
    Collection(name, using=source.using()).load()
    source.collection(name).insert(simple_rows(range(5_000_000, 5_000_010)))
    wait_same_rows(source, target, name, timeout=60)
    task.wait_caught_up()
    assert_same_rows(source, target, name)


def test_killed_between_lites(follow, lite2, name):
    """The same from and to Lite 2.5.1."""
    source, target = lite2
    made = source.create(name)
    made.insert(simple_rows(range(1_000_000, 1_010_000)))
    cdc, _ = follow(source, target, scope(name))
    wait_until(lambda: target.has(name) and count(target, name) > 0, 60, "the first page", every=0.01)
    cdc.kill9()
    cdc.start()
    made.insert(simple_rows(range(100)))
    made.delete("id in [1000001, 1000002]")
    wait_until(lambda: count(target, name) > 10_000, 60, "the round", every=0.01)
    cdc.kill9()
    made.upsert(simple_rows(range(50), mark=4.0))
    cdc.start()
    wait_same_rows(source, target, name, expect=10_098, timeout=90)


def test_collections_without_ids_are_told_apart(follow, lite3, name):
    """Several at once, and a restart of milvus-cdc that must not take one for another."""
    source, target = lite3
    names = [f"{name}_{number}" for number in range(5)]
    for number, one in enumerate(names):
        source.create(one).insert(simple_rows(range(number * 100, number * 100 + 50)))
    cdc, _ = follow(source, target)
    for one in names:
        wait_same_rows(source, target, one, expect=50)
    cdc.terminate()
    utility.drop_collection(names[1], using=source.using())
    source.create(f"{name}_new").insert(simple_rows(range(7)))
    source.collection(names[3]).insert(simple_rows(range(1000, 1010)))
    cdc.start()
    wait_same_rows(source, target, f"{name}_new", expect=7)
    wait_same_rows(source, target, names[3], expect=60)
    wait_until(lambda: not target.has(names[1]), 60, "the drop")
    wait_same_rows(source, target, names[4], expect=50)

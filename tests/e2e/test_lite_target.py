"""Milvus Lite as a target of a Milvus 2.3.5 that is followed by its log: what it can hold arrives, what it cannot is
said."""

import pytest
from pymilvus import DataType, FieldSchema, db, utility

from support.cdc import ApiError, scope
from support.load import Load
from support.node import FLAT, key_field, simple_rows, vector_field
from support.oracle import assert_same_rows, rows, wait_readable, wait_same_rows
from support.waiting import wait_until

pytestmark = pytest.mark.lite


@pytest.fixture(scope="module")
def lite3(more_servers):
    return more_servers.lite("lite3", "3.2.2")


@pytest.fixture(scope="module")
def lite2(more_servers):
    return more_servers.lite("lite2", "2.5.1")


@pytest.fixture(autouse=True)
def empty(lite3, lite2):
    """Every test finds both Lites empty."""
    yield
    for lite in (lite3, lite2):
        lite.wipe()


def all_plain_fields() -> list[FieldSchema]:
    scalars = ("BOOL", "INT8", "INT16", "INT32", "INT64", "FLOAT", "DOUBLE", "JSON")
    return [
        key_field("name", DataType.VARCHAR, max_length=100),
        *(FieldSchema(kind.lower(), DataType[kind]) for kind in scalars),
        FieldSchema("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_length=20, max_capacity=5),
        FieldSchema("numbers", DataType.ARRAY, element_type=DataType.INT64, max_capacity=5),
        vector_field(),
    ]


def plain_rows(numbers, mark: float = 0.0) -> list[dict]:
    return [
        {
            "name": f'näme "{number}"',
            "bool": number % 2 == 0,
            "int8": number % 100 - 50,
            "int16": -number,
            "int32": number * 3,
            "int64": -(2**40) + number,
            "float": number / 4,
            "double": number / 3,
            "json": {"n": number, "deep": {"list": [1, "zwei", None]}},
            "tags": [f"t{number}"] * (number % 4),
            "numbers": list(range(number % 5)),
            "vec": [float(number), mark] + [0.25] * 6,
            "extra": f"dynamic {number}",
        }
        for number in numbers
    ]


def test_everything_that_both_have(cdc, source, lite3, name):
    """Every scalar type, string keys, a dynamic field, partitions, a database, an alias, an index, deletes and
    upserts."""
    db.create_database("shop", using=source.using())
    made = source.create(name, "shop", fields=all_plain_fields(), enable_dynamic_field=True)
    made.create_partition("p1")
    made.insert(plain_rows(range(300)))
    made.insert(plain_rows(range(300, 400)), partition_name="p1")
    task = cdc.create(lite3)
    wait_same_rows(source, lite3, name, "shop", expect=400)
    utility.create_alias(name, f"{name}_alias", using=source.using("shop"))
    made.upsert(plain_rows(range(100, 150), mark=1.0))
    made.delete('name in ["näme \\"3\\"", "näme \\"350\\""]')
    made.create_partition("p2")
    made.insert(plain_rows(range(500, 600)), partition_name="p2")
    wait_same_rows(source, lite3, name, "shop", expect=498)
    wait_until(lambda: lite3.aliases(name, "shop") == [f"{name}_alias"], 60, "the alias")
    assert lite3.indexes(name, "shop")["vec"][1]["index_type"] == "FLAT"
    made.partition("p1").release()
    made.drop_partition("p1")
    wait_until(lambda: "p1" not in lite3.partitions(name, "shop"), 60, "the end of p1")
    wait_same_rows(source, lite3, name, "shop", expect=399)
    assert task.get()["skipped"] == {}


def test_automatic_keys_keep_their_values(cdc, source, lite3, name):
    fields = [key_field(auto_id=True), FieldSchema("tenant", DataType.INT64, is_partition_key=True), vector_field()]
    made = source.create(name, fields=fields, num_partitions=5)
    vectors = [{"tenant": row["id"] % 9, "vec": row["vec"]} for row in simple_rows(range(2000))]
    made.insert(vectors)
    cdc.create(lite3, scope(name))
    wait_same_rows(source, lite3, name, expect=2000)
    assert not lite3.collection(name).schema.auto_id


def test_what_is_gone_at_the_source_goes(cdc, source, lite3, name):
    source.create(name).insert(simple_rows(range(10)))
    renamed = f"{name}_new"
    cdc.create(lite3)
    wait_same_rows(source, lite3, name, expect=10)
    utility.rename_collection(name, renamed, using=source.using())
    source.collection(renamed).insert(simple_rows(range(10, 15)))
    wait_same_rows(source, lite3, renamed, expect=15)
    assert not lite3.has(name)
    utility.drop_collection(renamed, using=source.using())
    wait_until(lambda: lite3.collections() == [], 60, "the drop")
    for turn in range(3):
        source.create(name).insert(simple_rows(range(turn, turn + 5)))
        if turn < 2:
            utility.drop_collection(name, using=source.using())
    wait_same_rows(source, lite3, name, expect=5)


def test_nothing_is_lost_when_either_side_is_killed(cdc, source, lite3, name):
    """The target comes back with nothing loaded: it is loaded again, because the source's is."""
    source.create(name, shards=2)
    cdc.create(lite3, scope(name))
    wait_until(lambda: lite3.has(name), 60, "the collection")
    with Load(source, name, patience=60) as load:
        wait_until(lambda: load.batches > 10, 60, "the load")
        lite3.server.kill()
        wait_until(lambda: load.batches > 20, 60, "the load")
        cdc.kill9()
        lite3.server.start()
        cdc.start()
        wait_until(lambda: load.batches > 30, 60, "the load")
        cdc.kill9()
        cdc.start()
        wait_until(lambda: load.batches > 40, 60, "the load")
    assert load.errors == 0
    wait_until(lambda: lite3.is_loaded(name), 60, "the collection to be loaded again")
    wait_same_rows(source, lite3, name, timeout=60)


@pytest.mark.slow
def test_nothing_is_lost_when_the_target_is_killed(cdc, source, lite3, name):
    """What it had acknowledged is there when it comes back, because it gets one call at a time. (Four at once, and a
    kill lost rows in three of four tries.)"""
    source.create(name, shards=2)
    task = cdc.create(lite3, scope(name))
    wait_until(lambda: lite3.has(name), 60, "the collection")
    with Load(source, name, patience=60) as load:
        for _ in range(3):
            load.go_on(15, 60)
            lite3.server.kill()
            lite3.server.start()
    assert load.errors == 0
    # Two calls that are the first for a collection after a start open it twice: ours must not come beside the task's.
    task.wait_caught_up()
    wait_same_rows(source, lite3, name, timeout=60)


def test_indexes_that_the_target_does_not_have_become_others(cdc, source, lite2, name):
    """Lite 2.5.1 has no HNSW, and a scalar index without a type has another name there."""
    fields = [key_field(), FieldSchema("colour", DataType.VARCHAR, max_length=20), vector_field()]
    made = source.create(name, fields=fields, load=False)
    hnsw = {"index_type": "HNSW", "metric_type": "COSINE", "params": {"M": 12, "efConstruction": 80}}
    made.create_index("vec", hnsw, index_name="by_vector")
    made.create_index("colour", index_name="by_colour")
    made.load()
    made.insert([{**row, "colour": "red"} for row in simple_rows(range(100))])
    task = cdc.create(lite2, scope(name))
    wait_same_rows_of(source, lite2, name, 100)
    wait_until(lambda: set(lite2.indexes(name)) == {"by_vector", "by_colour"}, 60, "both indexes")
    params = lite2.indexes(name)["by_vector"][1]
    assert (params["index_type"], params["metric_type"]) == ("AUTOINDEX", "COSINE")
    found = lite2.collection(name).search([[7.0, 0.0] + [0.5] * 6], "vec", {"metric_type": "COSINE"}, limit=1)
    assert len(found[0]) == 1
    task.wait_skipped({"index type": 1})


def test_lite_2_follows_rows(cdc, source, lite2, name):
    made = source.create(name, fields=all_plain_fields(), enable_dynamic_field=True)
    made.insert(plain_rows(range(300)))
    task = cdc.create(lite2, scope(name))
    wait_same_rows_of(source, lite2, name, 300)
    made.upsert(plain_rows(range(50), mark=2.0))
    made.delete('name in ["näme \\"3\\""]')
    wait_same_rows_of(source, lite2, name, 299)
    task.wait_caught_up()
    assert task.get()["skipped"] == {}


def wait_same_rows_of(source, lite2, name, expect) -> None:
    """Without the partition, which Lite 2.5.1 does not know."""

    def same():
        by_key = [{key: row for (key, _), row in rows(node, name).items()} for node in (source, lite2)]
        assert len(by_key[0]) == expect
        differing = [key for key in by_key[0] if by_key[0][key] != by_key[1].get(key)]
        assert not differing and len(by_key[1]) == expect, f"{differing[:3]}"
        return True

    wait_readable(source, name)
    wait_until(same, 60, f"the same rows of {name} on both sides")


def test_aliases_are_skipped_where_there_are_none(cdc, source, lite2, name):
    made = source.create(name)
    utility.create_alias(name, f"{name}_alias", using=source.using())
    made.insert(simple_rows(range(10)))
    task = cdc.create(lite2, scope(name))
    wait_same_rows_of(source, lite2, name, 10)
    task.wait_skipped({"alias": 1})
    task.wait_phase("Following")


def test_partitions_are_held_where_there_are_none(cdc, source, lite2, name):
    """Rows of a partition could go into the collection, but a dropped partition could not be followed: so it is
    said."""
    made = source.create(name)
    made.create_partition("p1")
    made.insert(simple_rows(range(10)), partition_name="p1")
    task = cdc.create(lite2, scope(name))
    task.wait_reason(f"default.{name}", "partition p1", "Milvus Lite before 3", "ignore_partition", phase="Retrying")
    task.delete()
    lite2.wipe()
    cdc.create(lite2, scope(name), connect={"ignore_partition": True})
    wait_same_rows_of(source, lite2, name, 10)


def test_databases_are_held_where_there_are_none(cdc, source, lite2, name):
    db.create_database("shop", using=source.using())
    source.create(name, "shop").insert(simple_rows(range(10)))
    task = cdc.create(lite2, scope(name, database="shop"))
    task.wait_reason("no databases", "shop", "name_mapping", "Milvus Lite before 3", phase="Retrying")


def test_a_new_name_is_held_where_there_is_no_renaming(cdc, source, lite2, name):
    source.create(name).insert(simple_rows(range(10)))
    task = cdc.create(lite2)
    wait_same_rows_of(source, lite2, name, 10)
    utility.rename_collection(name, f"{name}_new", using=source.using())
    task.wait_reason("cannot rename", f"{name}_new", "Milvus Lite before 3", phase="Retrying")
    assert lite2.collections() == [name]


def test_a_field_that_the_target_cannot_hold(cdc, source, lite3, name):
    fields = [key_field(), FieldSchema("bits", DataType.BINARY_VECTOR, dim=16)]
    source.create(name, fields=fields)
    task = cdc.create(lite3, scope(name))
    task.wait_reason(f"default.{name}", "bits", "BinaryVector", "milvus_lite-3.2.2", phase="Retrying")
    assert not lite3.has(name)


def test_load_of_some_partitions_loads_them_all(cdc, source, lite3, name):
    made = source.create(name, load=False)
    made.create_partition("p1")
    made.create_index("vec", FLAT)
    made.partition("p1").load()
    task = cdc.create(lite3, scope(name))
    wait_until(lambda: lite3.is_loaded(name), 60, "the load")
    task.wait_skipped({"partial load": 1})


def test_the_source_itself_is_no_target(make_cdc, source, lite3, name):
    """Without ids its address tells."""
    lite3.create(name)
    cdc = make_cdc(lite3, source_config={"log": "scan"}).start()
    with pytest.raises(ApiError, match="is the source"):
        cdc.create(lite3, scope(name))


def test_adopted(cdc, source, lite3, name):
    for node in (source, lite3):
        node.create(name).insert(simple_rows(range(100)))
    task = cdc.create(lite3, scope(name))
    source.collection(name).insert(simple_rows(range(100, 110)))
    wait_same_rows(source, lite3, name, expect=110)
    task.wait_caught_up()
    assert_same_rows(source, lite3, name)

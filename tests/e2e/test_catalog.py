"""Databases, collections, partitions, indexes, aliases, properties, load state: what the source has, the target has."""

import threading
import time

from pymilvus import DataType, FieldSchema, connections, db, utility

from support.cdc import scope
from support.network import Relay
from support.node import FLAT, key_field, simple_rows, vector_field
from support.oracle import assert_same_rows, rows, wait_same_rows
from support.waiting import wait_until

# The target keeps the source's keys, so it does not make its own; everything else is the same.
OWN = ("auto_id", "virtual_channels", "physical_channels", "consistency_level_name", "virtual_channel_names")


def comparable(node, name, database="default") -> dict:
    told = {key: value for key, value in node.describe(name, database).items() if key not in OWN}
    fields = [{key: value for key, value in field.items() if key != "auto_id"} for field in told.pop("fields")]
    return {**told, "fields": fields}


def wait_same_catalog(source, target, name, database="default", timeout=60.0) -> None:
    def same():
        assert comparable(source, name, database) == comparable(target, name, database)
        assert source.partitions(name, database) == target.partitions(name, database)
        assert source.indexes(name, database) == target.indexes(name, database)
        return True

    wait_until(same, timeout, f"the same description of {name} on both sides")


def test_collection_with_every_property(following, source, target, name):
    fields = [
        key_field(description="the key"),
        FieldSchema("tenant", DataType.VARCHAR, max_length=77, is_partition_key=True, description="who"),
        FieldSchema("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_length=33, max_capacity=9),
        FieldSchema("score", DataType.DOUBLE),
        vector_field(12),
    ]
    source.create(
        name,
        fields=fields,
        load=False,
        shards=3,
        description="a description, with ümlauts",
        enable_dynamic_field=True,
        num_partitions=7,
        consistency_level="Session",
        properties={"collection.ttl.seconds": "86400"},
    )
    wait_same_catalog(source, target, name)
    assert target.describe(name)["num_shards"] == 3


def test_partition_key_with_80_partitions(following, source, target, name):
    """The count of partitions is carried over; with another one the collection never loads."""
    fields = [key_field(), FieldSchema("tenant", DataType.INT64, is_partition_key=True), vector_field()]
    made = source.create(name, fields=fields, num_partitions=80)
    made.insert([{**row, "tenant": row["id"] % 17} for row in simple_rows(range(500))])
    wait_same_rows(source, target, name, expect=500, timeout=60)
    assert len(target.partitions(name)) == 80


def test_databases(following, source, target):
    db.create_database("shop", using=source.using())
    try:
        wait_until(lambda: "shop" in target.databases(), 60, "the database")
        made = source.create("orders", "shop")
        made.insert(simple_rows(range(50)))
        wait_same_rows(source, target, "orders", "shop", expect=50)
        assert not target.has("orders")
    finally:
        utility.drop_collection("orders", using=source.using("shop"))
        connections.remove_connection(source.using("shop"))
        source.disconnect()
        db.drop_database("shop", using=source.using())
    wait_until(lambda: "shop" not in target.databases(), 60, "the end of the database")


def test_partitions_come_and_go(following, source, target, name):
    made = source.create(name)
    made.create_partition("p1")
    made.create_partition("p2")
    made.insert(simple_rows(range(10)), partition_name="p1")
    made.insert(simple_rows(range(10, 30)), partition_name="p2")
    wait_same_rows(source, target, name, expect=30)
    made.partition("p1").release()
    made.drop_partition("p1")
    wait_until(lambda: target.partitions(name) == ["_default", "p2"], 60, "the end of p1")
    wait_same_rows(source, target, name, expect=20)


def test_indexes_come_and_go(following, source, target, name):
    fields = [key_field(), FieldSchema("colour", DataType.VARCHAR, max_length=20), vector_field()]
    made = source.create(name, fields=fields, load=False)
    hnsw = {"index_type": "HNSW", "metric_type": "COSINE", "params": {"M": 12, "efConstruction": 80}}
    made.create_index("vec", hnsw, index_name="by_vector")
    made.create_index("colour", index_name="by_colour")
    wait_same_catalog(source, target, name)
    assert set(target.indexes(name)) == {"by_vector", "by_colour"}
    made.drop_index(index_name="by_colour")
    made.drop_index(index_name="by_vector")
    made.create_index("vec", FLAT, index_name="by_vector")
    wait_same_catalog(source, target, name)
    assert target.indexes(name)["by_vector"][1]["index_type"] == "FLAT"


def test_aliases_are_made_moved_and_dropped(following, source, target, name):
    first, second, nickname = f"{name}_1", f"{name}_2", f"{name}_alias"
    source.create(first, load=False)
    source.create(second, load=False)

    def aliases(collection):
        return utility.list_aliases(collection, using=target.using())

    utility.create_alias(first, nickname, using=source.using())
    wait_until(lambda: aliases(first) == [nickname], 60, "the alias")
    utility.alter_alias(second, nickname, using=source.using())
    wait_until(lambda: aliases(second) == [nickname] and not aliases(first), 60, "the moved alias")
    utility.drop_alias(nickname, using=source.using())
    wait_until(lambda: not aliases(second), 60, "the end of the alias")
    following.wait_phase("Following")


def test_rename_keeps_rows_and_goes_on(following, source, target, name):
    made = source.create(name)
    made.insert(simple_rows(range(20)))
    wait_same_rows(source, target, name, expect=20)
    renamed = f"{name}_new"
    utility.rename_collection(name, renamed, using=source.using())
    wait_until(lambda: target.has(renamed) and not target.has(name), 60, "the new name, and it alone")
    source.collection(renamed).insert(simple_rows(range(100, 120)))
    wait_same_rows(source, target, renamed, expect=40)


def test_two_names_are_swapped(following, source, target, name):
    first, second, aside = f"{name}_1", f"{name}_2", f"{name}_aside"
    source.create(first).insert(simple_rows(range(5)))
    source.create(second).insert(simple_rows(range(100, 110)))
    wait_same_rows(source, target, second, expect=10)
    wait_same_rows(source, target, first, expect=5)
    for old, new in ((first, aside), (second, first), (aside, second)):
        utility.rename_collection(old, new, using=source.using())
    wait_same_rows(source, target, first, expect=10)
    wait_same_rows(source, target, second, expect=5)
    assert not target.has(aside)


def test_properties_change(following, source, target, name):
    made = source.create(name, load=False)
    wait_same_catalog(source, target, name)
    made.set_properties({"collection.ttl.seconds": 1800})
    wait_same_catalog(source, target, name)
    made.set_properties({"collection.ttl.seconds": 3600})
    wait_same_catalog(source, target, name)
    following.wait_phase("Following")


def test_properties_follow_one_by_one_and_limits_stay_at_the_source(following, source, target, name):
    limits = {"collection.insertRate.max.mb": "1", "collection.diskProtection.diskQuota.mb": "100"}
    made = source.create(name, load=False, properties={"collection.ttl.seconds": "7200", **limits})
    wait_until(lambda: target.has(name), 60, "the collection")
    # Somebody sets one of his own there.
    target.collection(name).set_properties({"users.own": "1"})
    follow = {"collection.ttl.seconds": "1800", "mmap.enabled": "true"}
    made.set_properties({**follow, "collection.deleteRate.max.mb": "1"})
    expected = {**follow, "users.own": "1"}
    wait_until(lambda: target.describe(name)["properties"] == expected, 60, f"the properties {expected}")
    assert {**limits, "collection.deleteRate.max.mb": "1"}.items() <= source.describe(name)["properties"].items()
    following.wait_phase("Following")


def test_load_and_release(following, source, target, name):
    made = source.create(name)
    wait_until(lambda: target.is_loaded(name), 60, "the load")
    made.release()
    wait_until(lambda: not target.is_loaded(name), 60, "the release")
    made.insert(simple_rows(range(10)))
    made.load()
    wait_same_rows(source, target, name, expect=10)


def test_rows_follow_while_released(following, source, target, name):
    made = source.create(name, load=False)
    made.insert(simple_rows(range(10)))
    following.wait_caught_up()
    made.create_index("vec", FLAT)
    made.load()
    wait_same_rows(source, target, name, expect=10)


def test_drop(following, source, target, name):
    source.create(name).insert(simple_rows(range(10)))
    wait_same_rows(source, target, name, expect=10)
    utility.drop_collection(name, using=source.using())
    wait_until(lambda: not target.has(name), 60, "the drop")


def test_drop_and_create_ten_times(following, source, target, name):
    for turn in range(10):
        made = source.create(name, load=turn == 9)
        made.insert(simple_rows(range(turn * 10, turn * 10 + 5), mark=float(turn)))
        if turn < 9:
            utility.drop_collection(name, using=source.using())
    wait_same_rows(source, target, name, expect=5, timeout=60)
    assert {key for key, _ in rows(target, name)} == set(range(90, 95))
    following.wait_caught_up()
    assert_same_rows(source, target, name)


def test_changes_arrive_among_100_collections(following, source, target):
    """`scripts/bench catalog` measures how soon."""
    names = [f"many_{number:03}" for number in range(100)]
    for one in names:
        source.create(one, load=False)
    wait_until(lambda: set(names) <= set(target.collections()), 60, "100 collections")
    following.wait_caught_up()
    for one in names[::20]:
        source.collection(one).create_partition("late")
        wait_until(lambda: "late" in target.partitions(one), 60, "the partition")
    for one in names:
        utility.drop_collection(one, using=source.using())

    def dropped():
        # So many at once are held.
        following.cdc.ask("drops", task_id=following.id, action="confirm")
        return not set(names) & set(target.collections())

    wait_until(dropped, 60, "100 drops")


def test_alias_is_never_missing_while_it_is_moved(following, source, target, name):
    """Blue and green: whoever asks the standby for the alias finds one of the two at any time."""
    idle = [f"{name}_idle{n}" for n in range(20)]
    blue, green, nickname = f"{name}_blue", f"{name}_green", f"{name}_alias"
    for one in [*idle, blue, green]:
        source.create(one, load=False)

    utility.create_alias(blue, nickname, using=source.using())
    wait_until(lambda: target.stands_for(nickname) == blue, 60, "the alias")
    asked, over = [], threading.Event()

    def ask():
        while not over.wait(0.025):
            asked.append(target.stands_for(nickname))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for move in range(8):
            there = green if move % 2 == 0 else blue
            utility.alter_alias(there, nickname, using=source.using())
            wait_until(lambda there=there: asked and asked[-1] == there, 30, f"the alias on {there}")
    finally:
        over.set()
        asking.join()
    missing = [number for number, found in enumerate(asked) if found not in (blue, green)]
    assert not missing, f"missing {len(missing)} times of {len(asked)}"
    utility.drop_alias(nickname, using=source.using())
    wait_until(lambda: target.stands_for(nickname) is None, 60, "the end of the alias")


def test_silence_in_the_middle_of_looks_at_many_collections_hides_no_change(make_cdc, source, target, name):
    """Requests of many descriptions are under way at once; those that are not answered in a second are made again."""
    names = [f"{name}_{number}" for number in range(12)]
    for one in names:
        source.create(one, load=False)
    relay = Relay(source.server.port)
    try:
        task = make_cdc(source, milvus={"uri": relay.uri}).start().create(target, scope(*names))
        wait_until(lambda: set(names) <= set(target.collections()), 60, "the collections")
        task.wait_caught_up()
        for number in range(5):
            # Somewhere in a round's listing, or in what it looks at.
            relay.stall_after(700 + 130 * number)
            wait_until(relay.has_stalled, 30, "the silence")
            time.sleep(1.5)
            utility.create_alias(names[number], f"{name}_alias_{number}", using=source.using())
            relay.flow()
        for number in range(5):
            aliases = [f"{name}_alias_{number}"]
            wait_until(lambda: utility.list_aliases(names[number], using=target.using()) == aliases, 60, "the alias")
        task.wait_phase("Following")
    finally:
        relay.close()

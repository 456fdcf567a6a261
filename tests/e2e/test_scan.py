"""A source without a log: `sourceConfig.log: scan`, between two real servers, every row compared."""

import random

import pytest
from pymilvus import DataType, FieldSchema

from support.cdc import scope
from support.load import Load
from support.node import FLAT, key_field, simple_rows
from support.oracle import LOADING, assert_same_rows, count, rows, wait_same_rows
from support.waiting import wait_until
from test_verify import only, run

# Keys that are difficult for byte order, quoting and the parser of expressions.
TEXTS = [
    "",
    " ",
    "'",
    '"',
    "\\",
    '\\"',
    "\n",
    "\t",
    "%",
    "_",
    "a",
    "A",
    "Z",
    "ä",
    "ﬀ",
    "ｱ",
    "日本",
    "😀",
    "\x7f",
    "a'b\"c\\d",
    "0",
    "-1",
]


@pytest.fixture
def scanning(make_cdc, source):
    """A server that replicates `source` by scanning it every second."""
    return make_cdc(source, source_config={"log": "scan", "scan": {"interval": 1}}).start()


def test_rows_come_change_and_go(scanning, source, target, name):
    made = source.create(name, shards=2)
    made.insert(simple_rows(range(2000)))
    task = scanning.create(target, scope(name))
    wait_same_rows(source, target, name, expect=2000)
    made.upsert([list(range(100)), [[5.0] * 8] * 100])
    made.delete("id in [200, 201, 202]")
    # Without the largest int64: 2.3.5 accepts it, counts it, and shows it to no query.
    made.insert(simple_rows([-5, -(2**63), 2**63 - 2]))
    wait_same_rows(source, target, name, expect=2000)
    found = task.wait_phase("Following")
    assert found["lag_ms"] is not None and found["skipped"] == {}, found
    task.wait_caught_up()


def test_every_kind_of_field(scanning, source, target, name):
    fields = [
        key_field("key", DataType.VARCHAR),
        FieldSchema("flag", DataType.BOOL),
        FieldSchema("small", DataType.INT8),
        FieldSchema("number", DataType.INT32),
        FieldSchema("real", DataType.DOUBLE),
        FieldSchema("json", DataType.JSON),
        FieldSchema("list", DataType.ARRAY, element_type=DataType.INT64, max_capacity=5),
        FieldSchema("bits", DataType.BINARY_VECTOR, dim=16),
    ]
    made = source.create(name, fields=fields, enable_dynamic_field=True)

    def row(key, number):
        more = {"extra": number, "ü": [number]} if number % 2 else {}
        return {
            "key": key,
            "flag": number % 2 == 0,
            "small": -(number % 100),
            "number": number * 1000,
            "real": number / 7,
            "json": {"b": number, "a": [None, "x"]},
            "list": list(range(number % 5)),
            "bits": bytes([number % 256, 255]),
            **more,
        }

    made.insert([row(text, number) for number, text in enumerate(TEXTS)])
    made.insert([row(f"key-{number:05}", number) for number in range(3000)])
    scanning.create(target, scope(name))
    wait_same_rows(source, target, name, expect=3000 + len(TEXTS))
    made.delete('key in ["", "😀"]')
    made.delete('key in ["a", "A"]')
    made.insert([row(f"later-{number}", number) for number in range(50)])
    wait_same_rows(source, target, name, expect=3000 + len(TEXTS) - 4 + 50)


def test_rows_keep_their_partition(scanning, source, target, name):
    made = source.create(name)
    for partition in ("p", "q"):
        made.create_partition(partition)
    made.insert(simple_rows(range(100)), partition_name="p")
    made.insert(simple_rows(range(100, 200)), partition_name="q")
    made.insert(simple_rows(range(200, 300)))
    scanning.create(target, scope(name))
    wait_same_rows(source, target, name, expect=300)
    # Rows move from one partition to the other, both ways.
    made.delete("id in [1, 2, 3]", partition_name="p")
    made.insert(simple_rows([1, 2, 3]), partition_name="q")
    made.delete("id in [101, 102]", partition_name="q")
    made.insert(simple_rows([101, 102]), partition_name="p")
    wait_same_rows(source, target, name, expect=300)
    made.release()
    made.drop_partition("q")
    made.create_partition("q")
    made.load()
    made.insert(simple_rows(range(500, 510)), partition_name="q")
    wait_same_rows(source, target, name, expect=209, timeout=60)


def test_under_load_and_kill_9(scanning, source, target, name):
    """Rounds are killed at arbitrary points; no row is lost, none duplicated."""
    source.create(name, shards=2).insert(simple_rows(range(1_000_000, 1_005_000)))
    task = scanning.create(target, scope(name))
    chance = random.Random(7)
    with Load(source, name) as load:
        wait_until(lambda: target.has(name) and count(target, name) > 0, 60, "the first rows")
        for _ in range(5):
            load.go_on(4 + chance.randrange(6), 30)
            scanning.kill9()
            scanning.start()
    wait_same_rows(source, target, name, timeout=60)
    task.wait_caught_up()
    assert_same_rows(source, target, name)


def test_written_and_gone_again_between_a_kill_and_the_next_round(scanning, source, target, name):
    """The next round finds rows that a killed round may have written, although neither the source nor the file has
    them."""
    made = source.create(name)
    made.insert(simple_rows(range(500)))
    task = scanning.create(target, scope(name))
    wait_same_rows(source, target, name, expect=500)
    made.insert(simple_rows(range(1000, 40_000)))
    made.upsert([list(range(100)), [[9.0] * 8] * 100])
    wait_until(lambda: count(target, name) > 500, 30, "the round to write", every=0.01)
    scanning.kill9()
    made.delete("id >= 1000")
    made.upsert([[row["id"] for row in simple_rows(range(100))], [row["vec"] for row in simple_rows(range(100))]])
    scanning.start()
    # So many at once are not removed before a user says so, whoever has written them.
    task.wait_reason("has 500 rows at the source, and had", timeout=60)
    scanning.ask("resync", task_id=task.id, collection=f"default.{name}")
    wait_same_rows(source, target, name, expect=500, timeout=60)
    task.wait_caught_up()


def test_first_copy_goes_on_where_it_was_killed(make_cdc, source, target, relay, name):
    made = source.create(name)
    for first in range(0, 60_000, 10_000):
        made.insert(simple_rows(range(first, first + 10_000)))
    cdc = make_cdc(source, source_config={"log": "scan", "scan": {"interval": 1}}).start()
    # Several pages: when it stalls, the first ones have been acknowledged.
    relay.stall_after(1_500_000)
    task = cdc.create(target, scope(name), uri=relay.uri)
    wait_until(relay.has_stalled, 60, "the middle of the copy")
    cdc.kill9()
    relay.flow()
    cdc.start()
    wait_same_rows(source, target, name, expect=60_000, timeout=60)
    task.wait_phase("Following")
    copied = [line for line in cdc.log.read_text().splitlines() if "copied 60000 rows" in line]
    written = int(copied[-1].rpartition(": ")[2].split(" ")[0])
    assert written < 60_000, "everything was written again"


def test_collection_that_is_not_loaded_waits_and_says_so(scanning, source, target, name):
    made = source.create(name)
    made.insert(simple_rows(range(50)))
    source.wait_loaded(name)
    made.release()
    other = source.create(f"{name}_other")
    other.insert(simple_rows(range(20)))
    task = scanning.create(target, scope(name, f"{name}_other"))
    wait_same_rows(source, target, f"{name}_other", expect=20)
    task.wait_reason(f"{name} is not loaded")
    made.load()
    wait_same_rows(source, target, name, expect=50, timeout=60)


@pytest.mark.parametrize("prune", [False, True])
def test_adopted_collection(scanning, source, target, name, prune):
    """Rows that both sides have are not written; rows that only the target has are counted and named, or removed on
    request."""
    source.create(name).insert(simple_rows(range(1000)))
    there = target.create(name)
    there.insert(simple_rows(range(500)))
    there.insert(simple_rows(range(500, 600), mark=3.0))
    there.insert(simple_rows(range(5000, 5007)))
    task = scanning.create(target, scope(name), prune=prune)
    if prune:
        wait_same_rows(source, target, name, expect=1000)
        assert wait_until(task.get, 10, "the task")["skipped"] == {}
    else:
        wait_until(lambda: count(target, name) == 1007, 60, "the source's rows beside the others")
        assert wait_until(lambda: task.get()["skipped"], 20, "the count") == {"rows that only the target has": 7}
        assert "5000, 5001" in scanning.log.read_text()
        assert rows(source, name).items() <= rows(target, name).items()
    source.collection(name).delete("id in [1, 2]")
    wait_until(lambda: count(target, name) == (998 if prune else 1005), 30, "the deletes")


def test_catalog_follows_too(scanning, source, target, name):
    task = scanning.create(target, scope("*"))
    task.wait_phase("Following", "CatchingUp", "Connecting", "Copying")
    source.create(f"{name}_a").insert(simple_rows(range(10)))
    wait_same_rows(source, target, f"{name}_a", expect=10)
    source.collection(f"{name}_a").drop()
    wait_until(lambda: not target.has(f"{name}_a"), 30, "the drop")
    source.create(f"{name}_a").insert(simple_rows(range(20, 25)))
    wait_same_rows(source, target, f"{name}_a", expect=5)


def partitioned(source, name):
    """A loaded collection with 100 rows in each of the partitions `p` and `q`."""
    made = source.create(name, load=False)
    made.create_index("vec", FLAT)
    for number, partition in enumerate(("p", "q")):
        made.create_partition(partition)
        made.insert(simple_rows(range(100 * number, 100 * number + 100)), partition_name=partition)
    made.load()
    return made


def test_released_partition_keeps_its_rows(scanning, source, target, name):
    """2.3.5 omits the rows of a released partition from a query of the whole collection, without an error."""
    made = partitioned(source, name)
    task = scanning.create(target, scope(name), connect={"ignore_partition": True})
    wait_until(lambda: count(target, name) == 200, 60, "both partitions' rows")
    made.partition("q").release()
    task.wait_reason(f"the partition q of default.{name} is not loaded at the source")
    made.insert(simple_rows(range(300, 310)), partition_name="p")
    code, result = run(scanning, "verify", task.id)
    found = only(result)
    assert code == 2 and f"the partition q of default.{name} is not loaded at the source" in found["reason"], result
    assert found["extra"] == found["missing"] == 0, result
    assert count(target, name) == 200
    made.partition("q").load()
    wait_until(lambda: count(target, name) == 210, LOADING, "what came meanwhile")
    written = [line for line in scanning.get_text("/metrics").splitlines() if name in line]
    assert written and not [line for line in written if '"Delete"' in line], written


def test_released_partition_waits_alone(scanning, source, target, name):
    """The same with separate partitions on the target: no row is removed, and the reason names the partition."""
    made = partitioned(source, name)
    other = source.create(f"{name}_other")
    task = scanning.create(target, scope(name, other.name))
    wait_same_rows(source, target, name, expect=200)
    made.partition("q").release()
    task.wait_reason(f"the partition q of default.{name} is not loaded at the source")
    other.insert(simple_rows(range(20)))
    wait_same_rows(source, target, other.name, expect=20)
    assert count(target, name) == 200
    made.partition("q").load()
    made.insert(simple_rows(range(300, 310)), partition_name="p")
    wait_same_rows(source, target, name, expect=210, timeout=LOADING)

"""`sourceConfig.log: wal`: a source whose log is read over gRPC (`DumpMessages`, Milvus 2.6.20 and later).

The source is a FAKE (see `support/fake`): no such server is available to these tests. The target is a real Milvus
2.3.5, whose rows are read back through pymilvus and compared with those of the fake.
"""

import json
import urllib.request

import pytest
from pymilvus.grpc_gen import schema_pb2

from support.cdc import scope
from support.fake import FakeMilvus, vectors, wire
from support.fake.milvus import field
from support.fake.rows import Writing, some, wait_same, wait_stopped
from support.node import simple_rows
from support.oracle import rows, wait_same_rows
from support.waiting import wait_until
from test_check import check, problems


def test_inserts_deletes_upserts_and_partitions(wal, fake, target, name):
    fake.create(name, shards=2)
    task = wal.create(target, scope(name))
    fake.insert(name, some(range(100)))
    fake.create_partition(name, "archive")
    fake.insert(name, some(range(100, 120)), partition="archive")
    fake.delete(name, range(0, 100, 10))
    fake.upsert(name, some(range(1, 50, 7), mark=1.0))
    fake.upsert(name, some(range(500, 505), mark=2.0))
    wait_same(fake, target, name, expect=115)
    task.wait_caught_up()
    told = task.get()
    assert told["source_log"]["kind"] == "wal" and "DumpMessages" in told["source_log"]["why"], told
    assert told["skipped"] == {}
    wal.kill9()
    fake.insert(name, some(range(600, 700)))
    fake.delete(name, range(600, 610))
    wal.start()
    wait_same(fake, target, name, expect=205)
    fake.drop(name)
    wait_until(lambda: not target.has(name), 20, "the drop to be carried over")


def test_the_reference_vectors_byte_by_byte(wal, fake, target, name):
    """Unchanged records of Milvus's own library, replicated into a collection that has their ids."""
    made = fake.create(name, dim=2, fields=[field("pk", 5, 100, is_primary_key=True), field("fv", 101, 121, dim=2)])
    fake.create_partition(name, "part_b")
    listed = {
        vector["file"]: vector for vector in json.loads((vectors.folder() / "expected.json").read_text())["vectors"]
    }
    first = listed["05-insert-two-partitions-in-header.pb"]
    assert made.id == first["body"]["collectionID"] and made.partitions["part_b"] == first["body"]["partitionID"]
    for files in (
        ["05-insert-two-partitions-in-header.pb"],
        ["07-insert-autoid-barrier.pb"],
        ["13-delete-int64-all-partitions.pb"],
        ["16-txn-begin.pb", "17-txn-insert-1.pb", "18-txn-insert-2.pb", "19-txn-delete.pb", "20-txn-commit.pb"],
        ["38-manual-flush.pb"],
        ["31-alter-collection-add-field.pb"],
    ):
        fake.told_by(name, files)
    wanted = {}
    inserts = ("05-insert-two-partitions-in-header", "07-insert-autoid-barrier", "17-txn-insert-1", "18-txn-insert-2")
    for file in inserts:
        vector = listed[f"{file}.pb"]
        keys, values = (column["rows"] for column in vector["columns"])
        partition = vector["body"]["partition_name"]
        wanted.update({(key, partition): {"pk": key, "fv": [float(v) for v in row]} for key, row in zip(keys, values)})
    wal.create(target, scope(name))
    # The oracle asks by the key's name, whatever it is.
    found = wait_until(lambda: same_keys(rows(target, name), wanted), 40, "the vectors' rows")
    assert found == wanted


def same_keys(found: dict, wanted: dict) -> dict:
    assert found.keys() == wanted.keys(), f"{sorted(found)} instead of {sorted(wanted)}"
    return found


def test_rows_from_before_the_log(wal, fake, target, name):
    """The log lacks the collection's creation: its rows are copied, and the log from `FlushAll` on is replayed."""
    fake.create(name, shards=2, logged=False)
    fake.insert(name, some(range(300)))
    fake.cut_log()
    with Writing(fake, name, first=1000) as writing:
        wal.create(target, scope(name))
        wait_until(lambda: writing.steps > 40, 30, "the load")
    wait_same(fake, target, name, timeout=60)
    assert fake.calls["FlushAll"] == 1


@pytest.mark.parametrize("kill", [False, True])
def test_truncate_waits_for_all_shards(wal, fake, target, name, kill):
    fake.create(name, shards=2)
    task = wal.create(target, scope(name))
    fake.insert(name, some(range(200)))
    wait_same(fake, target, name, expect=200)

    def between():
        """The first shard is truncated, the second is not; rows come on both."""
        fake.insert(name, some(range(1000, 1040)))
        if kill:
            # The first shard waits for the second, and nothing later is acknowledged.
            wait_until(lambda: task.lag_ms() > 1500, 30, "the task to wait")
            wal.kill9()
            wal.start()

    fake.truncate(name, between)
    fake.insert(name, some(range(2000, 2010)))
    # Of the rows between, those of the first shard stay.
    wait_same(fake, target, name, expect=30)
    if kill:
        wal.kill9()
        wal.start()
    fake.upsert(name, some(range(2000, 2020), mark=1.0))
    fake.truncate(name)
    fake.insert(name, some(range(5)))
    wait_same(fake, target, name, expect=5)
    assert task.get()["skipped"] == {}


def test_a_truncation_seen_in_part_is_compared(wal, fake, target, name):
    """One shard's message is lost with the log."""
    fake.create(name, shards=2)
    task = wal.create(target, scope(name))
    fake.insert(name, some(range(100)))
    wait_same(fake, target, name, expect=100)
    task.wait_caught_up()
    task.pause()
    fake.truncate(name, fake.cut_log)
    fake.insert(name, some(range(500, 510)))
    task.resume()
    wait_same(fake, target, name, expect=10, timeout=60)


def test_imports_and_encrypted_rows_are_named(wal, fake, target, name):
    fake.create(name, shards=2)
    task = wal.create(target, scope(name))
    fake.insert(name, some(range(10)))
    wait_same(fake, target, name, expect=10)
    fake.tell(name, "35-import.pb")
    fake.tell(name, "69-insert-encrypted.pb")
    fake.tell(name, "70-delete-encrypted.pb")
    fake.tell(name, "38-manual-flush.pb")
    fake.insert(name, some(range(10, 20)))
    told = task.wait_reason(f"default.{name}", "bulk import (1)", "encrypted rows (2)", "encrypted deletes (2)")
    assert told["skipped"] == {"bulk import": 1, "encrypted rows": 2, "encrypted deletes": 2}
    wait_same(fake, target, name, expect=20)
    counted = urllib.request.urlopen(f"http://127.0.0.1:{wal.port}/metrics").read().decode()
    assert f'milvus_cdc_ignored_messages_total{{task_id="{task.id}",type="ManualFlush"}} 2' in counted
    # Messages that are read again after a kill are counted again; the pause writes a checkpoint after all of them.
    task.pause()
    wal.kill9()
    wal.start()
    task.resume()
    told = task.wait_reason("bulk import (1)")
    assert told["skipped"] == {"bulk import": 1, "encrypted rows": 2, "encrypted deletes": 2}
    task.wait_phase("Following")


def test_a_delete_by_condition_is_compared(wal, fake, target, name):
    made = fake.create(name)
    task = wal.create(target, scope(name))
    fake.insert(name, some(range(10)))
    wait_same(fake, target, name, expect=10)
    with fake.lock:
        for key in (3, 4):
            del made.rows[key, "_default"]
        fake.tell(name, "v3-05-delete-predicate.pb")
    wait_same(fake, target, name, expect=8, timeout=60)
    assert task.get()["skipped"] == {"delete by a condition, copied again": 1}


@pytest.mark.parametrize("kind, what", [("nullable", "a nullable field"), ("float16", "a float16 vector")])
def test_a_target_that_cannot_hold_a_field(wal, fake, target, name, kind, what):
    odd = {
        "nullable": wire.encode((1, 102), (2, "odd"), (5, 5), (15, 1)),
        "float16": wire.encode((1, 102), (2, "odd"), (5, 102), (6, wire.encode((1, "dim"), (2, "4")))),
    }[kind]
    fields = [field("id", 5, 100, is_primary_key=True), field("vec", 101, 101, dim=4), odd]
    fake.create(name, fields=fields)
    task = wal.create(target, scope(name))
    task.wait_reason("held", '"odd"', what, "2.3.5", name)
    assert not target.has(name)


def test_a_field_that_the_target_cannot_be_given(wal, fake, target, name):
    """2.3.5 has no nullable fields and would ignore the attribute silently. Targets that can add fields:
    `test_lite_added_fields.py`."""
    fake.create(name)
    task = wal.create(target, scope(name))
    fake.insert(name, some(range(10)))
    wait_same(fake, target, name, expect=10)
    odd = schema_pb2.FieldSchema.FromString(wire.encode((1, 102), (2, "odd"), (5, 21), (15, 1)))
    fake.add_field(name, odd)
    task.wait_reason("held", '"odd"', "a nullable field", "2.3.5", name)


def test_rows_in_namespaces_are_held(wal, fake, target, name):
    """A target would lose the namespace or refuse the rows."""
    fields = [field("id", 5, 100, is_primary_key=True), field("vec", 101, 101, dim=4), field("$namespace_id", 21, 102)]
    fake.create(name, fields=fields)
    task = wal.create(target, scope(name))
    task.wait_reason("held", "namespaces", name)
    assert not target.has(name)


@pytest.mark.parametrize(
    "version, has_dump, words",
    [
        ("v2.6.19", True, ["2.6.19", "2.6.20"]),
        ("2.6.22", False, ["DumpMessages"]),
        ("unknown", True, ["unknown", "2.6.20"]),
    ],
)
def test_older_sources_are_refused(follow, target, name, version, has_dump, words):
    fake = FakeMilvus(version=version, has_dump=has_dump).start()
    try:
        fake.create(name)
        task = follow(fake).create(target, scope(name))
        wait_stopped(task, *words)
    finally:
        fake.stop()


def test_a_source_that_sends_empty_transactions_is_refused(wal, fake, target, name):
    fake.create(name)
    task = wal.create(target, scope(name))
    fake.tell(name, "21-txn-opaque-999.pb")
    wait_stopped(task, "2.6.20")


def test_auto_finds_the_log_and_says_why(follow, fake, target, name):
    fake.create(name)
    cdc = follow(fake, log="auto")
    task = cdc.create(target, scope(name))
    fake.insert(name, some(range(10)))
    wait_same(fake, target, name, expect=10)
    told = task.get()["source_log"]
    assert told["kind"] == "wal", told
    assert "sourceConfig.rocksmq.path is not set" in told["why"] and "2.6.20" in told["why"], told
    assert told["why"] in cdc.log.read_text()


def test_auto_scans_a_source_without_a_log_in_reach(make_cdc, source, target, name):
    """The source is a real 2.3.5 whose data folder is not configured."""
    source.create(name).insert(simple_rows(range(10)))
    task = make_cdc(source, log={"log": "auto"}).start().create(target, scope(name))
    wait_same_rows(source, target, name, expect=10, timeout=60)
    told = task.get()["source_log"]
    assert told["kind"] == "scan", told
    for words in ("sourceConfig.rocksmq.path is not set", "sourceConfig.kafka.address is not set", "2.3.5", "2.6.20"):
        assert words in told["why"], told


def test_check_of_a_source_that_tells_of_its_log(wal, fake, target, name):
    fake.create(name, shards=2)
    fake.insert(name, some(range(10)))
    report = check(wal, target, scope(name))
    assert not problems(report), report
    told = {finding["about"]: finding["text"] for finding in report["findings"]}
    assert "`wal` can be read" in told["log"] and "DumpMessages" in told["log"], told
    assert "everything since the collections were created" in told["retention"], told


def test_check_of_a_source_that_is_scanned(make_cdc, source, target, name):
    """The source is a real 2.3.5."""
    source.create(name).insert(simple_rows(range(10)))
    scanning = make_cdc(source, log={"log": "scan"}).start()
    report = check(scanning, target, scope(name))
    assert report["ok"], report
    told = {finding["about"]: finding["text"] for finding in report["findings"]}
    assert "`scan` can be read" in told["log"] and "no log is read" in told["retention"], told

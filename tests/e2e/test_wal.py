"""`sourceConfig.log: wal`: a source that tells of its log over gRPC (`DumpMessages`, Milvus 2.6.20 and later).

The source is a FAKE (see `support/fake`): no such server can be had here. The target is a real Milvus 2.3.5, and its rows are read back
through pymilvus and compared with what the fake holds.
"""

import json
import random
import threading

import pytest

from support.cdc import scope
from support.fake import FakeMilvus, vectors
from support.fake.milvus import field
from support.oracle import count, differences, rows
from support.waiting import wait_until


@pytest.fixture
def fake():
    fake = FakeMilvus().start()
    yield fake
    fake.stop()
    assert not fake.strange_ids, f"ids were asked for that were never given: {fake.strange_ids}"


@pytest.fixture
def wal(make_cdc, fake):
    return follow(make_cdc, fake)


def follow(make_cdc, fake, log="wal"):
    """A started server that follows the fake."""
    return make_cdc(fake, sourceConfig={"milvus": {"uri": fake.uri, "connectTimeout": 2}, "log": log}).start()


def vec(key: int, mark: float = 0.0) -> list[float]:
    return [float(key % 1000), mark, 0.5, -1.0]


def some(keys, mark: float = 0.0) -> dict:
    return {key: vec(key, mark) for key in keys}


def assert_same(fake, target, name: str) -> int:
    wanted = fake.rows(name)
    there = count(target, name)
    assert there == len(wanted), f"{name}: {len(wanted)} rows at the source, {there} at the target"
    lines = differences(wanted, rows(target, name))
    assert not lines, "\n".join(lines)
    return there


def wait_same(fake, target, name: str, expect: int | None = None, timeout: float = 40.0) -> None:
    def same():
        found = assert_same(fake, target, name)
        assert expect is None or found == expect, f"{found} rows, {expect} are expected"
        return True

    wait_until(same, timeout, f"the same rows of {name} on both sides", every=0.2)


def wait_stopped(task, *words: str, timeout: float = 40.0) -> str:
    """Waits until the task has stopped itself with a reason that holds these words."""

    def stopped():
        told = task.get()
        assert told["state"] == "Paused" and told["phase"] == "Stopped", f"{told['phase']}: {told.get('reason')}"
        missing = [word for word in words if word not in told["reason"]]
        assert not missing, f"{missing} not in {told['reason']!r}"
        return told["reason"]

    return wait_until(stopped, timeout, f"the task to stop, naming {words}")


def wait_reason(task, *words: str, timeout: float = 40.0) -> dict:
    def told():
        now = task.get()
        missing = [word for word in words if word not in now.get("reason", "")]
        assert not missing, f"{missing} not in {now.get('reason')!r}"
        return now

    return wait_until(told, timeout, f"a reason with {words}")


class Writing:
    """Writes of all kinds at the fake, from a thread of their own."""

    def __init__(self, fake, name: str, seed: int = 1, first: int = 1):
        self.steps = 0
        self._fake, self._name, self._random = fake, name, random.Random(seed)
        self._first = self._next = first
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writing", daemon=True)

    def __enter__(self) -> "Writing":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.is_set():
            new = range(self._next, self._next + 20)
            self._next += 20
            self._fake.insert(self._name, some(new))
            old = self._random.sample(range(self._first, self._next), 8)
            self._fake.delete(self._name, old[::2])
            self._fake.upsert(self._name, some(old[1::2], mark=float(self.steps)))
            self.steps += 1
            self._stop.wait(0.03)


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
    """Records that Milvus's own library made, contents and all, into a collection that has their ids."""
    made = fake.create(name, dim=2, fields=[field("pk", 5, 100, is_primary_key=True), field("fv", 101, 121, dim=2)])
    fake.create_partition(name, "part_b")
    listed = {vector["file"]: vector for vector in json.loads((vectors.folder() / "expected.json").read_text())["vectors"]}
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
    for file in ("05-insert-two-partitions-in-header.pb", "07-insert-autoid-barrier.pb", "17-txn-insert-1.pb", "18-txn-insert-2.pb"):
        vector = listed[file]
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


@pytest.mark.limit(180)
def test_kill_9_under_load(wal, fake, target, name):
    fake.create(name, shards=2)
    wal.create(target, scope(name))
    chance = random.Random()
    with Writing(fake, name) as writing:
        for _ in range(8):
            seen, wanted = writing.steps, chance.randrange(2, 20)
            wait_until(lambda: writing.steps >= seen + wanted, 30, "the load", every=chance.uniform(0.001, 0.03))
            wal.kill9()
            wal.start()
    wait_same(fake, target, name, timeout=60)


@pytest.mark.limit(180)
@pytest.mark.parametrize("fault", ["cut", "away", "restart", "early end", "repeat", "delay", "wrong id"])
def test_no_row_lost_and_none_doubled(wal, fake, target, name, fault):
    """A fault that comes and goes under load, with a kill -9 in the middle of it."""
    fake.create(name, shards=2)
    task = wal.create(target, scope(name))
    with Writing(fake, name) as writing:
        wait_until(lambda: writing.steps > 15 and target.has(name), 30, "the load")
        break_it(fake, fault)
        if fault in ("cut", "away", "wrong id"):
            wait_until(lambda: task.get()["phase"] == "Retrying" and task.get()["reason"], 30, "the task to say so")
        seen = writing.steps
        wait_until(lambda: writing.steps > seen + 25, 30, "the load")
        wal.kill9()
        wal.start()
        seen = writing.steps
        wait_until(lambda: writing.steps > seen + 10, 30, "the load")
        mend(fake)
        seen = writing.steps
        wait_until(lambda: writing.steps > seen + 10, 30, "the load")
    wait_same(fake, target, name, timeout=60)
    task.wait_phase("Following")
    assert "gap" not in str(task.get()["skipped"]), "a passing fault was taken for a gap"


def break_it(fake, fault: str) -> None:
    faults = fake.faults
    if fault == "cut":
        # Within transactions, too.
        faults.break_after = 7
    elif fault == "away":
        faults.unavailable = True
    elif fault == "restart":
        fake.restart()
    elif fault == "early end":
        faults.early_end = True
        for _ in range(5):
            fake.restart()
    elif fault == "repeat":
        faults.repeat = True
        fake.restart()
    elif fault == "delay":
        # One channel's messages come behind the other's, which are later.
        faults.delayed[next(iter(fake.channels))] = 2.0
    elif fault == "wrong id":
        faults.wrong_ids = True


def mend(fake) -> None:
    faults = fake.faults
    faults.break_after, faults.unavailable, faults.repeat, faults.wrong_ids = None, False, False, False
    faults.early_end = False
    faults.delayed.clear()
    faults.hung.clear()


@pytest.mark.limit(180)
def test_a_stream_that_hangs_is_noticed(wal, fake, target, name):
    fake.create(name)
    task = wal.create(target, scope(name))
    fake.insert(name, some(range(10)))
    wait_same(fake, target, name, expect=10)
    fake.faults.hung.add(next(iter(fake.channels)))
    fake.insert(name, some(range(10, 20)))
    wait_reason(task, "DumpMessages has said nothing for", timeout=60)
    assert task.get()["phase"] == "Retrying"
    mend(fake)
    wait_same(fake, target, name, expect=20, timeout=60)
    task.wait_phase("Following")


@pytest.mark.limit(180)
def test_a_message_that_comes_late_is_not_passed_over(wal, fake, target, name):
    fake.create(name)
    task = wal.create(target, scope(name))
    fake.insert(name, some(range(10)))
    wait_same(fake, target, name, expect=10)
    fake.insert_pair(name, some(range(20, 30)), some(range(30, 40)))
    wait_same(fake, target, name, expect=30)
    assert "gap" not in str(task.get()["skipped"]), "ids out of order are no gap"
    fake.faults.swaps = 1
    fake.insert_pair(name, some(range(50, 60)), some(range(60, 70)))
    wait_same(fake, target, name, expect=50, timeout=60)
    assert task.get()["skipped"] == {"gap in the log, copied again": 1}


@pytest.mark.limit(180)
@pytest.mark.parametrize("how", ["pause", "kill"])
def test_a_gap_is_copied_again(wal, fake, target, name, how):
    fake.create(name, shards=2)
    task = wal.create(target, scope(name))
    fake.insert(name, some(range(200)))
    wait_same(fake, target, name, expect=200)
    task.wait_caught_up()
    if how == "pause":
        task.pause()
    else:
        wal.kill9()
    fake.insert(name, some(range(300, 340)))
    fake.delete(name, range(50))
    fake.upsert(name, some(range(100, 110), mark=3.0))
    fake.cut_log()
    if how == "pause":
        task.resume()
    else:
        wal.start()
    wait_same(fake, target, name, expect=190, timeout=60)
    assert "gap in the log, copied again" in task.get()["skipped"]
    fake.insert(name, some(range(400, 410)))
    wait_same(fake, target, name, expect=200)


@pytest.mark.limit(120)
def test_an_idle_log_is_no_gap(wal, fake, target, name):
    fake.create(name)
    task = wal.create(target, scope(name))
    fake.insert(name, some(range(10)))
    wait_same(fake, target, name, expect=10)
    for _ in range(3):
        task.wait_caught_up()
        wal.kill9()
        wal.start()
    task.wait_caught_up()
    assert task.get()["skipped"] == {}


@pytest.mark.limit(120)
def test_rows_from_before_the_log(wal, fake, target, name):
    """The log does not have the collection's beginning: a copy, and the log from `FlushAll` on over it."""
    fake.create(name, shards=2, logged=False)
    fake.insert(name, some(range(300)))
    fake.cut_log()
    with Writing(fake, name, first=1000) as writing:
        wal.create(target, scope(name))
        wait_until(lambda: writing.steps > 40, 30, "the load")
    wait_same(fake, target, name, timeout=60)
    assert fake.calls["FlushAll"] == 1


@pytest.mark.limit(180)
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
            # The first shard waits for the second, and nothing behind it is acknowledged.
            wait_until(lambda: task.get()["lag_ms"] > 1500, 30, "the task to wait")
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
    fake.insert(name, some(range(10, 20)))
    told = wait_reason(task, f"default.{name}", "bulk import (1)", "encrypted rows (2)", "encrypted deletes (2)")
    assert told["skipped"] == {"bulk import": 1, "encrypted rows": 2, "encrypted deletes": 2}
    wait_same(fake, target, name, expect=20)
    wal.kill9()
    wal.start()
    told = wait_reason(task, "bulk import (1)")
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


@pytest.mark.limit(180)
def test_an_enormous_message(wal, fake, target, name):
    """70 MB in one record: more than gRPC takes unless told, and more than the target takes in one call."""
    fake.create(name, dim=2000)
    wal.create(target, scope(name))
    fake.insert(name, {key: [float(key % 97)] * 2000 for key in range(9000)})
    fake.insert(name, {key: [0.5] * 2000 for key in range(9000, 9010)})
    wait_until(lambda: count(target, name) == 9010, 90, "all rows", every=0.5)
    # In parts, as the target answers no more than it takes.
    for first in range(0, 9010, 3000):
        wanted = {key: list(vec) for (key, _), vec in fake.collections[name].rows.items() if first <= key < first + 3000}
        found = target.collection(name).query(f"{first} <= id < {first + 3000}", output_fields=["vec"], limit=3000)
        assert {row["id"]: [float(value) for value in row["vec"]] for row in found} == wanted


@pytest.mark.parametrize("kind, what", [("nullable", "a nullable field"), ("float16", "a float16 vector")])
def test_a_target_that_cannot_hold_a_field(wal, fake, target, name, kind, what):
    from support.fake import wire

    odd = {
        "nullable": wire.encode((1, 102), (2, "odd"), (5, 5), (15, 1)),
        "float16": wire.encode((1, 102), (2, "odd"), (5, 102), (6, wire.encode((1, "dim"), (2, "4")))),
    }[kind]
    fields = [field("id", 5, 100, is_primary_key=True), field("vec", 101, 101, dim=4), odd]
    fake.create(name, fields=fields)
    task = wal.create(target, scope(name))
    wait_stopped(task, '"odd"', what, "2.3.5", name)
    assert not target.has(name)


@pytest.mark.parametrize("version, has_dump, words", [("v2.6.19", True, ["2.6.19", "2.6.20"]), ("v2.6.22", False, ["DumpMessages"])])
def test_older_sources_are_refused(make_cdc, target, name, version, has_dump, words):
    fake = FakeMilvus(version=version, has_dump=has_dump).start()
    try:
        fake.create(name)
        task = follow(make_cdc, fake).create(target, scope(name))
        wait_stopped(task, *words)
    finally:
        fake.stop()


def test_a_source_that_sends_empty_transactions_is_refused(wal, fake, target, name):
    fake.create(name)
    task = wal.create(target, scope(name))
    fake.tell(name, "21-txn-opaque-999.pb")
    wait_stopped(task, "2.6.20")


def test_auto_finds_the_log_and_says_why(make_cdc, fake, target, name):
    fake.create(name)
    cdc = follow(make_cdc, fake, log="auto")
    task = cdc.create(target, scope(name))
    fake.insert(name, some(range(10)))
    wait_same(fake, target, name, expect=10)
    told = task.get()["source_log"]
    assert told["kind"] == "wal", told
    assert "sourceConfig.rocksmq.path is not set" in told["why"] and "2.6.22" in told["why"], told
    assert told["why"] in cdc.log.read_text()


def test_auto_waits_for_a_source_that_is_away(make_cdc, fake, target, name):
    """A source that does not answer says nothing about what it has."""
    fake.create(name)
    fake.insert(name, some(range(10)))
    fake.stop()
    task = follow(make_cdc, fake, log="auto").create(target, scope(name))
    task.wait_phase("Retrying")
    fake.start()
    wait_same(fake, target, name, expect=10)

"""Faults of a source whose log is read over gRPC: no row is lost, none duplicated, and the task reports the cause.

The source is a FAKE (see `support/fake`): no such server is available to these tests. The target is a real Milvus
2.3.5, whose rows are read back through pymilvus and compared with those of the fake.
"""

import random

import pytest

from support.cdc import scope
from support.fake.backup import Backup
from support.fake.rows import Writing, some, standing_still, wait_same
from support.oracle import count, rows
from support.waiting import wait_until


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


@pytest.mark.parametrize("fault", ["cut", "away", "restart", "early end", "repeat", "delay", "wrong id"])
def test_no_row_lost_and_none_doubled(wal, fake, target, name, fault):
    """A temporary fault under load, with a kill -9 in the middle."""
    fake.create(name, shards=2)
    task = wal.create(target, scope(name))
    with Writing(fake, name) as writing:
        wait_until(lambda: writing.steps > 15 and target.has(name), 30, "the load")
        break_it(fake, fault)
        if fault in ("cut", "away", "wrong id"):
            task.wait_reason(phase="Retrying")
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
        # Inside transactions as well.
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
        # Messages of one channel arrive after later ones of the other.
        faults.delayed[next(iter(fake.channels))] = 2.0
    elif fault == "wrong id":
        faults.wrong_ids = True


def mend(fake) -> None:
    faults = fake.faults
    faults.break_after, faults.unavailable, faults.repeat, faults.wrong_ids = None, False, False, False
    faults.early_end = False
    faults.delayed.clear()
    faults.hung.clear()


def test_a_stream_that_hangs_is_noticed(wal, fake, target, name):
    fake.create(name)
    task = wal.create(target, scope(name))
    fake.insert(name, some(range(10)))
    wait_same(fake, target, name, expect=10)
    fake.faults.hung.add(next(iter(fake.channels)))
    fake.insert(name, some(range(10, 20)))
    task.wait_reason("DumpMessages has said nothing for", phase="Retrying")
    mend(fake)
    wait_same(fake, target, name, expect=20, timeout=60)
    task.wait_phase("Following")


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


@pytest.mark.parametrize("how", ["pause", "kill"])
def test_a_gap_is_copied_again(wal, fake, target, name, how):
    fake.create(name, shards=2)
    task = wal.create(target, scope(name))
    fake.insert(name, some(range(200)))
    wait_same(fake, target, name, expect=200)
    task.wait_caught_up()
    with standing_still(wal, task, how):
        fake.insert(name, some(range(300, 340)))
        fake.delete(name, range(50))
        fake.upsert(name, some(range(100, 110), mark=3.0))
        fake.cut_log()
    wait_same(fake, target, name, expect=190, timeout=60)
    assert "gap in the log, copied again" in task.get()["skipped"]
    fake.insert(name, some(range(400, 410)))
    wait_same(fake, target, name, expect=200)


@pytest.mark.parametrize("how", ["running", "kill"])
def test_a_source_restored_to_an_earlier_time(wal, fake, target, name, how):
    """What it lost since stays on the standby, and everything else follows. (No real server of this version can be put
    back to an earlier state here.)"""
    changed, lost = f"{name}_a", f"{name}_b"
    fake.create(changed)
    task = wal.create(target, scope("*"))
    fake.insert(changed, some(range(20)))
    wait_same(fake, target, changed, expect=20)
    backup = Backup(fake)
    fake.create(lost)
    fake.insert(lost, some(range(5)))
    fake.insert(changed, some(range(20, 30)))
    fake.delete(changed, [1, 2])
    wait_same(fake, target, changed, expect=28)
    wait_same(fake, target, lost, expect=5)
    task.wait_caught_up()
    if how == "kill":
        wal.kill9()
    backup.restore()
    if how == "kill":
        wal.start()
    task.wait_reason("the source was restored to an earlier time", "drops are held", f"default.{lost}", timeout=60)
    fake.insert(changed, some(range(100, 103)))
    wanted = {**fake.rows(changed)}

    def all_of_both():
        there = rows(target, changed)
        return len(there) == 33 and wanted.keys() <= there.keys()

    wait_until(all_of_both, 60, "the source's 23 rows and the 10 that it has lost")
    assert count(target, lost) == 5
    assert task.get()["skipped"].get("source restored to an earlier time, compared") == 2, task.get()["skipped"]


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


def test_an_idle_channel_is_given_a_message(wal, fake, target, name):
    """After half a day without messages: the last one may soon be deleted, and a restart could not tell whether others
    were deleted, too."""
    fake.create(name)
    task = wal.create(target, scope(name))
    fake.insert(name, some(range(10)))
    wait_same(fake, target, name, expect=10)
    task.wait_caught_up()
    before = fake.calls["FlushAll"]
    fake.clock.jump(13 * 3600)
    wait_until(lambda: fake.calls["FlushAll"] > before, 90, "a message on every channel")
    last = max(channel.end().tick for channel in fake.channels.values()) >> 18
    wait_until(lambda: task.acknowledged_ms() >= last, 60, "it to be read")
    task.pause()
    fake.cut_log(keep=1)
    task.resume()
    fake.insert(name, some(range(10, 20)))
    wait_same(fake, target, name, expect=20, timeout=60)
    assert task.get()["skipped"] == {}


def test_an_enormous_message(wal, fake, target, name):
    """A record of 70 MB: more than gRPC accepts by default, and more than the target accepts in one call."""
    fake.create(name, dim=2000)
    wal.create(target, scope(name))
    fake.insert(name, {key: [float(key % 97)] * 2000 for key in range(9000)})
    fake.insert(name, {key: [0.5] * 2000 for key in range(9000, 9010)})
    wait_until(lambda: count(target, name) == 9010, 90, "all rows", every=0.5)
    # All of them are more than the target answers at once.
    for keys in (range(100), range(4450, 4550), range(8950, 9010)):
        wanted = {key: list(fake.collections[name].rows[key, "_default"]) for key in keys}
        found = target.collection(name).query(f"id in {list(keys)}", output_fields=["vec"])
        assert {row["id"]: [float(value) for value in row["vec"]] for row in found} == wanted


def test_auto_waits_for_a_source_that_is_away(follow, fake, target, name):
    """A source that does not answer proves nothing about its contents."""
    fake.create(name)
    fake.insert(name, some(range(10)))
    fake.stop()
    task = follow(fake, log="auto").create(target, scope(name))
    task.wait_phase("Retrying")
    fake.start()
    wait_same(fake, target, name, expect=10)

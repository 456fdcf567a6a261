"""What real sources of 2.6.20 and 3.0 were seen to do, and what must not come of it.

The source is a FAKE (see `support/fake`), because what is needed here is a moment that a recording does not hold: a
place that is deleted, a user without a privilege. The target is a real Milvus 2.3.5, and its rows are read back through
pymilvus and compared with what the fake holds.
"""

import pytest

from support.cdc import ApiError, scope
from support.fake import FakeMilvus, queues
from support.fake.rows import some, standing_still, wait_same
from support.waiting import wait_until
from test_check import check, problems


@pytest.fixture
def woodpecker():
    """A source whose log is in Woodpecker."""
    fake = FakeMilvus(queue=queues.WOODPECKER).start()
    yield fake
    fake.stop()
    assert not fake.strange_ids, f"ids were asked for that were never given: {fake.strange_ids}"


def make_readable(target, name: str) -> None:
    """Loads on the target what the source has not loaded."""
    wait_until(lambda: target.has(name) and target.indexes(name), 30, f"{name} with its index on the target")
    target.collection(name).load(_async=True)


def test_a_collection_that_is_not_loaded_is_followed_from_its_beginning(follow, fake, target, name):
    """Nothing names the place where it begins, and its rows cannot be queried."""
    fake.create(name, shards=2)
    fake.show_load(name, "released")
    fake.insert(name, some(range(50)))
    cdc = follow(fake)
    task = cdc.create(target, scope(name, f"{name}_later"))
    make_readable(target, name)
    wait_same(fake, target, name, expect=50)
    fake.create(f"{name}_later", shards=2)
    fake.show_load(f"{name}_later", "released")
    fake.insert(f"{name}_later", some(range(30)))
    make_readable(target, f"{name}_later")
    wait_same(fake, target, f"{name}_later", expect=30)
    assert fake.calls["Query"] == 0, "rows were queried that are in the log"
    assert task.get()["skipped"] == {}


def test_aliases_follow_whatever_a_cached_description_says(wal, fake, target, name):
    other = f"{name}_other"
    fake.create(name)
    fake.create(other)
    wal.create(target, scope(name, other))

    def stand_for(wanted: dict):
        found = {one: target.aliases(one) for one in (name, other)}
        assert found == wanted, found
        return True

    wait_until(lambda: target.has(name) and target.has(other), 30, "both collections")
    fake.set_alias(name, "nick")
    wait_until(lambda: stand_for({name: ["nick"], other: []}), 30, "the new alias")
    fake.set_alias(other, "nick")
    wait_until(lambda: stand_for({name: [], other: ["nick"]}), 30, "the alias that was moved")
    fake.drop_alias("nick")
    wait_until(lambda: stand_for({name: [], other: []}), 30, "the drop of the alias")


@pytest.mark.parametrize("how", ["pause", "kill"])
def test_a_place_that_woodpecker_has_deleted_is_a_gap(follow, woodpecker, target, name, how):
    """It answers by silence."""
    fake, cdc = woodpecker, follow(woodpecker)
    fake.create(name, shards=2)
    task = cdc.create(target, scope(name))
    fake.insert(name, some(range(200)))
    wait_same(fake, target, name, expect=200)
    task.wait_caught_up()
    with standing_still(cdc, task, how):
        fake.insert(name, some(range(300, 340)))
        fake.delete(name, range(50))
        fake.cut_log()
    wait_same(fake, target, name, expect=190, timeout=90)
    assert "gap in the log, copied again" in task.get()["skipped"]
    fake.insert(name, some(range(400, 410)))
    wait_same(fake, target, name, expect=200)


def test_nothing_is_lost_behind_woodpeckers_first_entry(follow, woodpecker, target, name):
    """The first messages of a channel name it as their last confirmed one, by an empty id. What has been flushed
    since must be read all the same."""
    fake, cdc = woodpecker, follow(woodpecker)
    fake.create(name, shards=2)
    task = cdc.create(target, scope(name))
    wait_until(lambda: target.has(name), 30, "the collection")
    task.wait_caught_up()
    cdc.kill9()
    fake.insert(name, some(range(200)))
    fake.truncate_log()
    fake.insert(name, some(range(300, 340)))
    cdc.start()
    wait_same(fake, target, name, expect=240)
    assert task.get()["skipped"] == {}


def test_a_collection_whose_beginning_is_deleted_is_copied(follow, woodpecker, target, name):
    fake, cdc = woodpecker, follow(woodpecker)
    fake.create(name, shards=2)
    fake.insert(name, some(range(100)))
    fake.cut_log()
    cdc.create(target, scope(name))
    wait_same(fake, target, name, expect=100, timeout=90)
    told = cdc.log.read_text()
    assert "nothing came from the first entry for" in told and "its rows will be copied" in told


def test_a_user_who_may_not_flush_is_refused(follow, fake, target, name):
    """Only the first collection would show it otherwise."""
    fake.create(name)
    fake.faults.denied.add("FlushAll")
    fake.server.token = "reader:secret"
    cdc = follow(fake)
    with pytest.raises(ApiError, match="FlushAll"):
        cdc.create(target, scope(name))
    assert cdc.ask("list")["tasks"] == []
    found = problems(check(cdc, target, scope(name)))
    assert any("FlushAll" in str(problem) for problem in found), found
    fake.faults.denied.clear()
    fake.insert(name, some(range(10)))
    cdc.create(target, scope(name))
    wait_same(fake, target, name, expect=10)


def test_a_source_that_is_too_old_is_refused(follow, target, name):
    fake = FakeMilvus(version="v2.1.4").start()
    try:
        cdc = follow(fake, log="scan")
        with pytest.raises(ApiError, match="is v2.1.4: milvus-cdc needs Milvus 2.2.0 or later"):
            cdc.create(target, scope(name))
        assert any("v2.1.4" in problem for problem in problems(check(cdc, target, scope(name))))
    finally:
        fake.stop()


def versions(task) -> tuple:
    servers = task.cdc.ask("get", task_id=task.id, details=True)["task"]["details"]["servers"]
    return tuple(servers[side]["version"] for side in ("source", "target"))


def test_a_nightly_build_is_followed_and_its_upgrade_is_noticed(follow, target, name):
    fake = FakeMilvus(version="master-20260724-91f1ca6").start()
    try:
        fake.create(name)
        task = follow(fake).create(target, scope(name))
        fake.insert(name, some(range(10)))
        wait_same(fake, target, name, expect=10)
        assert "master-20260724-91f1ca6" in task.get()["source_log"]["why"]
        assert versions(task) == ("master-20260724-91f1ca6", "v2.3.5-lite")
        fake.stop()
        fake.version = "3.0.0"
        fake.start()
        wait_until(lambda: versions(task)[0] == "3.0.0", 30, "the newer version to be shown")
        fake.insert(name, some(range(10, 20)))
        wait_same(fake, target, name, expect=20)
        metrics = task.cdc.get_text("/metrics")
        assert f'milvus_cdc_server_info{{build="",side="source",task_id="{task.id}",version="3.0.0"}} 1' in metrics
    finally:
        fake.stop()

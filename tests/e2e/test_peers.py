"""A peer of the configuration as a task's target, and the opposite of a task, which copies nothing."""

import pytest

from support.cdc import ApiError, Task, scope
from support.node import simple_rows
from support.oracle import wait_same_rows
from support.waiting import wait_until
from test_opposite import _echoes, _rest, _sent

pytestmark = pytest.mark.every_log


@pytest.fixture
def site(make_cdc, source, target):
    """A server that knows the target as its peer `east`."""
    east = {"milvus": {"uri": target.uri}, **target.log.config()}
    return make_cdc(source, peers={"east": east}).start()


def test_a_task_is_reversed_from_the_end_of_its_targets_log(site, source, target, name):
    """Nothing that the task has brought is read again, also after a kill; rows, partitions and drops of users follow
    both ways from then on."""
    made = source.create(name, shards=2)
    made.create_partition("p")
    made.insert(simple_rows(range(20)))
    there = Task(site, site.ask("create", peer="east", **scope(name))["task_id"])
    wait_same_rows(source, target, name, expect=20)
    back = Task(site, site.ask("create", reverse_of=there.id)["task_id"])
    site.kill9()
    site.start()
    assert back.id == f"{there.id}-reverse"
    assert site.ask("create", reverse_of=there.id)["task_id"] == back.id, "the same request again"
    back.wait_phase("Following")
    sites = [site.ask("get", task_id=task.id)["task"]["source"] for task in (there, back)]
    assert sites == ["here", "east"]
    target.collection(name).insert(simple_rows(range(30, 40), mark=2.0))
    source.collection(name).upsert(simple_rows(range(5), mark=1.0))
    target.collection(name).delete("id in [15, 16, 17]")
    wait_same_rows(source, target, name, expect=27)
    _rest(there, back)
    # None of the 20 rows before is sent. The delete and the insert of each upsert came back after the end that was
    # noted, and so did what the kill has made the task bring once more, as upserts.
    assert _sent(back) == 13 and 10 <= _echoes(back) <= 10 + 2 * 20
    _parts_follow_both_ways(source, target, name)


def _parts_follow_both_ways(source, target, name) -> None:
    target.collection(name).partition("p").release()
    target.collection(name).drop_partition("p")
    wait_until(lambda: source.partitions(name) == ["_default"], 30, "the drop of a partition")
    source.collection(name).create_partition("q")
    wait_until(lambda: target.partitions(name) == ["_default", "q"], 30, "a partition")
    target.collection(name).drop()
    wait_until(lambda: not source.has(name), 30, "the drop of the collection")


def test_what_cannot_be_reversed_is_refused(site, make_cdc, source, target, name):
    with pytest.raises(ApiError, match="the configuration has no peer `west` .it has: east"):
        site.ask("create", peer="west", **scope(name))
    without_peers = make_cdc(source).start()
    source.create(name).insert(simple_rows([1]))
    there = without_peers.create(target, scope(name))
    wait_same_rows(source, target, name, expect=1)
    with pytest.raises(ApiError, match="cannot be reversed: its target .* is not among the `peers`"):
        without_peers.ask("create", reverse_of=there.id)

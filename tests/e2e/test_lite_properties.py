"""Properties that a newer source sets by itself, or while it does something, are never sent to a target.

Both sides are FAKES, as in `test_lite_added_fields.py`: a 3.0 as the source, and before a real Milvus Lite what refuses
as a 3.0 does.
"""

import pytest

from support.cdc import scope
from support.fake import FakeMilvus
from support.fake.newer import AddsFields
from support.fake.rows import some, wait_same
from support.waiting import wait_until

pytestmark = pytest.mark.lite
TTL = "collection.ttl.seconds"


@pytest.fixture(scope="module")
def lite(more_servers):
    return more_servers.lite("lite", "3.2.2")


@pytest.fixture
def target(lite):
    stands_before = AddsFields(lite, [])
    yield stands_before
    stands_before.stop()
    lite.wipe()


@pytest.fixture
def source():
    fake = FakeMilvus(version="3.0.0-beta").start()
    yield fake
    fake.stop()


def test_only_what_a_user_sets_follows(follow, source, target, lite, name):
    source.create(name, shards=2)
    source.alter(name, collection__ttl__seconds="86400")
    source.insert(name, some(range(20)))
    task = follow(source).create(target, scope(name))
    wait_same(source, lite, name, expect=20)

    def while_it_truncates():
        seen = source.calls["DescribeCollection"]
        wait_until(lambda: source.calls["DescribeCollection"] > seen + 2, 30, "looks at a collection that is truncated")

    source.truncate(name, while_it_truncates)
    source.alter(name, collection__ttl__seconds="100000")
    wait_until(lambda: dict(lite.describe(name)["properties"]).get(TTL) == "100000", 30, "the new TTL")
    source.alter(name, collection__ttl__seconds=None)
    wait_until(lambda: TTL not in dict(lite.describe(name)["properties"]), 30, "the TTL to be removed")
    source.insert(name, some(range(30, 35)))
    wait_same(source, lite, name, expect=5)
    assert target.properties == {TTL}
    assert task.get()["skipped"] == {}
    # It needs a release first, and holds back no other.
    source.alter(name, mmap__enabled="true", collection__ttl__seconds="3000")
    wait_until(lambda: dict(lite.describe(name)["properties"]).get(TTL) == "3000", 30, "the property beside it")
    task.wait_skipped({"properties": 1})
    told = [event["text"] for event in task.cdc.ask("get", task_id=task.id, events=True)["task"]["events"]]
    why = f"properties: default.{name} (mmap.enabled): "
    assert any(why in text and "if collection loaded" in text for text in told), told

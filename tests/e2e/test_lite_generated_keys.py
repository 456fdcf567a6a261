"""Collections with autoID on a target that takes given keys into them (Milvus from 2.6.3 on).

Both sides are FAKES, since no such server can be had here: the source speaks `DumpMessages` (see `support/fake`), and
before the target, a real Milvus Lite 3.2.2 that keeps the rows, stands what treats generated keys as a 2.6 was seen to
(`support/fake/generated_keys`).
"""

import pytest

from support.cdc import scope
from support.fake.generated_keys import GeneratesKeys
from support.fake.milvus import FLOAT_VECTOR, INT64, field
from support.fake.rows import Writing, some, wait_same
from support.waiting import wait_until

pytestmark = pytest.mark.lite


@pytest.fixture(scope="module")
def lite(more_servers):
    return more_servers.lite("lite", "3.2.2")


@pytest.fixture
def newer(lite):
    stands_before = GeneratesKeys(lite)
    yield stands_before
    stands_before.stop()
    lite.wipe()


def generated_key():
    return field("id", INT64, 100, is_primary_key=True, autoID=True)


def test_rows_keep_their_keys_and_a_promoted_target_makes_its_own(follow, fake, newer, lite, name):
    """Killed amid writes of all kinds, so that much is written again, and promoted in the end."""
    fake.create(name, fields=[generated_key(), field("vec", FLOAT_VECTOR, 101, dim=4)], shards=2)
    cdc = follow(fake)
    task = cdc.create(newer, scope(name))
    assert task.warnings == []
    fake.insert(name, some(range(1000, 1100)))
    wait_same(fake, lite, name, expect=100)
    with Writing(fake, name, first=2000) as writing:
        for _ in range(2):
            cdc.kill9()
            cdc.start()
            before = len(fake.rows(name))
            wait_until_more(fake, name, before)
    assert writing.steps
    wait_same(fake, lite, name)
    assert (newer.doubled, newer.rekeyed) == ([], 0)
    assert newer.keys == {name: "id"} and newer.takes_keys == {name}
    assert task.get()["skipped"] == {}
    cdc.ask("delete", task_id=task.id)
    # What the application did at the source.
    promoted = lite.collection(name)
    made = promoted.insert([{"vec": [1.0, 2.0, 3.0, 4.0]}] * 3).primary_keys
    assert len(set(made) - set(fake.rows(name))) == 3


def wait_until_more(fake, name: str, before: int) -> None:
    wait_until(lambda: len(fake.rows(name)) > before + 100, 30, "more rows at the source")

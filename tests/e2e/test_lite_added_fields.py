"""Fields that a collection gets while it is followed (Milvus 2.6), or loses (Milvus 3).

Both sides are FAKES, since no such server can be had here: the source speaks `DumpMessages` (see `support/fake`), and
before the target, a real Milvus Lite 3.2.2 that keeps the rows, stands what lets fields be added to it
(`support/fake/newer`).
"""

import pytest
from pymilvus import DataType, utility
from pymilvus.grpc_gen import common_pb2, schema_pb2

from support.cdc import scope
from support.fake.newer import AddsFields
from support.fake.rows import some, wait_same
from support.waiting import wait_until
from test_events import events

pytestmark = pytest.mark.lite


def text_field(name: str, number: int, longest: int = 100):
    length = common_pb2.KeyValuePair(key="max_length", value=str(longest))
    return schema_pb2.FieldSchema(
        name=name, data_type=DataType.VARCHAR, fieldID=number, nullable=True, type_params=[length]
    )


def note():
    """Made only when it is asked for: an older pymilvus, which collects this module and runs none of it, knows no
    nullable fields."""
    return text_field("note", 102)


def place():
    return text_field("place", 103)


@pytest.fixture(scope="module")
def lite(more_servers):
    return more_servers.lite("lite", "3.2.2")


@pytest.fixture
def newer(lite):
    stands_before = AddsFields(lite, [note(), place()])
    yield stands_before
    stands_before.stop()
    lite.wipe()


class Both:
    """The fake with the rows that a target shows which has all fields."""

    def __init__(self, fake):
        self._fake = fake

    def rows(self, name: str) -> dict:
        return {place: {**dict.fromkeys(["note", "place"]), **row} for place, row in self._fake.rows(name).items()}


@pytest.fixture
def both(fake):
    return Both(fake)


@pytest.mark.parametrize("log, told", [("wal", True), ("wal", False), ("scan", False)])
def test_fields_are_added(follow, fake, newer, both, lite, name, log, told):
    """`told`: the log mentions the field before rows have it, or rows are the first that is heard of it."""
    fake.create(name, shards=2)
    cdc = follow(fake, log)
    task = cdc.create(newer, scope(name))
    fake.insert(name, some(range(20)))
    wait_same(both, lite, name, expect=20)
    fake.add_field(name, note(), told=told)
    fake.insert(name, some(range(20, 40)), texts={"note": {key: f"nöte {key}" for key in range(20, 40, 2)}})
    wait_same(both, lite, name, expect=40)
    cdc.kill9()
    fake.insert(name, some(range(40, 50)), texts={"note": {key: f"{key}" for key in range(40, 45)}})
    fake.add_field(name, place(), told=told)
    fake.insert(name, some(range(50, 60)), texts={"place": {key: f"p{key}" for key in range(50, 60)}})
    cdc.start()
    wait_same(both, lite, name, expect=60)
    fake.upsert(name, some(range(15, 25), mark=1.0))
    fake.delete(name, range(5))
    wait_same(both, lite, name, expect=55)
    assert newer.added == ["note", "place"]
    assert task.get()["skipped"] == {}
    added = [text for _, text in events(task) if "added the field" in text]
    assert len(added) == 2, added


def test_a_scan_that_sees_a_field_first(follow, fake, newer, both, lite, name):
    """Rows have it before the catalog has heard of it: they wait."""
    fake.create(name)
    task = follow(fake, "scan").create(newer, scope(name))
    fake.insert(name, some(range(5)))
    wait_same(both, lite, name, expect=5)
    fake.add_field(name, note(), told=False, described=False)
    fake.insert(name, some(range(5, 10)), texts={"note": {key: f"n{key}" for key in range(5, 10)}})
    task.wait_reason('"note"', "the target gets it first")
    fake.collections[name].fields.append(note())
    wait_same(both, lite, name, expect=10)
    assert task.get()["skipped"] == {}


def test_a_dropped_field(wal, fake, newer, both, lite, name):
    """Rows of a backlog have values for a field that the source has dropped since: so have they not on the target."""
    fake.create(name)
    task = wal.create(newer, scope(name))
    wait_until(lambda: lite.has(name), 20, "the collection")
    fake.add_field(name, note())
    fake.add_field(name, place())
    fake.insert(name, some(range(5)), texts={"place": {key: f"p{key}" for key in range(5)}})
    wait_same(both, lite, name, expect=5)
    task.pause()
    fake.insert(name, some(range(5, 10)), texts={"note": {key: f"n{key}" for key in range(5, 10)}})
    fake.drop_field(name, "note")
    fake.insert(name, some(range(10, 15)), texts={"place": {key: f"p{key}" for key in range(10, 15)}})
    task.resume()
    wait_same(both, lite, name, expect=15)
    task.wait_skipped({"dropped field": 1})


def test_a_target_that_cannot_add_fields(wal, fake, lite, name):
    """The Lite itself."""
    fake.create(name)
    task = wal.create(lite, scope(name))
    fake.insert(name, some(range(5)))
    task.wait_caught_up()
    fake.add_field(name, note())
    fake.insert(name, some(range(5, 10)), texts={"note": {5: "x"}})
    task.wait_reason('"note"', name, "cannot hold", "2.6.0", phase="Retrying")
    lite.wipe()


def test_a_longer_text_than_the_target_takes(wal, fake, lite, name):
    """The source raises a field's limit, which the Lite itself cannot: dropped there, the collection is made anew."""
    kept = fake.create(name)
    kept.fields.append(text_field("note", 102, longest=10))
    kept.texts["note"], kept.values["note"] = 102, {}
    task = wal.create(lite, scope(name))
    fake.insert(name, some(range(5)), texts={"note": {key: "short" for key in range(5)}})
    wait_same(fake, lite, name, expect=5)
    kept.fields[-1] = text_field("note", 102, longest=50)
    task.wait_reason("max_length 50", '"note"', f"drop default.{name} on the target", phase="Retrying")
    fake.insert(name, some(range(5, 10)), texts={"note": {key: "x" * 40 for key in range(5, 10)}})
    utility.drop_collection(name, using=lite.using())
    wait_same(fake, lite, name, expect=10)
    lite.wipe()


def test_a_column_that_nobody_knows(wal, fake, newer, lite, name):
    """The source describes no such field, and its number is none of before: nothing is thrown away in silence."""
    fake.create(name)
    task = wal.create(newer, scope(name))
    fake.insert(name, some(range(5)))
    wait_until(lambda: lite.has(name), 20, "the collection")
    fake.add_field(name, text_field("ghost", 999), told=False, described=False)
    fake.insert(name, some(range(5, 10)))
    task.wait_reason('"ghost"', "no such field", phase="Retrying")

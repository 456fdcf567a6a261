"""What a task reports: its recent events, and the details behind the status page."""

import pytest
from pymilvus import utility

from support.cdc import scope
from support.node import simple_rows
from support.oracle import wait_same_rows
from support.waiting import wait_until
from test_first_copy import forget_log


def events(task) -> list[tuple[str, str]]:
    """Events as kind and text, the oldest first."""
    told = task.cdc.ask("get", task_id=task.id, events=True)["task"]["events"]
    return [(event["kind"], event["text"]) for event in reversed(told)]


def has(task, kind: str, *parts: str):
    """Waits for an event of this kind that contains these parts."""

    def there():
        found = [text for known, text in events(task) if known == kind]
        assert any(all(part in text for part in parts) for text in found), events(task)
        return True

    wait_until(there, 60, f"an event {kind} with {parts}")


def test_life_of_a_task(cdc, source, target, relay, name):
    task = cdc.create(target, scope(name), uri=relay.uri, extra_info={"enable_user_role": True})
    made = source.create(name)
    made.insert(simple_rows(range(10)))
    wait_same_rows(source, target, name, expect=10)
    has(task, "state", "created")
    has(task, "catalog", "created the collection", name)
    has(task, "phase", "→ Following")
    relay.cut()
    made.insert(simple_rows(range(10, 20)))
    has(task, "retry", "no answer")
    relay.mend()
    wait_same_rows(source, target, name, expect=20, timeout=60)
    has(task, "recovered", "nothing fails")
    task.pause()
    has(task, "state", "paused: manually pause")
    task.resume()
    has(task, "state", "running")
    cdc.kill9()
    cdc.start()
    has(task, "state", "the server has started")
    told = [text for kind, text in events(task) if kind == "state"]
    assert told[0] == "created" and any(
        "manually pause" in text for text in told
    ), "what was before the kill -9 is still told"
    utility.drop_collection(name, using=source.using())
    has(task, "catalog", "dropped", name)
    task.delete()
    assert not list(cdc.data.glob(f"tasks/{task.id}*")), "nothing of it is left"


@pytest.mark.slow
def test_copy_and_gap(cdc, source, target, name):
    made = source.create(name)
    made.insert(simple_rows(range(500)))
    forget_log(source, name)
    task = cdc.create(target, scope(name))
    wait_same_rows(source, target, name, expect=500, timeout=60)
    has(task, "copy", "copying", name)
    has(task, "copy", "copied 500 rows", name)
    task.wait_caught_up()
    task.pause()
    source.collection(name).insert(simple_rows(range(500, 600)))
    forget_log(source, name)
    task.resume()
    wait_same_rows(source, target, name, expect=600, timeout=60)
    has(task, "gap", "no longer has what comes next")
    has(task, "skip", "gap in the log")


def test_details(cdc, source, target, name):
    task = cdc.create(target, scope(name))
    source.create(name, shards=2).insert(simple_rows(range(200)))
    wait_same_rows(source, target, name, expect=200)

    def complete():
        details = cdc.ask("get", task_id=task.id, details=True)["task"]["details"]
        assert len(details["collections"]) == 1, details["collections"]
        collection = details["collections"][0]
        assert collection["source"] == collection["target"] == f"default.{name}" and collection["rows_from"] == "log"
        assert sorted(collection["channels"]) == sorted(channel["name"] for channel in details["channels"])
        assert all(channel["collections"] == 1 and channel["acknowledged_time"] for channel in details["channels"])
        assert details["checkpoint_age_ms"] is not None
        points = details["lag_curve"]["points"]
        assert points and max(lag or 0 for _, lag, _ in points) < 60_000, "a lag from 1970 is none"
        assert sum(rows for _, _, rows in points) >= 200
        return True

    wait_until(complete, 20, "complete details")
    short = cdc.ask("list", details=True)["tasks"][0]["details"]
    assert "collections" not in short and short["queue_limit_bytes"] > 0
    task.pause()
    paused = cdc.ask("get", task_id=task.id, details=True)["task"]["details"]
    assert len(paused["channels"]) == 2 and paused["collections"] == []

"""Rows that a bulk import writes past the log."""

import json

import pytest
from pymilvus import utility

from support.cdc import scope
from support.node import simple_rows
from support.oracle import wait_same_rows
from support.waiting import wait_until

COUNTED = "bulk import, copied"


def import_rows(node, name: str, keys) -> None:
    """A bulk import of a file that lies in the server's storage, to its end."""
    file = node.server.data / "imports" / f"{name}-{keys[0]}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"rows": simple_rows(keys)}))
    job = utility.do_bulk_insert(name, [str(file)], using=node.using())

    def ended():
        state = utility.get_bulk_insert_state(job, using=node.using())
        assert state.state_name in ("Completed", "Failed", "Failed, cleaned"), state
        return state

    assert wait_until(ended, 60, "the import to end").state_name == "Completed"


@pytest.mark.slow
@pytest.mark.every_log
@pytest.mark.timeout(600)
def test_a_bulk_import_is_told_and_carried(cdc, source, target, name):
    made = source.create(name)
    task = cdc.create(target, scope(name))
    made.insert(simple_rows(range(10)))
    wait_same_rows(source, target, name, expect=10)
    import_rows(source, name, range(1000, 6000))
    made.insert(simple_rows(range(10, 20)))
    wait_same_rows(source, target, name, expect=5020, timeout=180)
    events = cdc.ask("get", task_id=task.id, events=True)["task"]["events"]
    assert [event for event in events if "a bulk import of 5000 rows" in event["text"]], events
    task.wait_skipped({COUNTED: 1})
    # It is dealt with once, and the log goes on.
    cdc.restart()
    made.delete("id in [1000, 1001]")
    wait_same_rows(source, target, name, expect=5018)
    import_rows(source, name, range(7000, 7100))
    wait_same_rows(source, target, name, expect=5118, timeout=180)
    task.wait_skipped({COUNTED: 2})

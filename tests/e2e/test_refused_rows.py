"""Rows that the target refuses for good: their collection is held, or they are set aside and it goes on."""

import shutil
import stat
import subprocess
import sys

import install
import pytest
from pymilvus import DataType, FieldSchema

from support.cdc import scope
from support.node import key_field, vector_field
from support.oracle import count, rows, wait_same_rows
from support.waiting import wait_until

LONG, SHORT, LIMIT = 500, 10, 200


@pytest.fixture
def limit(target):
    """Sets the longest JSON value that the target takes; at the start of a test it is short."""

    def set_limit(max_length: int | None) -> None:
        target.server.restart(common__JSONMaxLength=max_length)
        target.disconnect()

    set_limit(LIMIT)
    yield set_limit
    set_limit(None)


def _create(source, name):
    return source.create(name, fields=[key_field(), FieldSchema("doc", DataType.JSON), vector_field()])


def _rows(keys, length: int) -> list[dict]:
    return [{"id": key, "doc": {"text": "x" * length}, "vec": [float(key)] * 8} for key in keys]


def _keys(task) -> set:
    """The keys of the rows that are set aside."""
    return {int(row["key"]) for row in task.cdc.ask("refused_rows", task_id=task.id)["refused_rows"]}


def _on_target(target, name) -> set:
    return {key for key, _ in rows(target, name)}


def test_refused_rows_are_set_aside_and_applied(cdc, source, target, name, binary, limit):
    _create(source, name)
    too_long = {3, 250, 251, 499}
    source.collection(name).insert(
        [row for key in range(500) for row in _rows([key], LONG if key in too_long else SHORT)]
    )
    task = cdc.create(target, scope(name), on_refused="set_aside")
    wait_until(lambda: _keys(task) == too_long, 90, "the rows to be set aside")
    wait_until(lambda: count(target, name) == 496, 60, "the other rows")
    # It goes on, also after a restart; what is set aside and deleted at the source is forgotten.
    source.collection(name).insert(_rows([500, 501], LONG) + _rows([502], SHORT))
    source.collection(name).delete("id in [499, 502]")
    source.collection(name).insert(_rows([503], SHORT))
    too_long = too_long - {499} | {500, 501}
    wait_until(lambda: _keys(task) == too_long, 60, "more rows to be set aside")
    wait_until(lambda: 503 in _on_target(target, name) and 502 not in _on_target(target, name), 60, "the later row")
    told = task.wait_reason("5 rows that the target refuses are set aside", phase="Following")
    assert told["collections"]["held"] == 0, told
    listed = task.cdc.ask("refused_rows", task_id=task.id)["refused_rows"]
    assert {row["target"] for row in listed} == {f"default.{name}"}
    assert all("length" in row["reason"] for row in listed), listed
    file = cdc.data / "tasks" / task.id / "refused-rows.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    cdc.kill9()
    cdc.start()
    task.wait_phase("Following", timeout=60)
    assert _keys(task) == too_long

    # What is still refused is set aside again.
    said = subprocess.run(
        [str(binary), "task", "--server", f"http://127.0.0.1:{cdc.port}", "refused-rows", task.id, "--apply"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    assert said.count(f"default.{name}") >= 5, said
    wait_until(lambda: _keys(task) == too_long, 60, "the rows to be set aside again")
    copy = cdc.folder / "copy.jsonl"
    shutil.copy(file, copy)

    # With the cause gone, it arrives.
    limit(None)
    task.wait_phase("Following", timeout=90)
    task.cdc.ask("refused_rows", task_id=task.id, action="apply")
    wait_same_rows(source, target, name, expect=502, timeout=90)
    assert _keys(task) == set()
    task.wait_phase("Following", timeout=60)
    assert "reason" not in task.get()

    # Without the source, the file itself is applied.
    task.pause()
    target.collection(name).delete(f"id in {sorted(too_long)}")
    wait_until(lambda: not _on_target(target, name) & too_long, 60, "the rows to be gone")
    script = install.REPOSITORY / "examples" / "apply_refused_rows.py"
    subprocess.run([sys.executable, str(script), str(copy), target.uri], check=True, timeout=60)
    wait_same_rows(source, target, name, expect=502, timeout=60)
    task.delete()
    assert not file.exists()


def test_refused_rows_hold_their_collection_by_default(cdc, source, target, name, limit):
    _create(source, name).insert(_rows([1], LONG))
    task = cdc.create(target, scope(name))
    task.wait_reason(f"held: default.{name}", "code 1100", "length", phase="Retrying", timeout=90)
    assert _keys(task) == set()

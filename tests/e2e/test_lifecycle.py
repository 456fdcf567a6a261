"""Pause, resume, delete, restart and stop of tasks and of the server."""

import os
import signal
import stat
import subprocess

import pytest
from pymilvus import utility

from support.cdc import ApiError, scope
from support.load import Load
from support.node import simple_rows
from support.oracle import assert_same_rows, count, wait_same_rows
from support.waiting import wait_until


def test_pause_and_resume_lose_and_double_nothing(cdc, source, target, name):
    source.create(name, shards=2)
    task = cdc.create(target, scope(name))
    with Load(source, name) as load:
        for turn in range(1, 5):
            wait_until(lambda: load.batches > turn * 8, 30, "the load")
            task.pause()
            assert task.get()["state"] == "Paused" and task.get()["phase"] == "Paused"
            task.resume()
            assert task.get()["state"] == "Running"
    task.wait_caught_up()
    target.wait_loaded(name)
    assert_same_rows(source, target, name)


def test_nothing_is_written_after_pause_has_answered(cdc, source, target, name):
    made, other = source.create(name), source.create(f"{name}_other")
    for first in range(0, 100_000, 10_000):
        made.insert(simple_rows(range(first, first + 10_000)))
    task = cdc.create(target, scope(name))
    wait_until(lambda: count(target, name) > 0, 30, "the first rows", every=0.02)
    task.pause()
    # A Strong count includes every acknowledged row, so a second one differs only by later rows.
    before = count(target, name)
    # Rows of another task arrive meanwhile, one after the other: what the paused one still had under way would be there
    # before the last.
    cdc.create(target, scope(other.name))
    for key in range(5):
        other.insert(simple_rows([key]))
        wait_same_rows(source, target, other.name, expect=key + 1)
    assert count(target, name) == before
    task.resume()
    wait_same_rows(source, target, name, expect=100_000, timeout=60)


def test_many_pauses_in_a_backlog(cdc, source, target, name):
    made = source.create(name)
    for first in range(0, 60_000, 5_000):
        made.insert(simple_rows(range(first, first + 5_000)))
    task = cdc.create(target, scope(name))
    for _ in range(6):
        task.pause()
        task.resume()
    wait_same_rows(source, target, name, expect=60_000, timeout=60)


@pytest.mark.parametrize("way", ["stall", "cut"])
def test_pause_with_a_dead_target(cdc, source, target, name, relay, way):
    made = source.create(name)
    made.insert(simple_rows(range(10)))
    task = cdc.create(target, scope(name), uri=relay.uri)
    wait_same_rows(source, target, name, expect=10)
    getattr(relay, way)()
    made.insert(simple_rows(range(10, 1000)))
    wait_until(lambda: task.get()["phase"] != "Following" or task.lag_ms() > 500, 30, "the task to notice")
    task.pause()  # which is answered while the target is dead
    relay.flow() if way == "stall" else relay.mend()
    task.resume()
    wait_same_rows(source, target, name, expect=1000, timeout=60)
    task.wait_caught_up()
    assert_same_rows(source, target, name)


def test_pause_while_a_drop_waits_for_a_stalled_target(cdc, source, target, name, relay):
    """The catalog waits for calls in flight before it drops a collection; a pause must not wait for the catalog."""
    made = source.create(name)
    made.insert(simple_rows(range(10)))
    task = cdc.create(target, scope(name), uri=relay.uri)
    wait_same_rows(source, target, name, expect=10)
    relay.stall()
    made.insert(simple_rows(range(10, 1000)))
    wait_until(lambda: task.lag_ms() > 1000, 30, "the insert to be under way")
    before = asked_in_vain(source, name)
    utility.drop_collection(name, using=source.using())
    # The round that is under way asks the stalled target some things, and waits for each answer in vain.
    wait_until(lambda: asked_in_vain(source, name) > before, 120, "the catalog to look for the collection")
    task.pause()  # which is answered while the target is stalled
    relay.flow()
    task.resume()
    wait_until(lambda: not target.has(name), 30, "the drop to follow")


def asked_in_vain(source, name: str) -> int:
    """How often the source was asked for a collection that it does not have, according to its log."""
    lines = source.server.log.read_text(errors="replace").splitlines()
    return sum("failed to describe collection" in line and f"[collectionName={name}]" in line for line in lines)


def test_delete_forgets_the_task_and_keeps_the_data(cdc, source, target, name):
    made = source.create(name)
    made.insert(simple_rows(range(10)))
    task = cdc.create(target, scope(name))
    wait_same_rows(source, target, name, expect=10)
    task.delete()
    with pytest.raises(ApiError) as refused:
        task.get()
    assert refused.value.code == 400
    assert cdc.ask("list")["tasks"] == []
    assert count(target, name) == 10
    cdc.restart()
    assert cdc.ask("list")["tasks"] == []


def test_restart_keeps_what_each_task_was_doing(cdc, source, target, name):
    running, paused = f"{name}_running", f"{name}_paused"
    for one in (running, paused):
        source.create(one).insert(simple_rows(range(10)))
    tasks = {one: cdc.create(target, scope(one)) for one in (running, paused)}
    for one in (running, paused):
        wait_same_rows(source, target, one, expect=10)
    tasks[paused].pause()
    assert cdc.terminate() == 0
    for one in (running, paused):
        source.collection(one).insert(simple_rows(range(10, 20)))
    cdc.start()
    wait_same_rows(source, target, running, expect=20)
    assert tasks[paused].get()["state"] == "Paused"
    assert count(target, paused) == 10
    tasks[paused].resume()
    wait_same_rows(source, target, paused, expect=20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_cleanly_under_load(cdc, source, target, name, number):
    source.create(name, shards=2)
    task = cdc.create(target, scope(name))
    with Load(source, name) as load:
        wait_until(lambda: load.batches > 10, 30, "the load")
        os.kill(cdc.pid, number)
        wait_until(lambda: not cdc.is_running(), 30, "the end of the server")
        assert cdc._process.returncode == 0
        cdc.start()
        wait_until(lambda: load.batches > 20, 30, "the load")
    task.wait_caught_up()
    target.wait_loaded(name)
    assert_same_rows(source, target, name)


def test_sigterm_with_a_stalled_target(cdc, source, target, name, relay):
    made = source.create(name)
    cdc.create(target, scope(name), uri=relay.uri)
    made.insert(simple_rows(range(10)))
    wait_same_rows(source, target, name, expect=10)
    relay.stall()
    made.insert(simple_rows(range(10, 100)))
    assert cdc.terminate() == 0


def test_second_server_on_the_same_data_folder_is_refused(cdc, make_cdc, source):
    second = make_cdc(source, dataDir=str(cdc.data))
    process = second.launch()
    assert process.wait(15) != 0
    assert str(cdc.data) in second.log.read_text()
    assert cdc.call("list")["code"] == 200


def test_state_files_are_private(cdc, source, target, name):
    source.create(name).insert(simple_rows(range(10)))
    task = cdc.create(target, scope(name), connect={"token": "root:geheim"})
    wait_same_rows(source, target, name, expect=10)
    task.pause()  # a file was replaced meanwhile
    files = [path for path in cdc.data.rglob("*") if path.is_file() and "rocks" not in str(path).lower()]
    assert files
    open_to_others = [str(path) for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert not open_to_others
    assert "geheim" not in cdc.log.read_text()
    assert "geheim" not in str(cdc.call("list"))


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"mounting needs root: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk) -> None:
    """Fills the disk to the last byte."""
    with open(disk / "filler", "wb", buffering=0) as filler:
        for size in (65536, 512, 1):
            try:
                while filler.write(b"x" * size) == size:
                    pass
            except OSError:
                pass  # full for this size


def test_full_disk(make_cdc, source, target, name, small_disk):
    cdc = make_cdc(source, dataDir=str(small_disk / "data")).start()
    made = source.create(name)
    task = cdc.create(target, scope(name))
    made.insert(simple_rows(range(100)))
    wait_same_rows(source, target, name, expect=100)
    fill(small_disk)
    with Load(source, name, first_key=1000):
        task.wait_reason(str(small_disk))
    (small_disk / "filler").unlink()
    recover(cdc, task)
    assert_same_rows(source, target, name)


def test_read_only_data_folder(make_cdc, source, target, name, small_disk):
    cdc = make_cdc(source, dataDir=str(small_disk / "data")).start()
    made = source.create(name)
    task = cdc.create(target, scope(name))
    made.insert(simple_rows(range(100)))
    wait_same_rows(source, target, name, expect=100)
    task.wait_caught_up()
    if remount(small_disk, "ro").returncode != 0:
        # Files there are open for writing, so the kernel refuses until the server has stopped.
        cdc.terminate()
        assert remount(small_disk, "ro").returncode == 0
        assert cdc.launch().wait(15) != 0
        assert str(small_disk) in cdc.log.read_text()
    else:
        with Load(source, name, first_key=1000):
            task.wait_reason(str(small_disk))
    assert remount(small_disk, "rw").returncode == 0
    recover(cdc, task)
    assert_same_rows(source, target, name)


def remount(folder, mode: str):
    return subprocess.run(["mount", "-o", f"remount,{mode}", str(folder)], capture_output=True)


def recover(cdc, task) -> None:
    """What an operator does once the disk is healthy again."""
    cdc.kill9()
    cdc.start()
    if task.get()["state"] == "Paused":
        task.resume()
    task.wait_caught_up()

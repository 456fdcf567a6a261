"""Whom a task follows: another server at the source's address, much that vanishes at once, and a target that is the
source itself."""

import shutil

import pytest
from pymilvus import utility

from support.cdc import ApiError, scope
from support.logs import BROKER_LOGS
from support.node import Node, simple_rows
from support.oracle import count, rows, wait_same_rows
from support.pool import BROKER_SETTINGS, BROKERS, wipe
from support.waiting import wait_until


@pytest.fixture(scope="module")
def own_log(more_servers, request):
    """The broker of a source that a test may restore; None where the source has its log in its own folder."""
    kind = request.config.getoption("--source-log")
    if kind not in BROKERS:
        return None
    return BROKER_LOGS[kind](more_servers.broker(kind, "own-broker", settings=BROKER_SETTINGS[kind]))


@pytest.fixture(scope="module")
def own_server(more_servers, own_log):
    settings = own_log.broker.milvus_settings() if own_log else {}
    return more_servers.launch("own-source", settings=settings).wait_ready()


@pytest.fixture
def own_source(own_server, own_log):
    """A source that a test may reinstall, running and empty."""
    node = Node(own_server, own_log)
    yield node
    wipe([node])


def _reinstall(node: Node) -> None:
    """Stops it, empties its data folder and starts it."""
    node.disconnect()
    node.server.stop()
    shutil.rmtree(node.server.data)
    node.server.start()


def _names(name: str, number: int) -> list[str]:
    return [f"{name}_{one}" for one in range(number)]


def _follow(cdc, source, target, names, **more):
    task = cdc.create(target, scope("*"), **more)
    for one in names:
        source.create(one).insert(simple_rows(range(20)))
    for one in names:
        wait_same_rows(source, target, one, expect=20)
    return task


def _drop_all(node: Node, names) -> None:
    for one in names:
        utility.drop_collection(one, using=node.using())


@pytest.mark.slow
def test_source_reinstalled(make_cdc, own_source, target, name):
    """The standby keeps everything while an empty server, or another one with the same names, answers; the old source
    is followed again as soon as it is back."""
    cdc = make_cdc(own_source).start()
    names = _names(name, 2)
    task = _follow(cdc, own_source, target, names)
    task.wait_caught_up()
    kept = own_source.server.data.with_name("kept")
    own_source.disconnect()
    own_source.server.stop()
    own_source.server.data.rename(kept)
    own_source.server.start()
    task.wait_reason("is another server than the one that this task follows", "bring the old source back")
    assert set(names) <= set(target.collections())
    # One that has the names, but other rows and other collections.
    own_source.create(names[0]).insert(simple_rows(range(1000, 1005)))
    own_source.create(f"{name}_new", load=False)
    own_source.collection(names[0]).flush()
    task.wait_reason("is another server", phase="Retrying")
    assert set(names) <= set(target.collections()) and not target.has(f"{name}_new")
    for one in names:
        target.wait_loaded(one)
        assert count(target, one) == 20
    own_source.disconnect()
    own_source.server.stop()
    shutil.rmtree(own_source.server.data)
    kept.rename(own_source.server.data)
    own_source.server.start()
    own_source.collection(names[0]).insert(simple_rows(range(100, 110)))
    wait_same_rows(own_source, target, names[0], expect=30, timeout=90)
    wait_same_rows(own_source, target, names[1], expect=20)
    utility.drop_collection(names[1], using=own_source.using())
    wait_until(lambda: not target.has(names[1]), 60, "a drop at the source that is back")


def test_source_reinstalled_while_the_task_is_paused(make_cdc, own_source, target, name):
    cdc = make_cdc(own_source).start()
    names = _names(name, 2)
    task = _follow(cdc, own_source, target, names)
    task.pause()
    _reinstall(own_source)
    task.resume()
    task.wait_reason("is another server", phase="Retrying")
    for one in names:
        assert count(target, one) == 20


def test_a_mass_of_drops_is_held_until_it_is_confirmed(cdc, source, target, name):
    names = _names(name, 4)
    task = _follow(cdc, source, target, names)
    _drop_all(source, names)
    task.wait_reason("drops are held", f"default.{names[0]}")
    # Rows and new collections go on, also after a restart, which forgets nothing.
    cdc.restart()
    source.create(f"{name}_later").insert(simple_rows(range(7)))
    wait_same_rows(source, target, f"{name}_later", expect=7)
    wait_until(lambda: len(cdc.ask("drops", task_id=task.id)["drops"]) == 4, 60, "the held drops after a restart")
    assert set(names) <= set(target.collections())
    held = cdc.ask("drops", task_id=task.id, action="confirm")["drops"]
    assert sorted(drop["target"] for drop in held) == [f"default.{one}" for one in names]
    wait_until(lambda: not set(names) & set(target.collections()), 60, "the confirmed drops")
    wait_until(lambda: not cdc.ask("drops", task_id=task.id)["drops"], 60, "an empty list")
    assert target.has(f"{name}_later")


def test_discarded_drops_stay_on_the_target(cdc, source, target, name):
    names = _names(name, 3)
    task = _follow(cdc, source, target, names)
    _drop_all(source, names)
    task.wait_reason("drops are held", *(f"default.{one}" for one in names))
    cdc.ask("drops", task_id=task.id, action="discard")
    wait_until(lambda: not cdc.ask("drops", task_id=task.id)["drops"], 60, "an empty list")
    # What is made anew under such a name does not mix with it.
    source.create(names[0]).insert(simple_rows(range(100, 103)))
    task.wait_reason(names[0], "was kept when the source dropped it")
    assert [count(target, one) for one in names] == [20, 20, 20]
    utility.drop_collection(names[0], using=target.using())
    wait_same_rows(source, target, names[0], expect=3)


def test_one_drop_of_many_follows(cdc, source, target, name):
    names = _names(name, 4)
    task = _follow(cdc, source, target, names)
    utility.drop_collection(names[1], using=source.using())
    wait_until(lambda: not target.has(names[1]), 30, "the drop")
    assert cdc.ask("drops", task_id=task.id)["drops"] == []
    assert set(target.collections()) >= {names[0], names[2], names[3]}


def test_collections_that_are_to_be_kept_stay(cdc, source, target, name):
    gone, there = _names(name, 2)
    _follow(cdc, source, target, [gone, there], on_drop="keep")
    utility.drop_collection(gone, using=source.using())
    source.collection(there).insert(simple_rows(range(20, 25)))
    wait_same_rows(source, target, there, expect=25)
    wait_until(lambda: f"{gone} stays on the target" in cdc.log.read_text(), 30, "the task to let it go")
    assert count(target, gone) == 20


def test_dropped_collections_keep_another_name(cdc, source, target, name):
    gone, there = _names(name, 2)
    task = _follow(cdc, source, target, [gone, there], on_drop="rename", drop_after_hours=2)
    utility.drop_collection(gone, using=source.using())
    wait_until(lambda: not target.has(gone), 30, "the other name")
    # A new one of the name follows beside it, also after a restart.
    cdc.restart()
    source.create(gone).insert(simple_rows(range(100, 103)))
    wait_same_rows(source, target, gone, expect=3)
    (aside,) = cdc.ask("drops", task_id=task.id)["set_aside"]
    assert aside["source"] == f"default.{gone}", aside
    kept = aside["target"].removeprefix("default.")
    assert kept.startswith(f"{gone}_dropped_"), aside
    target.wait_loaded(kept)
    assert count(target, kept) == 20
    source.collection(there).insert(simple_rows(range(20, 25)))
    wait_same_rows(source, target, there, expect=25)
    utility.drop_collection(kept, using=target.using())


def test_the_log_shows_a_drop(cdc, source, target, name):
    names = _names(name, 4)
    _follow(cdc, source, target, names)
    utility.drop_collection(names[2], using=source.using())
    wait_until(lambda: not target.has(names[2]), 30, "the drop")
    told = cdc.log.read_text()
    assert "the source's log shows that collection" in told
    assert set(target.collections()) == {names[0], names[1], names[3]}


def _backup(node: Node):
    """A copy of a stopped source: its own folder, and its broker's. Returns what puts it back."""
    folders = [node.server.data]
    if node.log.kind in BROKERS:
        node.log.broker.stop()
        folders += [node.log.broker.folder / each for each in node.log.broker.DATA]
    copies = {folder: folder.with_name(f"{folder.name}-backup") for folder in folders}
    for folder, copy in copies.items():
        shutil.copytree(folder, copy)

    def restore():
        if node.log.kind in BROKERS:
            node.log.broker.kill()
        for folder, copy in copies.items():
            shutil.rmtree(folder)
            copy.rename(folder)

    return restore


def _start(node: Node) -> None:
    if node.log.kind in BROKERS:
        node.log.broker.start()
    node.server.start()


@pytest.mark.slow
def test_a_source_restored_to_an_earlier_time(make_cdc, own_source, target, name):
    """What it lost since stays on the standby, and everything else follows."""
    first, changed = _names(name, 2)
    cdc = make_cdc(own_source).start()
    task = _follow(cdc, own_source, target, [first, changed])
    for one in (first, changed):
        own_source.collection(one).flush()
    own_source.disconnect()
    own_source.server.stop()
    restore = _backup(own_source)
    _start(own_source)
    for one in (first, changed):
        own_source.wait_loaded(one)
    lost = f"{name}_lost"
    own_source.create(lost).insert(simple_rows(range(5)))
    own_source.collection(changed).insert(simple_rows(range(20, 30)))
    own_source.collection(changed).delete("id in [1, 2]")
    wait_same_rows(own_source, target, changed, expect=28, timeout=90)
    wait_same_rows(own_source, target, lost, expect=5)
    task.wait_caught_up()

    own_source.disconnect()
    own_source.server.kill()
    restore()
    _start(own_source)
    task.wait_reason("the source was restored to an earlier time", "drops are held", f"default.{lost}", timeout=120)
    own_source.wait_loaded(changed)
    assert count(own_source, changed) == 20 and not own_source.has(lost)
    own_source.collection(changed).insert(simple_rows(range(100, 103)))
    own_source.collection(first).insert(simple_rows(range(100, 103)))
    wait_same_rows(own_source, target, first, expect=23, timeout=90)
    kept, there = rows(target, changed), {}

    def all_of_both():
        kept.clear(), there.clear()
        kept.update(rows(target, changed)), there.update(rows(own_source, changed))
        return len(kept) == 33 and there.items() <= kept.items()

    wait_until(all_of_both, 90, "the source's 23 rows and the 10 that it has lost")
    assert count(target, lost) == 5
    # The user decides: the standby is to be as the source is.
    cdc.ask("drops", task_id=task.id, action="confirm")
    wait_until(lambda: not target.has(lost), 60, "the confirmed drop")
    task.wait_caught_up()
    cdc.ask("repair", task_id=task.id)
    wait_same_rows(own_source, target, changed, expect=23, timeout=90)


@pytest.mark.slow
def test_the_queue_of_a_running_source_is_deleted(make_cdc, own_source, target, name):
    """What the source had in the queue alone is lost there. It stays on the standby: that is the last copy."""
    cdc = make_cdc(own_source).start()
    (only,) = _names(name, 1)
    task = _follow(cdc, own_source, target, [only])
    own_source.collection(only).flush()
    own_source.collection(only).insert(simple_rows(range(20, 25)))
    wait_same_rows(own_source, target, only, expect=25)
    task.wait_caught_up()
    shutil.rmtree(own_source.server.rocksmq)
    task.wait_reason("there is no RocksDB in this folder", "restart the source", phase="Retrying")
    own_source.disconnect()
    own_source.server.kill()
    own_source.server.start()
    own_source.wait_loaded(only)
    own_source.collection(only).insert(simple_rows(range(100, 110)))
    wait_until(lambda: count(target, only) == 35, 90, "the new rows, beside all that the standby had")
    there, kept = rows(own_source, only), rows(target, only)
    assert len(there) == 30 and there.items() <= kept.items()
    task.wait_skipped({"source's log made anew, compared": 1, "rows that only the target has": 5})
    assert "was deleted or replaced while it was read" in cdc.log.read_text()


def test_oneself_is_refused_while_empty(cdc, source):
    """Nothing that two empty servers show tells them apart."""
    uri = source.uri.replace("127.0.0.1", "127.0.0.2").replace("localhost", "127.0.0.2")
    with pytest.raises(ApiError, match="is the source .* itself"):
        cdc.create(source, scope("*"), uri=uri)
    assert source.databases() == ["default"] and source.collections() == []


def test_a_target_that_has_become_the_source_is_refused(make_cdc, source, target, relay, name):
    """The target's address leads to the source after a pause."""
    cdc = make_cdc(source).start()
    task = cdc.create(target, scope("*"), uri=relay.uri)
    task.wait_phase("Following")
    task.pause()
    relay.lead_to(source.server.port)
    task.resume()
    reason = task.wait_phase("Stopped")["reason"]
    assert "itself" in reason, reason
    assert source.databases() == ["default"] and source.collections() == []


@pytest.fixture(scope="module")
def own_target_server(more_servers):
    return more_servers.launch("own-target").wait_ready()


@pytest.fixture
def own_target(own_target_server):
    """A target that a test may reinstall, running and empty."""
    node = Node(own_target_server)
    yield node
    wipe([node])


@pytest.mark.slow
def test_a_wiped_target_is_filled_again(make_cdc, source, own_target, name):
    """Nothing is written meanwhile: only looking finds it out."""
    cdc = make_cdc(source).start()
    names = _names(name, 2)
    task = _follow(cdc, source, own_target, names)
    task.wait_caught_up()
    _reinstall(own_target)
    for one in names:
        wait_same_rows(source, own_target, one, expect=20, timeout=120)
    source.collection(names[0]).insert(simple_rows(range(20, 25)))
    wait_same_rows(source, own_target, names[0], expect=25)
    assert "is empty and was set up anew" in cdc.log.read_text()


@pytest.mark.slow
def test_a_target_restored_to_an_earlier_time(make_cdc, source, own_target, name):
    """The same server with the same ids, without what it had got since. One that was killed has all of it."""
    cdc = make_cdc(source).start()
    first, changed = _names(name, 2)
    task = _follow(cdc, source, own_target, [first, changed])
    task.wait_caught_up()
    own_target.disconnect()
    own_target.server.stop()
    restore = _backup(own_target)
    own_target.server.start()
    source.collection(changed).delete("id in [1, 2]")
    source.collection(changed).insert(simple_rows(range(20, 30)))
    utility.create_alias(changed, f"{name}_alias", using=source.using())
    wait_same_rows(source, own_target, changed, expect=28, timeout=90)
    own_target.server.kill()
    own_target.server.start()
    source.collection(changed).insert(simple_rows(range(30, 35)))
    wait_same_rows(source, own_target, changed, expect=33, timeout=90)
    task.wait_caught_up()

    own_target.disconnect()
    own_target.server.kill()
    restore()
    own_target.server.start()
    task.wait_skipped({"target restored to an earlier time, compared": 2}, timeout=120)
    wait_same_rows(source, own_target, changed, expect=33, timeout=90)
    wait_same_rows(source, own_target, first, expect=20)
    aliases = lambda: utility.list_aliases(changed, using=own_target.using())
    wait_until(lambda: aliases() == [f"{name}_alias"], 60, "the alias that was lost")
    assert cdc.log.read_text().count("was restored to an earlier time, or somebody has removed rows there") == 1


def test_another_target_is_left_alone(make_cdc, source, target, own_target, relay, name):
    """It has a collection of the same name and schema, and rows of its own."""
    own_target.create(name).insert(simple_rows(range(1000, 1005)))
    cdc = make_cdc(source).start()
    task = cdc.create(target, scope("*"), uri=relay.uri)
    source.create(name).insert(simple_rows(range(20)))
    wait_same_rows(source, target, name, expect=20)
    task.wait_caught_up()
    relay.lead_to(own_target.server.port)
    source.collection(name).insert(simple_rows(range(20, 30)))
    source.create(f"{name}_new").insert(simple_rows(range(5)))
    task.wait_reason("another server than the one that this task writes to", phase="Retrying")
    own_target.wait_loaded(name)
    assert count(own_target, name) == 5 and own_target.collections() == [name]
    relay.lead_to(target.server.port)
    wait_same_rows(source, target, name, expect=30, timeout=90)
    wait_same_rows(source, target, f"{name}_new", expect=5)


@pytest.mark.slow
def test_a_copied_volume_is_followed(make_cdc, own_source, more_servers, name):
    """Both servers have the same collections with the same ids, and are two all the same."""
    own_source.create(name).insert(simple_rows(range(50)))
    own_source.collection(name).flush()
    own_source.disconnect()
    own_source.server.stop()
    copy = more_servers.launch("copy").wait_ready()
    copy.stop()
    shutil.rmtree(copy.data)
    shutil.copytree(own_source.server.data, copy.data)
    own_source.server.start()
    copy = Node(copy.start())
    own_source.wait_loaded(name)
    own_source.collection(name).insert(simple_rows(range(50, 60)))
    cdc = make_cdc(own_source).start()
    cdc.create(copy, scope("*"))
    wait_same_rows(own_source, copy, name, expect=60, timeout=90)
    own_source.collection(name).delete("id in [1, 2]")
    wait_same_rows(own_source, copy, name, expect=58)
    utility.drop_collection(name, using=own_source.using())
    wait_until(lambda: not copy.has(name), 60, "the drop")

"""Logins and certificates that change while a task runs."""

import certificates
import pytest
from pymilvus import Role, utility

from support.cdc import ApiError, scope
from support.node import Node, simple_rows
from support.oracle import wait_same_rows
from support.waiting import wait_until
from test_tls_auth import dial_config

USER, OLD, NEW = "replicator", "first-secret", "second-secret"


@pytest.fixture(scope="module")
def secured(more_servers) -> Node:
    return Node(more_servers.launch("secured", auth=True).wait_ready())


@pytest.fixture
def login(secured):
    """A user of the target, with the password OLD."""
    utility.create_user(USER, OLD, using=secured.using())
    Role("admin", using=secured.using()).add_user(USER)
    yield {"token": f"{USER}:{OLD}"}
    utility.delete_user(USER, using=secured.using())
    secured.wipe()


def test_a_new_password_is_given_to_the_task_in_place(cdc, source, secured, login, name):
    made = source.create(name)
    task = cdc.create(secured, scope(name), task_id="standby", connect=login)
    made.insert(simple_rows(range(10)))
    wait_same_rows(source, secured, name, expect=10)
    utility.update_password(USER, OLD, NEW, using=secured.using())
    made.insert(simple_rows(range(10, 20)))
    task.wait_reason("credentials", "`update` request", phase="Stopped")

    with pytest.raises(ApiError, match="`update` request") as refused:
        cdc.create(secured, scope(name), task_id="standby", connect={"token": f"{USER}:{NEW}"})
    assert refused.value.code == 400
    with pytest.raises(ApiError):
        cdc.ask("update", task_id="standby", milvus_connect_param={"token": f"{USER}:third-secret"})
    assert task.get()["phase"] == "Stopped"
    with pytest.raises(ApiError, match="not where to"):
        cdc.ask("update", task_id="standby", milvus_connect_param={"uri": source.uri})

    cdc.ask("update", task_id="standby", milvus_connect_param={"username": USER, "password": NEW})
    wait_same_rows(source, secured, name, expect=20)
    assert task.wait_phase("Following")["skipped"] == {}
    # It is on disk, and nowhere else.
    cdc.kill9()
    cdc.start()
    made.insert(simple_rows(range(20, 30)))
    wait_same_rows(source, secured, name, expect=30)
    shown = str(cdc.ask("get", task_id="standby", details=True, events=True)) + cdc.log.read_text()
    assert not [secret for secret in (OLD, NEW, "third-secret") if secret in shown]


def test_a_running_task_goes_on_with_another_login(cdc, source, secured, login, name):
    made = source.create(name)
    task = cdc.create(secured, scope(name), connect=login)
    made.insert(simple_rows(range(10)))
    wait_same_rows(source, secured, name, expect=10)
    cdc.ask("update", task_id=task.id, milvus_connect_param={"token": "root:Milvus"})
    made.insert(simple_rows(range(10, 20)))
    wait_same_rows(source, secured, name, expect=20)
    task.pause()
    cdc.ask("update", task_id=task.id, milvus_connect_param=login)
    assert task.get()["phase"] == "Paused"
    task.resume()
    made.delete("id in [1]")
    wait_same_rows(source, secured, name, expect=19)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_new_certificates_in_the_same_files_need_nobody(cdc, source, more_servers, name):
    node = Node(more_servers.launch("rotated", tls="mutual").wait_ready())
    made = source.create(name)
    task = cdc.create(node, scope(name), connect={"dial_config": dial_config(node)})
    made.insert(simple_rows(range(10)))
    wait_same_rows(source, node, name, expect=10)

    folder = node.server.certificates
    node.server.stop()
    node.disconnect()
    for file in folder.iterdir():
        file.unlink()
    certificates.make(folder)
    node.server.start()
    made.insert(simple_rows(range(10, 20)))
    wait_same_rows(source, node, name, expect=20, timeout=120)
    assert task.get()["state"] == "Running"
    assert "paused" not in str(cdc.ask("get", task_id=task.id, events=True)["task"]["events"])


def test_what_a_deleted_task_had_made_still_goes_with_the_source(cdc, source, target, name):
    kept, dropped = f"{name}_kept", f"{name}_dropped"
    for each in (kept, dropped):
        source.create(each).insert(simple_rows(range(10)))
    source.collection(kept).create_partition("p")
    task = cdc.create(target, scope(kept, dropped), task_id="standby")
    for each in (kept, dropped):
        wait_same_rows(source, target, each, expect=10)
    wait_until(lambda: target.partitions(kept) == ["_default", "p"], 30, "the partition")
    task.delete()
    source.collection(dropped).insert(simple_rows(range(10, 20)))
    task = cdc.create(target, scope(kept, dropped), task_id="again")
    for each in (kept, dropped):
        wait_same_rows(source, target, each)
    partition = source.collection(kept).partition("p")
    partition.release()
    source.collection(kept).drop_partition("p")
    utility.drop_collection(dropped, using=source.using())
    wait_until(lambda: not target.has(dropped), 60, "the drop")
    wait_until(lambda: target.partitions(kept) == ["_default"], 60, "the partition's drop")
    assert task.get()["skipped"] == {}


def test_what_somebody_else_has_made_since_stays(cdc, source, target, name):
    source.create(name).insert(simple_rows(range(10)))
    cdc.create(target, scope(name), task_id="standby")
    wait_same_rows(source, target, name, expect=10)
    cdc.ask("delete", task_id="standby")
    utility.drop_collection(name, using=target.using())
    target.create(name).insert(simple_rows(range(5)))
    cdc.create(target, scope(name), task_id="again")
    wait_same_rows(source, target, name, expect=10)
    utility.drop_collection(name, using=source.using())
    cdc.ask("get", task_id="again")
    wait_until(lambda: "stays on the target" in cdc.log.read_text(), 60, "the drop to be passed over")
    assert target.has(name)

"""`check` between real servers: it reports what a task would encounter and what to do, and changes nothing."""

import json
import subprocess

import pytest
from pymilvus import Role, utility

from support.cdc import EVERYTHING, scope
from support.network import Relay
from support.node import Node, key_field, simple_rows, vector_field
from support.oracle import wait_same_rows
from test_first_copy import forget_log


@pytest.fixture(scope="module")
def guarded(more_servers) -> Node:
    """A server that requires a login, with a user who may only read."""
    node = Node(more_servers.launch("guarded", auth=True).wait_ready())
    using = node.using()
    utility.create_user("looker", "looker123", using=using)
    role = Role("looking", using=using)
    role.create()
    role.add_user("looker")
    for privilege in ("ShowCollections", "DescribeCollection"):
        role.grant("Global", "*", privilege)
    return node


def check(cdc, target, scope_of=None, **more) -> dict:
    connect = {"uri": target.uri, "token": target.server.token, "connect_timeout": 5, **more.pop("connect", {})}
    return cdc.ask("check", milvus_connect_param=connect, **(scope_of or EVERYTHING), **more)


def problems(report: dict, level: str = "problem") -> list[str]:
    found = [finding for finding in report["findings"] if finding["level"] == level]
    assert all(finding["remedy"] for finding in found), "everything that is not good says what to do"
    return [f"{finding['about']}: {finding['text']}" for finding in found]


def test_all_is_well(cdc, source, target, name):
    source.create(name).insert(simple_rows(range(10)))
    report = check(cdc, target, scope(name))
    assert report["ok"] and not problems(report, "warning"), report
    told = {finding["about"]: finding["text"] for finding in report["findings"]}
    assert "v2.3.5" in told["target"] or "login" in told["target"]
    assert told["collections"] == "1 of the source can be carried over"
    assert any("v2.3.5" in finding["text"] for finding in report["findings"] if finding["about"] == "source")
    assert "rocksmq" in told["log"] and "24 h" in told["retention"] and "free" in told["dataDir"]


def test_what_a_promotion_means_for_automatic_keys(cdc, source, target, name):
    source.create(f"{name}_made", fields=[key_field(auto_id=True), vector_field()])
    source.create(f"{name}_given")
    both = scope(f"{name}_made", f"{name}_given")
    found = problems(check(cdc, target, both), "warning")
    assert [text for text in found if "autoID" in text] == [text for text in found if f"{name}_made has autoID" in text]
    assert any("refuses inserts without keys after a promotion" in text for text in found), found
    (warning,) = cdc.create(target, both).warnings
    assert f"default.{name}_made has autoID" in warning and "2.6.3" in warning and f"{name}_given" not in warning


def test_nothing_is_changed(cdc, source, target, name):
    source.create(name).insert(simple_rows(range(10)))
    before = (target.databases(), target.collections(), source.collections())
    check(cdc, target)
    assert (target.databases(), target.collections(), source.collections()) == before
    assert cdc.ask("list")["tasks"] == []
    assert not (cdc.data / "tasks").exists()


def test_names_that_are_taken_on_the_target(cdc, source, target, name):
    for node, dim in ((source, 8), (target, 16)):
        node.create(f"{name}_differs", dim=dim)
    for node in (source, target):
        node.create(f"{name}_same")
    source.create(f"{name}_alias")
    target.create(f"{name}_other")
    utility.create_alias(f"{name}_other", f"{name}_alias", using=target.using())
    report = check(cdc, target)
    found = problems(report)
    assert not report["ok"] and len(found) == 2, found
    assert any("another schema" in text and f"{name}_differs" in text for text in found)
    assert any("is an alias of" in text and f"{name}_alias" in text for text in found)
    assert any(f"{name}_same is on the target already" in text for text in problems(report, "warning"))
    renamed = {
        "source_db": "default",
        "target_db": "default",
        "collection_mapping": {f"{name}_differs": f"{name}_same"},
    }
    both = scope(f"{name}_differs", f"{name}_same")
    assert any("would both become" in text for text in problems(check(cdc, target, both, name_mapping=[renamed])))


def test_logins_and_privileges(cdc, source, guarded, name):
    source.create(name)
    assert check(cdc, guarded, scope(name))["ok"]
    wrong = problems(check(cdc, guarded, scope(name), connect={"token": "root:wrong-one"}))
    assert len(wrong) == 1 and "access denied" in wrong[0], wrong
    looking = problems(check(cdc, guarded, scope(name), connect={"token": "looker:looker123"}))
    assert len(looking) == 1 and "may not create collections, insert, upsert, delete" in looking[0], looking
    assert guarded.collections() == []
    assert "wrong-one" not in cdc.log.read_text()


def test_servers_that_are_away(cdc, target):
    away = problems(check(cdc, target, connect={"uri": "http://127.0.0.1:2", "connect_timeout": 1}))
    assert len(away) == 1 and "no answer" in away[0], away


def test_the_source_behind_another_address(cdc, source, name):
    source.create(name)
    relay = Relay(source.server.port)
    try:
        found = problems(check(cdc, source, scope(name), connect={"uri": relay.uri}))
    finally:
        relay.close()
    assert any("is the source" in text and "itself" in text for text in found), found


def test_a_log_that_is_not_the_sources(make_cdc, source, target, name):
    source.create(name)
    elsewhere = make_cdc(
        source, sourceConfig={"milvus": {"uri": source.uri}, "rocksmq": {"path": str(target.server.rocksmq)}}
    ).start()
    found = problems(check(elsewhere, target, scope(name)))
    # Whether the other Milvus has used the channel depends on earlier tests.
    assert any("the log has nothing of" in text or "has nothing of its creation" in text for text in found), found


def test_a_log_that_is_anothers_on_the_same_channels(make_cdc, source, target, name):
    names = [f"{name}_{number}" for number in range(16)]
    for each in names:
        target.create(each)
    source.create(name)
    elsewhere = make_cdc(
        source, sourceConfig={"milvus": {"uri": source.uri}, "rocksmq": {"path": str(target.server.rocksmq)}}
    ).start()
    found = problems(check(elsewhere, target, scope(name)))
    for each in names:
        target.collection(each).drop()
    assert any("has nothing of its creation" in text for text in found), found


@pytest.mark.slow
def test_rows_that_cannot_be_copied(cdc, source, target, name):
    source.create(name).insert(simple_rows(range(100)))
    forget_log(source, name)
    source.collection(name).release()
    report = check(cdc, target, scope(name), pause_hours=100)
    warned = problems(report, "warning")
    assert any("is not loaded" in text for text in warned), warned
    assert any("retention" in text and "everything would be copied again" in text for text in warned), warned


def test_long_names(cdc, source, target, name):
    mapping = {"source_db": "default", "target_db": "default", "collection_mapping": {name: "x" * 256}}
    source.create(name, fields=[key_field(), vector_field()], load=False)
    report = check(cdc, target, scope(name), name_mapping=[mapping])
    assert any("256 bytes" in text for text in problems(report, "warning")), report


def test_what_another_task_carries(cdc, source, target, name):
    source.create(name).insert(simple_rows(range(5)))
    cdc.create(target, scope(name), task_id="first")
    wait_same_rows(source, target, name, expect=5)
    taken = problems(check(cdc, target, scope(name)))
    assert len(taken) == 1 and taken[0].startswith("task: ") and "duplicate" in taken[0], taken
    known = check(cdc, target, scope(name), task_id="first", connect={"connect_timeout": 10})
    assert known["ok"] and any("a task first exists" in text for text in problems(known, "warning"))


def test_command_without_a_server(binary, cdc, source, target, name):
    source.create(name, load=False)
    target.create(name, dim=16)
    command = [str(binary), "check", "--config", str(cdc.config), "--target", target.uri]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["ABOUT", "FOUND", "WHAT", "TO", "DO"]
    assert any(line.startswith("✗  collections") and "name_mapping" in line for line in lines), done.stdout
    only_source = subprocess.run([*command[:4], "--json"], capture_output=True, text=True, timeout=60)
    report = json.loads(only_source.stdout)
    assert only_source.returncode == 0 and report["ok"], only_source.stdout

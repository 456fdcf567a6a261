"""Recordings of real Milvus 2.6.20 and 3.0 servers, served again and followed to a real Milvus 2.3.5 (see
`support/replay`): what arrives are the rows that the recorded workload left, known from what it wrote.

2.3.5 cannot hold all of them: the rest goes to a Milvus Lite (`test_lite_replay.py`).
"""

import pytest

from support.replay import RECORDINGS, Replay, are_expected
from support.replay.expected import assert_followed, scope
from support.replay.recording import recording
from support.waiting import NotYet, wait_until

pytestmark = pytest.mark.skipif(not are_expected(), reason="the recordings are not beside this checkout")

# No nullable fields, one vector, and types that Milvus 2.3 has.
NAMES = {
    f"default.{name}"
    for name in ("int1 int3 str2 pkeyed auto1 trunc1 trunc3 busy unsure newname swap gone").split()
} | {"kept.inner", "second.inner"}


def go_on(server: Replay, until: int) -> None:
    """Step after step, each once the server has been listed again."""
    while server.step < until:
        seen = server.calls["ListDatabases"]
        wait_until(lambda: server.calls["ListDatabases"] > seen, 30, "another look at the source", every=0.02)
        server.advance()


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_source_that_has_been_there_for_long(follow, replay, target, name):
    """The task comes when all is over: collections are followed from their beginnings, which nothing names."""
    server = replay(name, recording(name).last_step)
    task = follow(server).create(target, scope(server.recording, NAMES))
    assert_followed(server, task, target, NAMES)


@pytest.mark.parametrize("name", ["2.6.20-woodpecker", "3.0-woodpecker"])
def test_a_source_that_is_followed_step_by_step(follow, replay, target, name):
    """From the empty server on, over its restart."""
    server = replay(name)
    task = follow(server).create(target, scope(server.recording, NAMES))
    go_on(server, server.recording.last_step)
    assert_followed(server, task, target, NAMES)


def test_a_kill_after_every_hundredth_record(follow, replay, target):
    """Each life gets a hundred more than the one before, and dies within whatever comes then."""
    server = replay("2.6.20-woodpecker", recording("2.6.20-woodpecker").last_step)
    cdc = follow(server)
    task = cdc.create(target, scope(server.recording, NAMES))
    records = sum(len(messages) for messages in server.recording.channels.values())
    for sent in range(100, records, 100):
        cdc.kill9()
        server.restrict(sent)
        cdc.start()
        try:
            wait_until(lambda: server.sent == sent, 5, f"{sent} records to be sent", every=0.01)
        except NotYet:
            # What is left is less than that: the lives before have come further.
            break
    server.restrict(None)
    assert_followed(server, task, target, NAMES)


@pytest.mark.parametrize("name", ["2.6.20-woodpecker", "3.0-woodpecker"])
def test_kills_in_between(follow, replay, target, name):
    """Every few steps, at any moment."""
    server = replay(name)
    cdc = follow(server)
    task = cdc.create(target, scope(server.recording, NAMES))
    for until in range(4, server.recording.last_step, 4):
        go_on(server, until)
        cdc.kill9()
        cdc.start()
    go_on(server, server.recording.last_step)
    assert_followed(server, task, target, NAMES)

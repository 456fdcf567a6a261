"""Recordings of real Milvus 2.6.20 and 3.0 servers, followed to a real Milvus Lite, which has nullable fields,
defaults, geometries, timestamps with time zone, BM25 and fields that are added later. The rest is in `test_replay.py`.
"""

import pytest

from support.replay import RECORDINGS, are_expected
from support.replay.expected import assert_followed, scope
from support.replay.queues import unpack
from support.replay.recording import recording

pytestmark = [
    pytest.mark.lite,
    pytest.mark.skipif(not are_expected(), reason="the recordings are not beside this checkout"),
]

NAMES = {
    f"default.{name}"
    for name in ("int1 int3 str2 pkeyed auto1 nulls2 trunc1 trunc3 busy unsure newname swap gone geo1 bm1").split()
} | {"kept.inner", "second.inner"}


@pytest.fixture(scope="module")
def lite(more_servers):
    return more_servers.lite("lite", "3.2.2")


@pytest.fixture(autouse=True)
def empty(lite):
    yield
    lite.wipe()


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_source_that_has_been_there_for_long(follow, replay, lite, name):
    server = replay(name, recording(name).last_step)
    task = follow(server).create(lite, scope(server.recording, NAMES))
    assert_followed(server, task, lite, NAMES)


@pytest.mark.parametrize("name", ["2.6.20-rocksmq", "3.0-rocksmq"])
def test_a_folder_as_it_lay_there(follow, replay, lite, tmp_path, name):
    """RocksMQ's files, as the server had left them."""
    server = replay(name, recording(name).last_step)
    folder = unpack(server.recording, "rocksmq", tmp_path)
    task = follow(server, {"rocksmq": {"path": str(folder)}}).create(lite, scope(server.recording, NAMES))
    assert_followed(server, task, lite, NAMES)
    assert not server.calls["DumpMessages"], "everything is in the folder"

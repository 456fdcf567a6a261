"""Where logs keep no marks (Milvus 2.6 and later), the second of two opposite tasks is refused. The source is a fake:
what answers in place of a task that follows the target is the test itself."""

import re
import threading

import pytest
from pymilvus import connections
from pymilvus.grpc_gen import milvus_pb2

from support.cdc import ApiError, scope
from support.fake.milvus import FakeMilvus
from support.fake.service import Service
from test_check import check, problems

SITE = 7


@pytest.fixture
def databases(monkeypatch) -> list[str]:
    """The databases of the fake, which a test may change, as a server that tells when it was set up."""
    names = ["default"]

    def told(_service, _request):
        return milvus_pb2.ListDatabasesResponse(db_names=names, created_timestamp=[SITE] * len(names))

    monkeypatch.setattr(Service, "_databases", told)
    return names


@pytest.fixture
def own_fake(databases):
    fake = FakeMilvus().start()
    yield fake
    fake.stop()


class Counterpart:
    """Answers at the fake as a task does that replicates from the target to it."""

    def __init__(self, target, databases: list[str]):
        told = connections._fetch_handler(target.using())._stub.ListDatabases(milvus_pb2.ListDatabasesRequest())
        self._site = dict(zip(told.db_names, told.created_timestamp))["default"]
        self._target, self._databases, self._ended = target, databases, threading.Event()
        self._thread = threading.Thread(target=self._run, name="counterpart")

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()
        self._databases[:] = ["default"]

    def _run(self):
        while not self._ended.wait(0.1):
            for name in self._target.databases():
                asked = re.fullmatch(rf"cdc_probe_q_{SITE:x}_([0-9a-f]+_[0-9a-f]+)", name)
                if asked:
                    self._databases[:] = ["default", f"cdc_probe_a_{self._site:x}_{asked[1]}"]


def test_create_is_refused_while_a_task_in_the_opposite_direction_answers(follow, own_fake, databases, target, name):
    cdc = follow(own_fake)
    with Counterpart(target, databases):
        with pytest.raises(ApiError, match="would send its rows back without end.*delete one of the two tasks"):
            cdc.create(target, scope(name))
    assert target.databases() == ["default"], "the question is taken back"
    assert cdc.ask("list")["tasks"] == []


def test_check_and_a_running_task_tell_of_one_that_answers_late(follow, own_fake, databases, target, name):
    cdc = follow(own_fake)
    with Counterpart(target, databases):
        found = problems(check(cdc, target, scope(name)))
    assert any("would send its rows back without end" in text for text in found), found
    task = cdc.create(target, scope(name))
    task.wait_phase("Following")
    with Counterpart(target, databases):
        task.wait_reason("would send its rows back without end", phase="Retrying")
    task.pause()
    assert target.databases() == ["default"], "what was announced is taken back"

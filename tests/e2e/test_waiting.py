"""`wait_until` itself: the errors that it tolerates, and those that it must not hide."""

import http.client
import urllib.error

import grpc
import pytest
from confluent_kafka import KafkaException
from pymilvus import MilvusException

from support.browser import BrowserError
from support.cdc import ApiError
from support.waiting import NotYet, wait_until

PASSING = [
    AssertionError("not the same rows"),
    ApiError({"code": 500, "message": "not now"}),
    BrowserError("no such element"),
    MilvusException(message="not loaded"),
    grpc.RpcError("unavailable"),
    KafkaException("no broker"),
    ConnectionRefusedError("nobody listens"),
    TimeoutError("no answer"),
    http.client.RemoteDisconnected("closed"),
    urllib.error.URLError("refused"),
]


@pytest.fixture(scope="module", autouse=True)
def clean_slate():
    """These tests need no servers, so none are started and wiped for them."""


class Check:
    """A condition that raises the given errors, one per call, and then returns."""

    def __init__(self, *errors, answer=True):
        self.calls = 0
        self._errors = list(errors)
        self._answer = answer

    def __call__(self):
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return self._answer


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_what_servers_and_clients_raise_is_waited_out(error):
    check = Check(error, error, answer="there")
    assert wait_until(check, every=0) == "there"
    assert check.calls == 3


@pytest.mark.parametrize("kind", [NameError, TypeError, AttributeError, KeyError, IndexError, ValueError, OSError])
def test_a_mistake_in_a_test_surfaces_at_once(kind):
    check = Check(kind("a typo"))
    with pytest.raises(kind, match="a typo"):
        wait_until(check, every=0)
    assert check.calls == 1


def test_the_time_limit_of_a_test_is_not_taken_for_a_failed_try():
    check = Check(pytest.fail.Exception("Timeout"))
    with pytest.raises(pytest.fail.Exception, match="Timeout"):
        wait_until(check, every=0)
    assert check.calls == 1


def test_the_last_error_says_why_it_did_not_come():
    def differ():
        raise AssertionError("two rows differ")

    with pytest.raises(NotYet, match="the rows did not come within 0 s; AssertionError: two rows differ"):
        wait_until(differ, 0, "the rows")
    with pytest.raises(NotYet, match=r"the rows did not come within 0 s; last answer \[\]"):
        wait_until(lambda: [], 0, "the rows")

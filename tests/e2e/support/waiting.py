"""Waiting for a condition, the only kind of waiting in the tests."""

import http.client
import time
import urllib.error

import grpc
from confluent_kafka import KafkaException
from pymilvus import MilvusException


class NotYet(AssertionError):
    """A condition that did not come true in time."""


class Refusal(Exception):
    """An error of a server, received by one of the harness's own clients."""


# Errors of a check while a server starts, loads or dies. Any other error (a NameError, a KeyError) is a mistake in
# the test, which waiting would only hide.
PASSING = (
    AssertionError,
    Refusal,
    MilvusException,
    grpc.RpcError,
    KafkaException,
    ConnectionError,
    TimeoutError,
    http.client.HTTPException,
    urllib.error.URLError,
)


def wait_until(condition, timeout: float = 30.0, what: str = "the condition", every: float = 0.1):
    """Calls `condition` until its result is true, and returns that result.

    The errors in `PASSING` count as "not yet"; the last one is part of the failure when the time is up. Other errors
    are raised at once.
    """
    deadline = time.monotonic() + timeout
    last: object = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except PASSING as error:
            last = error
        if time.monotonic() > deadline:
            reason = f"{type(last).__name__}: {last}" if isinstance(last, Exception) else f"last answer {last!r}"
            raise NotYet(f"{what} did not come within {timeout:g} s; {reason}")
        time.sleep(every)

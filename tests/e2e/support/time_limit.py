"""A pytest plugin: the limit of pytest-timeout also holds for the teardown and for a second run of a test.

With the method `signal` the limit raises an exception in the main thread, of a kind (`pytest.fail`) that no retry loop
of a test or of pymilvus treats as a failed attempt. Fixtures are torn down as after any other failure.
"""

import pytest

SETTINGS = pytest.StashKey()


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item, settings):
    """Stores the settings; pytest-timeout starts the timer."""
    item.stash[SETTINGS] = settings


def start(item) -> None:
    """Restarts the time limit of the item."""
    stop(item)
    if SETTINGS in item.stash:
        item.ihook.pytest_timeout_set_timer(item=item, settings=item.stash[SETTINGS])


def stop(item) -> None:
    item.ihook.pytest_timeout_cancel_timer(item=item)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item):
    """Restarts the timer for the teardown, which must not hang either: a failure stops the timer, and a timeout uses it
    up."""
    start(item)

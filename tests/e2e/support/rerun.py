"""A pytest plugin: a test that fails while a reference server is stuck runs once more."""

import pytest
from _pytest.runner import runtestprotocol

from . import time_limit
from .node import Node
from .pool import wipe
from .stuck import stuck

# The servers that are examined: the pair of the whole run, while it exists.
WATCHED: list[Node] = []
# Requests that they have not answered since the current test began.
STUCK: dict[Node, str] = {}
RAN_AGAIN = "ran again"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    if outcome.get_result().failed:
        # The examination takes a while, and a time limit that expires outside a test would end the whole run.
        time_limit.stop(item)
        STUCK.update({node: why for node in WATCHED if (why := stuck(node))})


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    STUCK.clear()
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if STUCK:
        reports = _run_again(item, nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _run_again(item, nextitem) -> list:
    why = ", ".join(STUCK.values())
    time_limit.stop(item)
    for node in STUCK:
        node.server.restart()
    wipe(WATCHED)
    item._initrequest()
    time_limit.start(item)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        report.user_properties.append((RAN_AGAIN, why))
    return reports


def pytest_terminal_summary(terminalreporter):
    reports = [
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
    ]
    for report in reports:
        for why in [value for name, value in report.user_properties if name == RAN_AGAIN]:
            terminalreporter.write_line(f"ran a second time: {report.nodeid}: {why}")

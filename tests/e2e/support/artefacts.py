"""A pytest plugin: a failed test prints the end of every server's log and what ours say of their tasks, and keeps the
complete logs."""

import http.client
import json
import os
import pathlib
import re
import shutil

import processes
import pytest

HERE = pathlib.Path(__file__).resolve().parent
# Logs of the running servers by the name under which they are kept.
LIVE_LOGS: dict[str, pathlib.Path] = {}
# The servers under test, likewise; each has a log.
LIVE_CDCS: dict = {}
# Number of lines that a failure prints of the server under test, and of every other server.
LINES_OF_CDC, LINES_OF_OTHERS = 30, 8


def logs_folder() -> pathlib.Path:
    return pathlib.Path(os.environ.get("MILVUS_CDC_TEST_LOGS", HERE.parent / "logs"))


def _tasks_of(cdc) -> str:
    """What a server says of its tasks, or why it says nothing."""
    try:
        return json.dumps(cdc.call("list", timeout=10), indent=1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"no answer: {error!r}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    kept = logs_folder() / re.sub(r"[^\w.-]+", "_", item.nodeid)
    kept.mkdir(parents=True, exist_ok=True)
    for name, log in {**LIVE_LOGS, **{name: cdc.log for name, cdc in LIVE_CDCS.items()}}.items():
        shown = processes.tail(log, LINES_OF_CDC if "cdc" in name else LINES_OF_OTHERS)
        report.sections.append((f"end of {name}", shown))
        if log.exists():
            shutil.copy(log, kept / f"{name}.log")
    for name, cdc in LIVE_CDCS.items():
        told = _tasks_of(cdc)
        report.sections.append((f"tasks of {name}", told))
        (kept / f"{name}-tasks.json").write_text(told)
    report.sections.append(("logs kept in", str(kept)))

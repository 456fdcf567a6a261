"""Metrics as Prometheus sees them: every query of the dashboard finds something, and the lag tells the truth."""

import json
import os
import re
import signal

import pytest

import install
from support.cdc import scope
from support.node import simple_rows
from support.oracle import wait_same_rows
from support.prometheus import EXAMPLES, Prometheus
from support.waiting import wait_until
from test_first_copy import forget_log


@pytest.fixture
def prometheus(cdc, tmp_path):
    program = install.tool("prometheus")
    if program is None:
        pytest.skip("prometheus is not to be had (Debian: prometheus)")
    one = Prometheus(program, tmp_path / "prometheus", cdc)
    yield one
    one.close()


def queries() -> list[tuple[str, str]]:
    """Of the dashboard, its variables filled in."""
    dashboard = json.loads((EXAMPLES / "grafana" / "milvus-cdc.json").read_text())
    values = {"$job": "milvus-cdc", "$instance": ".*", "$task": ".*", "$__rate_interval": "8s"}
    found = []
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            query = target["expr"]
            for variable, value in values.items():
                query = query.replace(variable, value)
            found.append((panel["title"], query))
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            series = re.match(r"label_values\((.+), \w+\)$", variable["definition"])[1]
            found.append((variable["name"], series.replace("$job", "milvus-cdc").replace("$instance", ".*")))
    return found


def live_through_everything(cdc, source, target, relay, prometheus, name) -> None:
    """Rows of all operations, a first copy, a target that goes away, something that cannot be carried over, a stop."""
    copied, followed = f"{name}_copied", f"{name}_followed"
    made = source.create(copied, dim=64)
    for first in range(0, 40_000, 10_000):
        made.insert(simple_rows(range(first, first + 10_000), dim=64))
    source.create(followed).insert(simple_rows(range(10_000, 10_010)))
    forget_log(source, copied, followed)
    made = source.collection(followed)
    relay.stall_after(5_000_000)
    task = cdc.create(target, scope(copied, followed), uri=relay.uri, extra_info={"enable_user_role": True})

    for figure in ("total_rows", "rows"):
        query = f'milvus_cdc_copy_{figure}{{collection_name="default.{copied}"}} > 0'
        wait_until(lambda: prometheus.now(query), 60, f"{query} in a scrape")
    relay.flow()
    wait_same_rows(source, target, copied, expect=40_000, timeout=60)
    made.insert(simple_rows(range(500)))
    made.upsert([list(range(50)), [[1.0] * 8] * 50])
    made.delete("id in [1, 2, 3]")
    wait_same_rows(source, target, followed, expect=507)
    relay.cut()
    made.insert(simple_rows(range(1000, 1100)))
    wait_until(lambda: task.get()["phase"] == "Retrying", 30, "trouble")
    relay.mend()
    wait_same_rows(source, target, followed, expect=607, timeout=60)


def test_every_query_of_the_dashboard_finds_something(cdc, source, target, relay, prometheus, name):
    live_through_everything(cdc, source, target, relay, prometheus, name)

    def all_of_them():
        empty = [f"{title}: {query}" for title, query in queries() if not prometheus.ever(query)]
        assert not empty, "\n".join(empty)
        return True

    wait_until(all_of_them, 20, "an answer to every query", every=1)
    # Catalog steps are counted under their names, and what a copy wrote is among the rows.
    steps = {series["metric"]["api_type"] for series in prometheus.now("milvus_cdc_api_execute_total")}
    assert {"CreateCollection", "CreateIndex", "LoadCollection", "Insert", "Upsert", "Delete"} <= steps
    written = prometheus.now(f'sum(milvus_cdc_replicate_data_cnt{{collection_name="default.{name}_copied"}})')
    assert int(written[0]["value"][1]) >= 40_000


def lag(cdc) -> float:
    found = re.search(r"^milvus_cdc_task_lag_seconds\{[^}]*\} (\S+)$", cdc.get_text("/metrics"), re.MULTILINE)
    assert found, "no lag among the metrics"
    return float(found[1])


def test_lag_grows_while_the_source_hangs(cdc, source, target, name):
    task = cdc.create(target, scope(name))
    source.create(name).insert(simple_rows(range(10)))
    wait_same_rows(source, target, name, expect=10)
    task.wait_caught_up()
    wait_until(lambda: lag(cdc) < 3, 30, "a short lag")
    pid = source.server.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: lag(cdc) > 6, 20, "a lag of more than six seconds", every=0.5)
    finally:
        os.kill(pid, signal.SIGCONT)
    # A Milvus that has slept for so long has lost the sessions of its own parts.
    source.server.restart()
    task.wait_caught_up()
    wait_until(lambda: lag(cdc) < 3, 30, "a short lag")


def test_lag_is_known_before_there_is_a_connection(cdc, source, target, relay, name):
    """After a restart with the target away the lag goes on from the checkpoint instead of starting anew."""
    task = cdc.create(target, scope(name), uri=relay.uri)
    source.create(name).insert(simple_rows(range(10)))
    wait_same_rows(source, target, name, expect=10)
    task.wait_caught_up()
    cdc.terminate()
    relay.cut()
    cdc.start()
    wait_until(lambda: lag(cdc) > 2, 30, "a lag that counts from the checkpoint", every=0.5)
    events = cdc.ask("get", task_id=task.id, events=True)["task"]["events"]
    assert any(event["kind"] == "retry" and "no answer" in event["text"] for event in events), events

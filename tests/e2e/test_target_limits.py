"""A target that limits the rate of writes gets what it takes, as what it was: it refuses a call before it begins."""

import pytest

from support.cdc import scope
from support.node import Node, key_field, simple_rows, vector_field
from support.oracle import wait_same_rows
from support.waiting import wait_until

MB_PER_SECOND = 1
DIM = 256


@pytest.fixture(scope="module")
def limited_target(more_servers) -> Node:
    settings = {
        "quotaAndLimits.enabled": True,
        "quotaAndLimits.dml.enabled": True,
        "quotaAndLimits.dml.insertRate.max": MB_PER_SECOND,
    }
    return Node(more_servers.launch("limited-target", settings=settings).wait_ready())


def calls(cdc, kind: str) -> list[str]:
    """The lines of the metrics that count acknowledged calls of this kind."""
    lines = cdc.get_text("/metrics").splitlines()
    return [line for line in lines if line.startswith("milvus_cdc_api_execute_total{") and f'api_type="{kind}"' in line]


def refusals(cdc) -> list[str]:
    """The lines of the metrics that count calls that the target has refused."""
    lines = cdc.get_text("/metrics").splitlines()
    return [line for line in lines if line.startswith('milvus_cdc_errors_total{kind="server",side="target"')]


def test_rows_beyond_the_targets_rate_arrive_as_inserts(cdc, source, limited_target, name):
    made = source.create(name, fields=[key_field(), vector_field(DIM)])
    task = cdc.create(limited_target, scope(name))
    task.wait_phase("Following")
    # About 1 MB each, all at once.
    for batch in range(12):
        made.insert(simple_rows(range(1000 * batch, 1000 * (batch + 1)), dim=DIM))
    # A refusal is over within moments: the calls go at the target's pace from then on.
    wait_until(lambda: refusals(cdc), 30, "the limit to be met")
    wait_same_rows(source, limited_target, name, expect=12_000, timeout=120)
    task.wait_caught_up()
    assert calls(cdc, "Insert") and not calls(cdc, "Upsert")

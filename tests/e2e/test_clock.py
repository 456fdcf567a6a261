"""A host whose clock is not the source's: lag and comparisons are counted in the source's time."""

import pytest

from support.cdc import scope
from support.clock import with_clock_ahead
from support.node import simple_rows
from support.oracle import wait_same_rows
from support.waiting import wait_until
from test_verify import only, run


@pytest.mark.parametrize("ahead", [30, -30])
def test_a_wrong_clock_changes_no_result(make_cdc, source, target, name, tmp_path, binary, ahead):
    cdc = make_cdc(source)
    cdc._binary = with_clock_ahead(binary, ahead, tmp_path / "clock")
    cdc.start()
    made = source.create(name)
    made.insert(simple_rows(range(100)))
    task = cdc.create(target, scope(name))
    wait_same_rows(source, target, name, expect=100)

    def shown():
        shown = cdc.ask("get", task_id=task.id, details=True, events=True)["task"]
        assert shown["phase"] == "Following", shown
        # By this host's clock it would be 30 s, or nothing at all.
        assert 0 < shown["lag_ms"] < 10_000, shown["lag_ms"]
        assert abs(shown["details"]["clock_skew_ms"] + ahead * 1000) < 5000, shown["details"]["clock_skew_ms"]
        return shown

    told = [event["text"] for event in wait_until(shown, 60, "a lag")["events"] if event["kind"] == "clock"]
    side = "behind" if ahead > 0 else "ahead of"
    assert len(told) == 1 and f"ms {side} this host's" in told[0], told
    assert f'milvus_cdc_clock_skew_seconds{{task_id="{task.id}"}} ' in cdc.get_text("/metrics")
    # What is under way is no difference: the comparison waits for the source's time.
    for first in range(1000, 1010):
        made.insert(simple_rows([first]))
        made.delete(f"id in [{first - 1000}]")
    code, result = run(cdc, "verify", task.id)
    assert (code, result["verdict"]) == (0, "equal") and only(result)["compared"] >= 99, result

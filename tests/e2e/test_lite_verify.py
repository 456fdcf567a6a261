"""Comparing and repairing where a side is a Milvus Lite: what it writes in another way is no difference."""

import pytest
from pymilvus import DataType, FieldSchema, MilvusException

from support.cdc import scope
from support.node import key_field, simple_rows, vector_field
from support.oracle import count, wait_same_rows
from support.waiting import wait_until
from test_verify import only, run

pytestmark = pytest.mark.lite


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.2.2", "2.5.1"])
def test_a_target_is_compared_and_mended(cdc, more_servers, source, name, version):
    target = more_servers.lite(version, version)
    fields = [
        key_field(),
        vector_field(),
        FieldSchema("text", DataType.VARCHAR, max_length=20),
        FieldSchema("list", DataType.ARRAY, element_type=DataType.VARCHAR, max_length=9, max_capacity=5),
    ]
    made = source.create(name, fields=fields, enable_dynamic_field=True)
    row = lambda row: {**row, "text": f"t{row['id']}", "list": ["x"] * (row["id"] % 3), "extra": row["id"]}
    made.insert([row(one) for one in simple_rows(range(3000))])
    source.wait_loaded(name)
    task = cdc.create(target, scope(name))
    task.wait_caught_up()
    code, result = run(cdc, "verify", task.id)
    assert (code, result["verdict"]) == (0, "equal"), only(result)
    assert only(result)["compared"] == 3000
    there = target.collection(name)
    there.delete("id in [5, 6]")
    there.upsert([row(one) for one in simple_rows([7], mark=9.0)])
    there.insert([row(one) for one in simple_rows([9000])])
    code, result = run(cdc, "verify", task.id)
    assert code == 1, result
    kinds = {(row["kind"], row["key"]) for row in only(result)["first"]}
    assert kinds == {("missing", "5"), ("missing", "6"), ("different", "7"), ("extra", "9000")}, result
    code, result = run(cdc, "repair", task.id)
    assert code == 0, result
    assert count(target, name) == 3000


@pytest.fixture
def between(make_cdc, more_servers, request):
    """Two Lites of one version, and a server that scans the first every second."""
    source, target = (more_servers.lite(f"{request.node.name}-{side}", request.param) for side in "ab")
    return make_cdc(source, source_config={"log": "scan", "scan": {"interval": 1}}).start(), source, target


@pytest.mark.parametrize("between", ["3.2.2", "2.5.1"], indirect=True)
def test_lite_against_lite(between, name):
    cdc, source, target = between
    source.create(name).insert(simple_rows(range(500)))
    task = cdc.create(target, scope(name))
    wait_same_rows(source, target, name, expect=500)
    task.wait_caught_up()
    code, result = run(cdc, "verify", task.id)
    assert (code, result["verdict"]) == (0, "equal"), result


@pytest.mark.slow
@pytest.mark.parametrize("between", ["3.2.2", "2.5.1"], indirect=True)
def test_kill_9_during_a_repair(between, name):
    cdc, source, target = between
    made = source.create(name)
    for first in range(0, 17_000, 8500):
        made.insert(simple_rows(range(first, first + 8500)))
    task = cdc.create(target, scope(name))
    wait_same_rows(source, target, name, expect=17_000, timeout=60)
    task.wait_caught_up()
    target.collection(name).delete("id >= 3000")
    target.collection(name).insert(simple_rows(range(100_000, 100_100)))
    wait_until(lambda: count(target, name) == 3100, 30, "the planted damage")
    cdc.ask("repair", task_id=task.id)
    wait_until(lambda: count(target, name) != 3100, 60, "the repair to write", every=0.01)
    cdc.kill9()
    cdc.start()
    # A round compares with what is known to be there; what the repair had begun is in that knowledge.
    run(cdc, "repair", task.id)
    wait_same_rows(source, target, name, expect=17_000, timeout=60)
    code, result = run(cdc, "verify", task.id)
    assert code == 0, result


@pytest.mark.parametrize("between", ["2.5.1"], indirect=True)
def test_pages_of_large_rows(between, name):
    """More than 64 MiB in one response is refused ("query results exceed the limit size"): smaller pages are read."""
    cdc, source, target = between
    texts = [FieldSchema(f"text{number}", DataType.VARCHAR, max_length=65_535) for number in (1, 2)]
    made = source.create(name, fields=[key_field(), vector_field(), *texts])
    row = lambda row: {**row, **{field.name: f"{field.name} of {row['id']} ".ljust(65_000, "x") for field in texts}}
    for begin in range(0, 560, 80):
        made.insert([row(one) for one in simple_rows(range(begin, begin + 80))])
    with pytest.raises(MilvusException, match="exceed the limit size"):
        made.query("id >= 0", output_fields=["*"], limit=560)
    task = cdc.create(target, scope(name))
    wait_until(lambda: target.has(name) and count(target, name) == 560, 60, "the rows")
    for begin in range(0, 560, 80):
        for found in target.collection(name).query(f"{begin} <= id < {begin + 80}", output_fields=["*"]):
            assert row(found) == found, found["id"]
    task.wait_caught_up()
    code, result = run(cdc, "verify", task.id)
    assert (code, result["verdict"], only(result)["compared"]) == (0, "equal", 560), only(result)

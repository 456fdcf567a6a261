"""Replica numbers. The source's is a fake (see support/answers.py): a reference server has one query node, so it can hold one."""

from support.answers import changed_answers, with_replicas
from support.cdc import scope
from support.node import simple_rows
from support.oracle import wait_same_rows


def test_more_replicas_than_the_target_can_hold(make_cdc, source, target, name):
    """Loaded with what the target has, and counted."""
    source.create(name).insert(simple_rows(range(10)))
    with changed_answers(source, {"GetReplicas": with_replicas(2)}) as uri:
        cdc = make_cdc(source, milvus={"uri": uri}).start()
        task = cdc.create(target, scope(name))
        wait_same_rows(source, target, name, expect=10)
        target.wait_loaded(name)
        assert task.get()["skipped"].get("replicas") == 1, task.get()["skipped"]
        assert name in cdc.log.read_text()
        cdc.end()

"""A log that has lost what a task needs: the affected collections are copied again, and the task says so."""


from support.cdc import scope
from support.node import simple_rows
from support.oracle import assert_same_rows, rows, wait_same_rows
from support.waiting import wait_until
from test_first_copy import forget_log


def fall_behind(source, target, task, made) -> None:
    """The target gets 500 rows; then the task misses new rows, changed rows and deleted rows, and their log is lost."""
    name = made.name
    made.insert(simple_rows(range(500)))
    wait_same_rows(source, target, name, expect=500)
    task.wait_caught_up()
    task.pause()
    made.insert(simple_rows(range(1000, 1200)))
    made.delete(f"id in {list(range(50))}")
    made.upsert([list(range(100, 150)), [[8.0] * 8] * 50])
    forget_log(source, name)


def test_gap_is_copied_again(cdc, source, target, name):
    task = cdc.create(target, scope(name))
    fall_behind(source, target, task, source.create(name, shards=2))
    task.resume()
    wait_same_rows(source, target, name, expect=650, timeout=60)
    assert not {key for key, _ in rows(target, name)} & set(range(50)), "rows that the source deleted are left"
    assert name in cdc.log.read_text(), "the log of milvus-cdc does not name the collection that was copied again"
    source.collection(name).insert(simple_rows(range(2000, 2010)))
    wait_same_rows(source, target, name, expect=660)
    task.wait_caught_up()
    assert_same_rows(source, target, name)


def test_gap_during_a_restart_of_the_server(cdc, source, target, name):
    task = cdc.create(target, scope(name))
    made = source.create(name)
    made.insert(simple_rows(range(300)))
    wait_same_rows(source, target, name, expect=300)
    task.wait_caught_up()
    cdc.kill9()
    made.insert(simple_rows(range(300, 400)))
    made.delete("id in [1, 2, 3]")
    forget_log(source, name)
    cdc.start()
    wait_same_rows(source, target, name, expect=397, timeout=60)


def test_gap_of_one_collection_leaves_the_others_alone(cdc, source, target, name):
    """Collections on channels of their own; one loses its log."""
    lost = source.create(f"{name}_lost", shards=2)
    kept = create_apart(source, f"{name}_kept", lost)
    kept.insert(simple_rows(range(100)))
    task = cdc.create(target, scope(lost.name, kept.name))
    fall_behind(source, target, task, lost)
    kept.insert(simple_rows(range(100, 150)))
    task.resume()
    wait_same_rows(source, target, lost.name, expect=650, timeout=60)
    wait_same_rows(source, target, kept.name, expect=150, timeout=60)

    def copied() -> list[str]:
        return [line for line in cdc.log.read_text().splitlines() if "copied" in line]

    wait_until(lambda: any(lost.name in line for line in copied()), 30, "the log to say that the collection was copied again")
    assert not any(kept.name in line for line in copied()), "the other collection was copied, too"


def create_apart(source, name, other):
    """A collection that shares no topic with the other one; the server chooses where it lives."""
    taken = set(source.topics_of(other.name))
    for number in range(16):
        made = source.create(f"{name}_{number}")
        if taken.isdisjoint(source.topics_of(made.name)):
            return made
    raise AssertionError(f"16 collections, and each shares a topic with {other.name}: {sorted(taken)}")


def test_kill_9_while_a_gap_is_copied(cdc, source, target, name):
    """The copy after a gap also removes rows. Killed in between, it must still end with the source's rows only."""
    made = source.create(name)
    for first in range(0, 60_000, 10_000):
        made.insert(simple_rows(range(first, first + 10_000)))
    task = cdc.create(target, scope(name))
    wait_same_rows(source, target, name, expect=60_000, timeout=60)
    task.wait_caught_up()
    task.pause()
    for first in range(0, 60_000, 10_000):
        made.delete(f"id in {list(range(first, first + 100))}")
    forget_log(source, name)
    task.resume()
    for _ in range(2):
        wait_until(lambda: task.get()["phase"] == "Copying", 30, "the copy", every=0.02)
        cdc.kill9()
        cdc.start()
    wait_same_rows(source, target, name, expect=59_400, timeout=90)

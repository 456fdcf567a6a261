"""Load states: changes by a user of the source are replicated, effects of faults are not."""

import threading

import pytest
from pymilvus import utility

from support.cdc import ApiError, scope
from support.node import FLAT, simple_rows
from support.oracle import LOADING, count, wait_same_rows
from support.waiting import wait_until


class Reader:
    """Queries collections in turn, from a thread, and records failures."""

    def __init__(self, node, names):
        self.rounds = 0
        self.failures: list[str] = []
        self._collections = [node.collection(name) for name in names]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join(90)
        assert not self._thread.is_alive(), "the reader's last call hangs"

    def go_on(self, rounds: int) -> None:
        seen = self.rounds
        wait_until(lambda: self.rounds > seen + rounds, 60, "the reader to go on")

    def _run(self) -> None:
        while not self._stop.is_set():
            for collection in self._collections:
                try:
                    collection.query("id in [1]", output_fields=["id"], consistency_level="Eventually", timeout=30)
                except Exception as error:  # whatever the error, a user's query has failed
                    self.failures.append(f"{collection.name}: {error}")
            self.rounds += 1
            self._stop.wait(0.05)


def is_partition_loaded(node, name: str, partition: str) -> bool:
    state = utility.load_state(name, partition_names=[partition], using=node.using())
    return str(state) == "Loaded"


@pytest.mark.slow
def test_source_on_its_way_up_releases_nothing(wal, fake, target, name):
    """The source is a fake: how long a real one takes to start, and what it answers meanwhile, cannot be controlled."""
    fake.create(name)
    fake.insert(name, {key: [float(key)] * 4 for key in range(10)})
    task = wal.create(target, scope(name))
    wait_until(lambda: count(target, name) == 10, LOADING, "the rows")

    def looked_at() -> None:
        seen = fake.calls["ShowCollections"]
        wait_until(lambda: fake.calls["ShowCollections"] > seen + 12, 60, "some rounds of the catalog")

    with Reader(target, [name]) as reader:
        reader.go_on(5)
        for load in ("loading", "loaded", "released", "loading", "loaded", "released"):
            fake.show_load(name, load)
            looked_at()
        fake.insert(name, {key: [float(key)] * 4 for key in range(10, 20)})
        task.wait_caught_up()
        reader.go_on(5)
    assert reader.failures == []
    assert target.is_loaded(name)
    fake.release(name)
    wait_until(lambda: not target.is_loaded(name), 60, "the release that a user asked for")
    fake.show_load(name, "loaded")
    wait_until(lambda: count(target, name) == 20, LOADING, "the load")


@pytest.mark.slow
@pytest.mark.every_log
def test_killed_source_releases_nothing_on_the_target(cdc, source, target, name):
    names = [f"{name}_{number}" for number in range(3)]
    for one in names:
        source.create(one).insert(simple_rows(range(50)))
    task = cdc.create(target, scope(*names))
    for one in names:
        wait_same_rows(source, target, one, expect=50, timeout=LOADING)
    with Reader(target, names) as reader:
        reader.go_on(5)
        source.server.kill()
        task.wait_reason()
        source.server.start()
        for one in names:
            wait_until(lambda one=one: count(source, one) == 50, LOADING, f"{one} to be readable at the source again")
        task.wait_caught_up(LOADING)
        # The catalog has compared the present state of the source, and more than once.
        reader.go_on(60)
    assert reader.failures == []
    for one in names:
        source.collection(one).insert(simple_rows(range(50, 60)))
        wait_same_rows(source, target, one, expect=60)


def test_release_that_the_log_shows_follows_at_once(cdc, source, target, name):
    made = source.create(name)
    cdc.create(target, scope(name)).wait_phase("Following")
    wait_until(lambda: target.is_loaded(name), LOADING, "the load")
    source.wait_loaded(name)
    for _ in range(2):
        made.release()
        # Long before the three minutes for which a release without a request must last.
        wait_until(lambda: not target.is_loaded(name), 60, "the release")
        made.load()
        wait_until(lambda: target.is_loaded(name), LOADING, "the load")


@pytest.mark.slow
def test_release_that_the_log_does_not_show_follows_when_it_lasts(make_cdc, source, target, name):
    """2.3.5 does not log the release of a partition."""
    made = source.create(name, load=False)
    made.create_index("vec", FLAT)
    for partition in ("p", "q"):
        made.create_partition(partition)
    made.load(["p", "q"])
    cdc = make_cdc(source, source_config={"releaseAfter": 3}).start()
    task = cdc.create(target, scope(name))
    for partition in ("p", "q"):
        wait_until(lambda one=partition: is_partition_loaded(target, name, one), LOADING, f"the load of {partition}")
    made.partition("q").release()
    wait_until(lambda: not is_partition_loaded(target, name, "q"), 120, "the release of q")
    assert is_partition_loaded(target, name, "p")
    task.wait_phase("Following")


def test_load_only_and_ignored(cdc, source, target, name):
    kept, own = f"{name}_kept", f"{name}_own"
    for one in (kept, own):
        source.create(one).insert(simple_rows(range(10)))
        source.wait_loaded(one)
    cdc.create(target, scope(kept), extra_info={"load": "load_only"})
    ignoring = cdc.create(target, scope(own), extra_info={"load": "ignore"})
    wait_same_rows(source, target, kept, expect=10, timeout=LOADING)
    source.collection(kept).release()
    source.collection(own).release()
    ignoring.wait_caught_up()
    # Later changes have been replicated, so both collections have been compared since.
    for one in (kept, own):
        source.collection(one).set_properties({"collection.ttl.seconds": 100_000})
        wait_until(
            lambda one=one: "100000" in str(target.describe(one)["properties"]), 60, f"the property of {one}"
        )
    assert target.is_loaded(kept) and not target.is_loaded(own)
    target.collection(own).load()
    source.collection(own).load()
    wait_same_rows(source, target, own, expect=10)


def test_unknown_policy_is_refused(cdc, target, name):
    with pytest.raises(ApiError, match="follow, load_only, ignore"):
        cdc.create(target, scope(name), extra_info={"load": "sometimes"})

"""Latency of catalog changes, and the effect of a dead target on everything else."""

import time

import bench_measure

COLLECTIONS = 100
CHANGES = 20
SWAPS = 10
ROWS, PAUSE = 100, 0.15
LISTS = 50


def catalog(bench) -> dict:
    """From the source's answer to a change to the change on the target, among a hundred collections."""
    from support.cdc import EVERYTHING
    from support.waiting import wait_until

    names = [f"catalog_{number}" for number in range(COLLECTIONS)]
    for name in names:
        bench.source.create(name, load=False)
    task = bench.cdc().create(bench.target, EVERYTHING)
    wait_until(lambda: set(names) <= set(bench.target.collections()), 120, "every collection on the target")
    task.wait_caught_up()
    bench.settle()
    delays = []
    for name in names[:: COLLECTIONS // CHANGES]:
        bench.source.collection(name).create_partition("late")
        answered = time.perf_counter()
        wait_until(lambda: "late" in bench.target.partitions(name), 60, "the partition", every=0.01)
        delays.append(time.perf_counter() - answered)
    swaps = [_swap(bench, name) for name in names[:: COLLECTIONS // SWAPS]]
    to_alias, to_collection = zip(*swaps, strict=True)
    bench.wipe()
    return {
        "collections": COLLECTIONS,
        "partition_at_target": bench_measure.spread(delays),
        "alias_in_place_of_collection": bench_measure.spread(to_alias),
        "collection_in_place_of_alias": bench_measure.spread(to_collection),
    }


def _swap(bench, name: str) -> tuple[float, float]:
    """The name of a collection becomes an alias of another one, from the alias's answer on, and the reverse, with the
    call that makes the collection."""
    from pymilvus import utility
    from support.waiting import wait_until

    source, target, other = bench.source.using(), bench.target, f"{name}_next"
    bench.source.create(other, load=False)
    wait_until(lambda: target.has(other), 60, "the other collection")
    utility.drop_collection(name, using=source)
    utility.create_alias(other, name, using=source)
    to_alias = _seconds(lambda: wait_until(lambda: target.stands_for(name) == other, 60, "the alias", every=0.01))
    utility.drop_alias(name, using=source)

    def to_collection():
        bench.source.create(name, load=False)
        wait_until(lambda: target.stands_for(name) == name, 60, "the collection", every=0.01)

    return to_alias, _seconds(to_collection)


def isolation(bench) -> dict:
    """Effect of a target that accepts nothing on the task of another target, the API, a pause and a shutdown."""
    from support.cdc import scope
    from support.network import Relay
    from support.node import simple_rows
    from support.waiting import wait_until

    followed, held = bench.source.create("followed"), bench.source.create("held")
    other = bench.another_target()
    relay = Relay(other.server.port)
    try:
        cdc = bench.cdc()
        cdc.create(bench.target, scope("followed"))
        doomed = cdc.create(other, scope("followed", "held"), uri=relay.uri)
        for node, name in ((bench.target, "followed"), (other, "followed"), (other, "held")):
            wait_until(lambda: node.has(name) and node.is_loaded(name), 120, f"{name} to be loaded on the target")
        doomed.wait_caught_up()
        bench.settle()
        alive = _trickle(followed, bench.target, 0)
        relay.stall()
        held.insert(simple_rows(range(1000)))
        wait_until(lambda: doomed.lag_ms() > 1000, 30, "the call that nobody answers")
        dead = _trickle(followed, bench.target, ROWS)
        lists = [_seconds(lambda: cdc.ask("list")) for _ in range(LISTS)]
        pause = _seconds(doomed.pause)
        doomed.resume()
        held.insert(simple_rows(range(1000, 2000)))
        end = _seconds(cdc.terminate)
    finally:
        relay.close()
        other.server.kill()
    bench.wipe()
    return {
        "visible_at_target": {"other_target_alive": alive, "other_target_dead": dead},
        "api_list": bench_measure.spread(lists),
        "pause_s": round(pause, 2),
        "end_of_the_server_s": round(end, 2),
    }


def _trickle(made, target, first: int) -> dict:
    """From the source's acknowledgement of single rows to their visibility on the target."""
    from support.node import simple_rows
    from support.waiting import wait_until

    acknowledged = {}
    with bench_measure.Arrivals(target, made.name) as there:
        for key in range(first, first + ROWS):
            made.insert(simple_rows([key]))
            acknowledged[key] = time.perf_counter()
            time.sleep(PAUSE)
        wait_until(lambda: acknowledged.keys() <= there.seen.keys(), 60, "the last row")
    return bench_measure.spread([there.seen[key] - at for key, at in acknowledged.items()])


def _seconds(act) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started

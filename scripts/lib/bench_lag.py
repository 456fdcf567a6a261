"""How far a row is behind the source's own acknowledgement: single rows, with one program or two in turn.

When a row is visible is up to the phases of a server's own ticks, which are fixed when it starts: rows that are written
straight to the target show what it needs by itself."""

import random
import statistics
import time

import bench_measure

ROWS, VISIBLE_ROWS = 200, 100
# Of no fixed length: the rows must not fall into step with the servers' ticks.
PAUSES = (0.1, 0.2)
TURNS = 2


def lag(bench) -> dict:
    """From a row's acknowledgement at the source to the target's acknowledgement, and to its visibility at both; and
    from the target's acknowledgement of a row of a client's to its visibility there."""
    programs = {"this": bench.binary, **({"other": bench.other_binary} if bench.other_binary else {})}
    kinds = ("written_at_target", "visible_at_source", "visible_at_target", "visible_at_target_by_itself")
    delays = {name: {kind: [] for kind in kinds} for name in programs}
    for turn in range(TURNS):
        for name, binary in programs.items():
            for figure, seconds in _turn(bench, binary, f"lag_{name}_{turn}").items():
                delays[name][figure] += seconds
    figures = {name: {kind: bench_measure.spread(all_of) for kind, all_of in of.items()} for name, of in delays.items()}
    if bench.other_binary:
        p50 = {name: statistics.median(of["written_at_target"]) for name, of in delays.items()}
        figures["ratio_p50_written_at_target"] = round(p50["this"] / p50["other"], 3)
    return figures


def _turn(bench, binary, name: str) -> dict:
    from support.cdc import scope
    from support.waiting import wait_until

    made = bench.source.create(name)
    cdc = bench.cdc(binary)
    cdc.create(bench.target, scope(name))
    wait_until(lambda: bench.target.is_loaded(name), 60, "the loaded collection on the target")
    there_until = lambda seen, count: wait_until(lambda: len(seen) == count, 30, "the last row")
    with bench_measure.Arrivals(bench.source, name) as here, bench_measure.Arrivals(bench.target, name) as there:
        at_source = _insert(made, 0, VISIBLE_ROWS)
        there_until(here.seen, VISIBLE_ROWS)
        there_until(there.seen, VISIBLE_ROWS)
    with bench_measure.Writes(cdc) as written:
        acknowledged = _insert(made, VISIBLE_ROWS, ROWS)
        there_until(written.times, ROWS)
    bench.wipe()
    alone = bench.target.create(name)
    bench.target.wait_loaded(name)
    with bench_measure.Arrivals(bench.target, name) as direct:
        at_target = _insert(alone, 0, VISIBLE_ROWS)
        there_until(direct.seen, VISIBLE_ROWS)
    bench.wipe()
    return {
        "written_at_target": [at - then for at, then in zip(written.times, acknowledged)],
        "visible_at_source": [here.seen[key] - then for key, then in enumerate(at_source)],
        "visible_at_target": [there.seen[key] - then for key, then in enumerate(at_source)],
        "visible_at_target_by_itself": [direct.seen[key] - then for key, then in enumerate(at_target)],
    }


def _insert(made, first: int, count: int) -> list[float]:
    """Inserts single rows; returns when the source has acknowledged each."""
    from support.node import simple_rows

    acknowledged = []
    for key in range(first, first + count):
        made.insert(simple_rows([key]))
        acknowledged.append(time.perf_counter())
        time.sleep(random.uniform(*PAUSES))
    return acknowledged

"""Waiting for something to become true, the only kind of waiting that the tests do; and measuring on machines that are not quiet."""

import time


class NotYet(AssertionError):
    """A condition that did not come true in time."""


def wait_until(condition, timeout: float = 30.0, what: str = "the condition", every: float = 0.1):
    """Calls `condition` until it answers something true, which is returned.

    Errors count as "not yet", an AssertionError too; the last one tells why when the time is up.
    """
    deadline = time.monotonic() + timeout
    last: object = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except Exception as error:  # whatever a server answers while it starts, loads or dies
            last = error
        if time.monotonic() > deadline:
            reason = f"{type(last).__name__}: {last}" if isinstance(last, Exception) else f"last answer {last!r}"
            raise NotYet(f"{what} did not come within {timeout:g} s; {reason}")
        time.sleep(every)


def while_it_fails(measure, fails, turns: int = 3) -> list:
    """Measures again when a figure is not good: a machine stands still now and then, what is wrong with the product shows every time.

    Calls `measure(turn)`; answers the figures if all of them were bad, and nothing otherwise.
    """
    bad = []
    for turn in range(turns):
        figure = measure(turn)
        if not fails(figure):
            return []
        bad.append(figure)
    return bad

"""Free ports for servers that keep them over restarts."""

import os
import pathlib
import random
import socket

# Names the run among those that go on at the same time, `0/2` and `1/2` if there are two.
RUN_OF = "MILVUS_CDC_TEST_RUN"

# What this process has handed out. A server may listen on its ports only long after it was told them, and two that start at the same
# time must not be told the same: Milvus opens its ports so that another process can share them, and neither would complain.
_handed_out: set[int] = set()


def _first_ephemeral() -> int:
    try:
        text = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
        return int(text.split()[0])
    except (OSError, ValueError):
        return 32768


def _is_free(port: int) -> bool:
    # Asked for every address: the server may listen on more than one.
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """`count` different free ports.

    Below the range that the kernel hands to outgoing connections: a client that keeps trying to reach a dead server there
    would sooner or later be given that very port as its own, connect to itself and keep the server from starting again.
    """
    candidates = _own_share(range(10000, max(_first_ephemeral(), 20000)))
    found: list[int] = []
    for port in random.sample(candidates, len(candidates)):
        if port not in _handed_out and _is_free(port):
            found.append(port)
            if len(found) == count:
                _handed_out.update(found)
                return found
    raise OSError(f"fewer than {count} free ports between {candidates[0]} and {candidates[-1]}")


def _own_share(ports: range) -> range:
    """Test processes side by side (runs of pytest, and pytest-xdist's workers in each) look in different places: a port that is free now
    may be another's choice by the time that a server listens there."""
    run, runs = (int(number) for number in os.environ.get(RUN_OF, "0/1").split("/"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    size = len(ports) // (runs * workers)
    number = run * workers + worker
    return ports[number * size : (number + 1) * size]

"""Free ports for servers that keep them across restarts."""

import os
import pathlib
import random
import socket

# Number of this run among concurrent ones: `0/2` and `1/2` if there are two.
RUN_OF = "MILVUS_CDC_TEST_RUN"

# Ports that this process has assigned. A server may begin to listen long after it got its ports, and two that start at
# the same time must not get the same: Milvus opens its ports in a way that lets another process share them, and neither
# would report an error.
_handed_out: set[int] = set()


def _first_ephemeral() -> int:
    try:
        text = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
        return int(text.split()[0])
    except (OSError, ValueError):
        return 32768


def _is_free(port: int) -> bool:
    # Tested on every address, since the server may listen on more than one.
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """`count` different free ports.

    They lie below the kernel's range for outgoing connections. A client that keeps trying to reach a dead server in
    that range would sooner or later get the server's port as its own, connect to itself, and keep the server from
    restarting.
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
    """Where this process begins to search. Concurrent test processes (runs of pytest, workers of pytest-xdist) search
    in different places, since two could choose the same free port before a server listens on it."""
    run, runs = (int(number) for number in os.environ.get(RUN_OF, "0/1").split("/"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    size = len(ports) // (runs * workers)
    number = run * workers + worker
    return ports[number * size : (number + 1) * size]

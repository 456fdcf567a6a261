"""Free ports for servers that keep them over restarts."""

import pathlib
import random
import socket


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
    highest = max(_first_ephemeral(), 20000)
    found: list[int] = []
    for port in random.sample(range(10000, highest), highest - 10000):
        if _is_free(port):
            found.append(port)
            if len(found) == count:
                return found
    raise OSError(f"fewer than {count} free ports between 10000 and {highest}")

"""Fifty small collections, indexed and loaded: from the creation of a task to all of them on the target, against a
client that makes the same changes there side by side; both near and at the end of a long line."""

import concurrent.futures
import contextlib
import queue
import socket
import statistics
import threading
import time
import types

COLLECTIONS = 50
TURNS = 3
# As many calls at once as a task makes.
CLIENTS = 8
POLL = 0.02
# Seconds for what takes five.
PATIENCE = 120
ROUND_TRIP = 0.02


class LongLine:
    """A TCP relay to a server that holds back every byte for half of the round trip."""

    def __init__(self, port: int):
        import ports

        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", ports.free_ports(1)[0]))
        self.uri = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                for one, other in ((client, server), (server, client)):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    held = queue.SimpleQueue()
                    threading.Thread(target=self._take, args=(one, held), daemon=True).start()
                    threading.Thread(target=self._hand_on, args=(held, other), daemon=True).start()

    def _take(self, end: socket.socket, held: queue.SimpleQueue) -> None:
        chunk = b" "
        while chunk:
            try:
                chunk = end.recv(65536)
            except OSError:
                chunk = b""
            held.put((time.perf_counter() + ROUND_TRIP / 2, chunk))

    def _hand_on(self, held: queue.SimpleQueue, end: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, chunk = held.get()
                time.sleep(max(0.0, due - time.perf_counter()))
                if not chunk:
                    end.shutdown(socket.SHUT_RDWR)
                    return
                end.sendall(chunk)


def _listed(target, kind: int) -> dict:
    """The target's collections by name, with how much of each is loaded, in percent."""
    from pymilvus import connections
    from pymilvus.grpc_gen import milvus_pb2

    stub = connections._fetch_handler(target.using())._stub
    answer = stub.ShowCollections(milvus_pb2.ShowCollectionsRequest(type=kind))
    return dict(zip(answer.collection_names, answer.inMemory_percentages or [0] * len(answer.collection_names)))


def _arrivals(target, started: float) -> tuple[float, float]:
    """Seconds until all collections are there, and until all of them are loaded."""
    from pymilvus.grpc_gen import milvus_pb2
    from support.waiting import wait_until

    def wait(kind, number, what: str) -> float:
        wait_until(lambda: number(_listed(target, kind)) == COLLECTIONS, PATIENCE, what, every=POLL)
        return time.perf_counter() - started

    loaded = lambda listed: sum(percent == 100 for percent in listed.values())
    there = wait(milvus_pb2.ShowType.All, len, "the collections to be there")
    return there, wait(milvus_pb2.ShowType.InMemory, loaded, "the collections to be loaded")


def _names() -> list[str]:
    return [f"sync_{number}" for number in range(COLLECTIONS)]


def plain(target, uri: str) -> tuple[float, float]:
    """The client: it starts loads and does not wait for them, as the task does."""
    from support.node import Node

    there = types.SimpleNamespace(uri=uri, token=target.server.token, certificates=None, kind="milvus")
    client = Node(there, log=target.log)
    client.using()
    started = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
        made = [clients.submit(client.create, name) for name in _names()]
        figures = _arrivals(target, started)
        for each in made:
            each.result()
    return figures


def follow(target, cdc, uri: str) -> tuple[float, float]:
    """A new task of a running server."""
    from support.cdc import EVERYTHING

    started = time.perf_counter()
    cdc.create(target, EVERYTHING, uri=uri)
    return _arrivals(target, started)


def make_source(source) -> None:
    from support.node import simple_rows

    for name in _names():
        source.create(name).insert(simple_rows(range(10)))
    for name in _names():
        source.wait_loaded(name)


def sync(bench) -> dict:
    make_source(bench.source)
    line = LongLine(bench.target.server.port)
    figures = {}
    for distance, uri in (("near", bench.target.uri), ("far", line.uri)):
        plains, ours = [], []
        # In turn, so that other load on the machine affects both alike.
        for _ in range(TURNS):
            for runs, run in ((plains, plain), (ours, lambda target, uri: follow(target, bench.cdc(), uri))):
                bench.settle()
                runs.append(run(bench.target, uri))
                for cdc in bench.cdcs:
                    cdc.end()
                bench.target.wipe()
        figures[distance] = _compared(plains, ours)
    line.close()
    bench.wipe()
    return {"collections": COLLECTIONS, "round_trip_of_far_ms": round(ROUND_TRIP * 1000), **figures}


def _compared(plains: list, ours: list) -> dict:
    (plain_there, plain_loaded), (there, loaded) = (
        tuple(statistics.median(runs) for runs in zip(*figures)) for figures in (plains, ours)
    )
    return {
        "plain_there_s": round(plain_there, 2),
        "plain_loaded_s": round(plain_loaded, 2),
        "there_s": round(there, 2),
        "loaded_s": round(loaded, 2),
        "ratio_there": round(plain_there / there, 2),
        "ratio_loaded": round(plain_loaded / loaded, 2),
    }

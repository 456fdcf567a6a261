"""A TCP relay that can stall or disconnect: a target that is slow, stuck or dead."""

import contextlib
import pathlib
import socket
import threading

import ports

CHUNK = 65536


class Relay:
    """Forwards bytes between its own port and that of a server."""

    def __init__(self, port: int):
        self._server_port = port
        self._flowing = threading.Event()
        self._flowing.set()
        self._closed = False
        self._until_stall: int | None = None
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = self._listen(ports.free_ports(1)[0])
        # Outside the range of outgoing connections: see `free_ports`.
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), name="relay", daemon=True).start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stall(self) -> None:
        """Keeps connections open and forwards nothing: the worst kind of dead server."""
        self._flowing.clear()

    def stall_after(self, size: int) -> None:
        """Stalls once this many bytes have gone to the server: hits the middle of an operation that is too fast to
        observe."""
        self._until_stall = size

    def has_stalled(self) -> bool:
        return not self._flowing.is_set()

    def flow(self) -> None:
        """Forwards everything that was held back, and cancels a stall that is still to come."""
        self._until_stall = None
        self._flowing.set()

    def cut(self) -> None:
        """Refuses new connections and breaks open ones."""
        listener, self._listener = self._listener, None
        if listener:
            # Closing alone would leave the accepting thread blocked, with the port still open.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._break_all()

    def mend(self) -> None:
        """Listens again on the same port."""
        self._flowing.set()
        self._listener = self._listen(self.port)
        threading.Thread(target=self._accept, args=(self._listener,), name="relay", daemon=True).start()

    def lead_to(self, port: int) -> None:
        """Forwards to another server from now on."""
        self.cut()
        self._server_port = port
        self.mend()

    def close(self) -> None:
        self._closed = True
        self._flowing.set()
        self.cut()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(64)
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._open += [client, server]
                for source, sink, counted in ((client, server, True), (server, client, False)):
                    threading.Thread(
                        target=self._pump, args=(source, sink, counted), name="relay-pump", daemon=True
                    ).start()

    def _count(self, size: int) -> None:
        if self._until_stall is not None:
            self._until_stall -= size
            if self._until_stall <= 0:
                self._until_stall = None
                self.stall()

    def _pump(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while True:
                chunk = source.recv(CHUNK)
                if counted:
                    self._count(len(chunk))
                self._flowing.wait()
                if not chunk:
                    break
                sink.sendall(chunk)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _break_all(self) -> None:
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._open.clear()


def connections_to(pid: int, port: int) -> int:
    """Open TCP connections of a process to a port of this host."""
    inodes = set()
    for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(link.readlink()))
        except OSError:
            continue  # closed meanwhile
    lines = [line.split() for line in pathlib.Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return sum(
        f"socket:[{line[9]}]" in inodes and int(line[2].split(":")[1], 16) == port and line[3] == "01" for line in lines
    )

"""A producer for a Pulsar without authentication: as much of the protocol as messages with properties need, because no
client of Pulsar is among the tests' packages. Messages are framed as Milvus' client frames them: batches of one."""

import dataclasses
import socket
import struct
import time

from support.fake import wire

CONNECT, CONNECTED, PRODUCER, SEND, SEND_RECEIPT, PRODUCER_SUCCESS, PING, PONG = 2, 3, 5, 6, 7, 17, 18, 19
LOOKUP, LOOKUP_RESPONSE = 23, 24
SECONDS = 20


@dataclasses.dataclass
class _Topic:
    # The producer's number and the name that the broker has given it.
    number: int
    producer: str
    sent: int = 0


class PulsarProducer:
    """Sends messages to topics, one after the other."""

    def __init__(self, address: str):
        host, port = address.split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=SECONDS)
        self._topics: dict[str, _Topic] = {}
        self._send(CONNECT, wire.encode((1, "replay"), (4, 19)))
        self._await(CONNECTED)

    def close(self) -> None:
        self._socket.close()

    def send(self, topic: str, properties: dict[str, str], payload: bytes) -> tuple[int, int]:
        """Sends a message; its ledger and entry. It is published now: the broker searches by time, and assumes that a
        ledger holds nothing older than itself."""
        to = self._topics.get(topic) or self._open(topic)
        entries = [(1, wire.encode((1, key), (2, value))) for key, value in properties.items()]
        single = wire.encode(*entries, (3, len(payload)))
        body = struct.pack(">I", len(single)) + single + payload
        metadata = wire.encode((1, to.producer), (2, to.sent), (3, int(time.time() * 1000)), (11, 1))
        command = wire.encode((1, SEND), (SEND, wire.encode((1, to.number), (2, to.sent), (3, 1))))
        to.sent += 1
        head = struct.pack(">I", len(command)) + command + struct.pack(">I", len(metadata)) + metadata
        self._socket.sendall(struct.pack(">I", len(head) + len(body)) + head + body)
        place = dict(wire.decode(dict(self._await(SEND_RECEIPT))[3]))
        return place[1], place.get(2, 0)

    def _open(self, topic: str) -> _Topic:
        number = len(self._topics) + 1
        # The only broker there is, which learns by this that the topic is its own.
        self._send(LOOKUP, wire.encode((1, topic), (2, number)))
        self._await(LOOKUP_RESPONSE)
        self._send(PRODUCER, wire.encode((1, topic), (2, number), (3, number)))
        name = dict(self._await(PRODUCER_SUCCESS))[2].decode()
        return self._topics.setdefault(topic, _Topic(number, name))

    def _send(self, kind: int, fields: bytes) -> None:
        command = wire.encode((1, kind), (kind, fields))
        self._socket.sendall(struct.pack(">II", len(command) + 4, len(command)) + command)

    def _await(self, wanted: int) -> list[tuple]:
        """The fields of the next command of this kind."""
        while True:
            (total,) = struct.unpack(">I", self._read(4))
            frame = self._read(total)
            (size,) = struct.unpack_from(">I", frame)
            command = dict(wire.decode(frame[4 : 4 + size]))
            if command[1] == PING:
                self._send(PONG, b"")
            else:
                assert command[1] == wanted, command
                return wire.decode(command[wanted])

    def _read(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            part = self._socket.recv(size - len(found))
            assert part, "the broker has closed the connection"
            found += part
        return bytes(found)

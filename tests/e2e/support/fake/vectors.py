"""The reference vectors as templates: real records, whose ids, ticks and contents are replaced."""

import functools
import os
import pathlib

from . import wire


def folder() -> pathlib.Path:
    beside = pathlib.Path(__file__).resolve().parents[4].parent / "shared" / "vectors"
    return pathlib.Path(os.environ.get("MILVUS_CDC_VECTORS", beside)) / "wal"


@functools.cache
def record(file: str) -> tuple[dict, bytes]:
    """Properties and payload of a vector."""
    message = dict(wire.decode((folder() / file).read_bytes()))[2]
    properties, payload = {}, b""
    for number, value in wire.decode(message):
        if number == 2:
            payload = value
        elif number == 3:
            entry = dict(wire.decode(value))
            properties[entry[1].decode()] = entry.get(2, b"").decode()
    return properties, payload


def immutable(queue: int, message_id: str, properties: dict, payload: bytes) -> bytes:
    """A serialized `ImmutableMessage`."""
    entries = [(3, wire.encode((1, key), (2, value))) for key, value in properties.items()]
    return wire.encode((1, wire.encode((1, message_id), (2, queue))), (2, payload), *entries)


def answer(message: bytes) -> bytes:
    """A serialized `DumpMessagesResponse`."""
    return wire.encode((2, message))

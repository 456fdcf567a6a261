"""Messages of a streaming node (2.6) in the form that Milvus up to 2.5 would have written: the same rows and ticks, so
that a log can hold both, as that of an upgraded server does."""

import base64

from pymilvus.grpc_gen import msg_pb2

from support.fake import wire

from .queues import TIME_TICK, Stored

CREATE_COLLECTION, INSERT, DELETE = "5", "2", "3"
COMMIT = "901"
MESSAGE_TYPES = {TIME_TICK: 1200, CREATE_COLLECTION: 100, INSERT: 400, DELETE: 401}
OF_CONTROL = "_vcchan"


def as_before(messages: list[Stored]) -> list[tuple[bytes, bytes]]:
    """Keys and values in RocksMQ of one channel's messages, whose transactions are all complete. What Milvus 2.5 writes
    elsewhere or not at all is left out."""
    commits = {_transaction(one): one.tick for one in messages if one.kind == COMMIT}
    upserts = {_transaction(one) for one in messages if one.kind == DELETE} - {None}
    found = []
    for message in messages:
        transaction = _transaction(message)
        tick = commits.get(transaction) if transaction else message.tick
        is_kept = message.kind in MESSAGE_TYPES and not message.properties.get("_vc", "").endswith(OF_CONTROL)
        if is_kept and tick is not None:
            found.append((message.place, _value(message, tick, transaction in upserts)))
    return found


def _transaction(message: Stored) -> int | None:
    text = message.properties.get("_tx")
    return dict(wire.decode(base64.b64decode(text)))[1] if text else None


def _value(message: Stored, tick: int, is_half: bool) -> bytes:
    kinds = {
        TIME_TICK: msg_pb2.TimeTickMsg,
        CREATE_COLLECTION: msg_pb2.CreateCollectionRequest,
        INSERT: msg_pb2.InsertRequest,
        DELETE: msg_pb2.DeleteRequest,
    }
    body = kinds[message.kind].FromString(message.payload)
    body.base.msg_type = MESSAGE_TYPES[message.kind]
    # An upsert's insert has no time of its own: that of its rows counts.
    body.base.timestamp = 0 if message.kind == INSERT and is_half else tick
    if message.kind in (INSERT, DELETE):
        body.timestamps[:] = [tick] * body.num_rows
    return body.SerializeToString()

"""How the ids of a queue are written. A number counts the messages of a channel; Woodpecker's has its segment above."""

import base64

from . import wire

ROCKSMQ, PULSAR, KAFKA, WOODPECKER = 1, 2, 3, 4
SEGMENT = 1 << 32
# Woodpecker: asked for inclusively, reading begins behind the truncation point.
BEHIND_TRUNCATION = "CAAQAA=="


def text_of(queue: int, number: int) -> str:
    if queue == ROCKSMQ:
        return wire.base36(number)
    segment, entry = divmod(number, SEGMENT)
    fields = [(field, value) for field, value in ((1, segment), (2, entry)) if value]
    return base64.b64encode(wire.encode(*fields)).decode()


def number_of(queue: int, text: str) -> int:
    """-1 for a text that is none."""
    try:
        if queue == ROCKSMQ:
            return int(text, 36)
        fields = dict(wire.decode(base64.b64decode(text)))
    except (ValueError, IndexError):
        return -1
    return fields.get(1, 0) * SEGMENT + fields.get(2, 0)


def first(queue: int, channel: int) -> int:
    return 453718800000000000 + channel * 10**12 if queue == ROCKSMQ else 0


def oldest_ids(queue: int) -> set[str]:
    """Texts that nobody has been given and that may be asked for all the same."""
    return {"0"} if queue == ROCKSMQ else {BEHIND_TRUNCATION, "EAE="}

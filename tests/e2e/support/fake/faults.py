"""Faults of a source that tests switch on and off."""

import dataclasses


@dataclasses.dataclass
class Faults:
    """Set by a test, read by the fake with every message."""

    # Channels whose streams are silent and do not end.
    hung: set = dataclasses.field(default_factory=set)
    # Channel -> seconds by which its messages are delayed.
    delayed: dict = dataclasses.field(default_factory=dict)
    # Streams break with UNAVAILABLE after this many messages each; None: never.
    break_after: int | None = None
    # Methods that the user has no privilege for.
    denied: set = dataclasses.field(default_factory=set)
    # Every call fails with UNAVAILABLE.
    unavailable: bool = False
    # Streams begin with messages from before the requested tick.
    repeat: bool = False
    # A shutdown ends streams as if they were complete.
    early_end: bool = False
    # Message ids are malformed.
    wrong_ids: bool = False
    # For each entry, two messages that are sent together arrive in the wrong order once.
    swaps: int = 0

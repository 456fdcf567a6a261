"""What can go wrong with a source, on cue."""

import dataclasses


@dataclasses.dataclass
class Faults:
    """Set by a test, looked at by the fake with every message."""

    # Channels whose streams say nothing and do not end.
    hung: set = dataclasses.field(default_factory=set)
    # Channel -> seconds that its messages come late, behind those of other channels.
    delayed: dict = dataclasses.field(default_factory=dict)
    # Streams break with UNAVAILABLE after so many messages each; None: never.
    break_after: int | None = None
    # Every call fails with UNAVAILABLE.
    unavailable: bool = False
    # Streams begin with messages from before the tick that was asked for.
    repeat: bool = False
    # A shutdown ends streams as if everything had been sent.
    early_end: bool = False
    # Ids that are none.
    wrong_ids: bool = False
    # Two messages that come together come in the wrong order, once per entry.
    swaps: int = 0

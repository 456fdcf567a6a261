"""Replays what was recorded of real Milvus 2.6.20 and 3.0 servers, because none can be run where tests run.

A recording holds every `DumpMessages` answer of every channel, byte by byte, what the catalog answered after each step
of a workload, and the rows that the workload left. `Replay` serves it as that server did, step after step or at once.
"""

from .recording import RECORDINGS, are_expected
from .server import Replay

__all__ = ["RECORDINGS", "Replay", "are_expected"]

"""A FAKE Milvus 2.6, because no real one with `DumpMessages` is available to these tests.

It implements the calls of the public API that a source receives. Its data is real where possible: the records of its
log are the reference vectors, written by Milvus's own library, with ids, ticks, names and rows replaced. Its behavior
follows what real servers of 2.6.20 and 3.0 did, and `test_fake.py` compares its answers with the recordings of them.
What a recording shows is proved by replaying it (`support/replay`).
"""

from . import queues, vectors, wire
from .faults import Faults
from .milvus import FakeMilvus

__all__ = ["FakeMilvus", "Faults", "queues", "vectors", "wire"]

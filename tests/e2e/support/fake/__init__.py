"""A FAKE Milvus 2.6, because no real one with `DumpMessages` can be had here.

It speaks as much of the public API as a source is asked for. What it keeps is real where it can be: the records of its log are the
reference vectors, made by Milvus's own library, with ids, ticks, names and rows put in. How `DumpMessages` behaves is
written after the reference (order of ticks, windows, transactions, retention), not after a running server: tests with it show that
milvus-cdc does what the reference says, no more.
"""

from . import vectors, wire
from .faults import Faults
from .milvus import FakeMilvus

__all__ = ["FakeMilvus", "Faults", "vectors", "wire"]

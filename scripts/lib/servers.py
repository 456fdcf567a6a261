"""Finds reference servers of every kind by folder."""

import json
import pathlib

from lite_server import LiteServer
from milvus_server import MilvusServer
from reference_server import ReferenceServer


def load(folder) -> ReferenceServer:
    """The server of any kind that was started from this folder before."""
    kind = json.loads((pathlib.Path(folder) / "server.json").read_text()).get("kind", "milvus")
    return (LiteServer if kind.startswith("lite-") else MilvusServer).load(folder)

"""Detects reference servers that are stuck, which is no failure of the tested program.

Once in some thousand tests, a Milvus 2.3.5 stops reading a channel of its own log (its log says "some node(s)
haven't received input"). From then on it answers no Strong read of that collection to any client until it is
restarted.
"""

import time

from .oracle import count

ANSWER = 20


def stuck(node) -> str | None:
    """The requests that a running server does not answer."""
    if not node.server.is_running():
        return None
    for database in node.databases():
        for name in node.collections(database):
            if node.is_loaded(name, database) and not _answers(node, name, database):
                return (
                    f"{node.server.folder.name} has not answered a Strong read of {database}.{name} within {ANSWER} s"
                )
    return None


def _answers(node, name: str, database: str) -> bool:
    started = time.monotonic()
    try:
        count(node, name, database, timeout=ANSWER)
    except Exception:  # any error but a timeout is an answer, too
        return time.monotonic() - started < ANSWER
    return True

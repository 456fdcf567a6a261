"""Reference servers that are stuck, which is not what a test is about.

A Milvus 2.3.5 has stopped reading a channel of its own log once in some thousand tests (its log says "some node(s) haven't received input"):
from then on no Strong read of that collection is answered, whoever asks, until the server is started again.
"""

import time

from .oracle import count

ANSWER = 20


def stuck(node) -> str | None:
    """What the server does not answer, if it runs."""
    if not node.server.is_running():
        return None
    for database in node.databases():
        for name in node.collections(database):
            if node.is_loaded(name, database) and not _answers(node, name, database):
                return f"{node.server.folder.name} has not answered a Strong read of {database}.{name} within {ANSWER} s"
    return None


def _answers(node, name: str, database: str) -> bool:
    started = time.monotonic()
    try:
        count(node, name, database, timeout=ANSWER)
    except Exception:  # an error is an answer, too, unless it is that none has come
        return time.monotonic() - started < ANSWER
    return True

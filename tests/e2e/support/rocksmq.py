"""Reads a source's RocksMQ log and cuts it, as retention does. The source must be stopped for a cut."""

import contextlib
import pathlib

from rocksdict import BlockBasedOptions, DBCompressionType, Options, Rdict


@contextlib.contextmanager
def opened(path: pathlib.Path):
    """The database of a source that is not running."""
    options = Options(raw_mode=True)
    table = BlockBasedOptions()
    # Milvus 2.3.5 reads it with RocksDB 6.x built without Snappy, which knows no newer table format.
    table.set_format_version(5)
    options.set_block_based_table_factory(table)
    options.set_compression_type(DBCompressionType.none())
    # Milvus opens no database with more than its five levels; without compaction here, no deeper ones arise.
    options.set_num_levels(5)
    options.set_disable_auto_compactions(True)
    families = {name: options for name in Rdict.list_cf(str(path), options)}
    database = Rdict(str(path), options, column_families=families)
    try:
        yield database
    finally:
        database.close()


def _topic_of(key: bytes) -> str:
    return key.rpartition(b"/")[0].decode()


def _number_of(key: bytes) -> int:
    return int(key.rpartition(b"/")[2])


def cut(path: pathlib.Path, topics: list[str], keep_last: int = 3) -> int:
    """Deletes all but the last messages of the topics; returns the number of deleted ones."""
    gone = 0
    with opened(path) as database:
        by_topic: dict[str, list[bytes]] = {}
        for key in database.keys():
            by_topic.setdefault(_topic_of(key), []).append(key)
        for topic in topics:
            for key in sorted(by_topic.get(topic, []), key=_number_of)[:-keep_last]:
                del database[key]
                gone += 1
        database.flush()
    return gone

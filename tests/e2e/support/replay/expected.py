"""The rows that a recording's workload left, and whether a target has them."""

import base64
import datetime
import struct

from support.oracle import count, differences, rows
from support.waiting import wait_until



def collections(recording, names=None) -> list[dict]:
    """Those that are there in the end: all, or those with these names, as `database.name`."""
    there = [one for one in recording.expected["collections"] if one["dropped_in_step"] is None]
    return [one for one in there if names is None or f"{one['database']}.{one['name']}" in names]


def scope(recording, names) -> dict:
    """The part of a create request that names these collections, under every name that they have had."""
    wanted: dict[str, list] = {}
    for one in recording.expected["collections"]:
        if f"{one['database']}.{one['name']}" in names:
            for name in [one["name"], *one.get("earlier_names", [])]:
                if {"name": name} not in wanted.setdefault(one["database"], []):
                    wanted[one["database"]].append({"name": name})
    return {"db_collections": wanted}


def expected_rows(recording, one: dict) -> dict:
    """By key and partition, as the oracle tells of a target's rows."""
    kinds = {field["name"]: field for field in one["fields"]}
    found = {}
    for entry in [*one["rows"], *_uncertain(one)]:
        row = {}
        for name, value in entry["row"].items():
            if name == "$meta":
                row.update({key: _plain(value) for key, value in value.items()})
            else:
                row[name] = _value(kinds.get(name, {}), value)
        found[entry["key"], entry.get("partition")] = row
    return found


def _uncertain(one: dict):
    """Upserts that the client gave up, and that are in the log all the same."""
    key = next(field["name"] for field in one["fields"] if field.get("is_primary"))
    for upsert in one.get("uncertain", []):
        if upsert["committed_in_log"]:
            for row in upsert["rows"]:
                yield {"key": row[key], "partition": "_default", "row": row}


def _single(value):
    """As a 32-bit float keeps it."""
    return None if value is None else struct.unpack("<f", struct.pack("<f", value))[0]


def _value(field: dict, value):
    kind = field.get("type")
    if value is None:
        return None
    if isinstance(value, dict) and set(value) == {"bytes"}:
        return base64.b64decode(value["bytes"]).hex()
    if isinstance(value, dict) and set(value) == {"sparse"}:
        return {index: _single(weight) for index, weight in value["sparse"]}
    if kind == "FLOAT_VECTOR":
        return [_single(one) for one in value]
    if kind == "FLOAT":
        return _single(value)
    if kind == "TIMESTAMPTZ":
        return _instant(value)
    if kind == "ARRAY" and field["element_type"] == "FLOAT":
        return [_single(one) for one in value]
    return _plain(value)


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in sorted(value.items())}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _told(value):
    """A vector of bytes comes as a list of one."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], bytes):
        return value[0].hex()
    return value


def assert_same(recording, target, names=None) -> None:
    """The target has exactly these rows of each, and none twice."""
    for one in collections(recording, names):
        wanted = expected_rows(recording, one)
        name, database = one["name"], one["database"]
        assert target.has(name, database), f"{database}.{name} is not there"
        there = count(target, name, database)
        found = rows(target, name, database)
        lines = differences(wanted, {key: _row(row, one) for key, row in found.items()})
        assert not lines, "\n".join([f"{database}.{name} differs from the workload ({there} rows):", *lines])
        assert there == len(wanted), f"{database}.{name}: {there} rows, {len(wanted)} are expected"


def _row(row: dict, one: dict) -> dict:
    """What functions compute is no part of the workload."""
    kinds = {field["name"]: field.get("type") for field in one["fields"]}
    written = {name for entry in one["rows"] for name in entry["row"]}
    told = {name: value for name, value in row.items() if name != "$meta" and (name in written or name not in kinds)}
    is_time = {name for name, kind in kinds.items() if kind == "TIMESTAMPTZ"}
    return {name: _instant(value) if name in is_time else _told(value) for name, value in told.items()}


def _instant(text: str | None):
    """A timestamp may be shown in another time zone than it was written in."""
    return text and datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def assert_same_catalog(recording, target, names=None) -> None:
    """The target has these collections with their aliases and partitions, and nothing that the workload dropped."""
    for one in collections(recording, names):
        name, database = one["name"], one["database"]
        assert target.aliases(name, database) == sorted(one["aliases"]), name
        if not one["partition_key"]:
            assert target.partitions(name, database) == sorted(one["partitions"]), name
    wanted = {(one["database"], one["name"]) for one in collections(recording, names)}
    gone = {(one["database"], one["name"]) for one in recording.expected["collections"]} - wanted
    gone |= {(one["database"], name) for one in collections(recording, names) for name in one.get("earlier_names", [])}
    found = {(database, name) for database in target.databases() for name in target.collections(database)}
    assert not found & gone, f"still there: {found & gone}"


def make_readable(recording, target, names=None) -> None:
    """Loads what the workload had not loaded; the recordings' indexes have been carried over."""
    for one in collections(recording, names):
        if not target.is_loaded(one["name"], one["database"]):
            target.collection(one["name"], one["database"]).load(_async=True)


def wait_same(recording, target, names=None, timeout: float = 60.0) -> None:
    def catalog():
        assert_same_catalog(recording, target, names)
        return True

    def readable():
        # A Milvus Lite that truncates a collection says for a moment that there is none.
        make_readable(recording, target, names)
        return True

    def same():
        assert_same(recording, target, names)
        return True

    wait_until(catalog, timeout, f"the collections of {recording.name}", every=0.3)
    wait_until(readable, timeout, f"the loads of {recording.name}", every=0.3)
    wait_until(same, timeout, f"the rows of {recording.name}", every=0.3)


def assert_followed(server, task, target, names=None) -> None:
    """The target has the rows, all of them from the log, and nothing was left out."""
    wait_same(server.recording, target, names)
    assert not server.queries, "rows were copied that are in the log"
    assert task.get()["skipped"] == {}

"""Reads rows back through the public API and compares two servers row by row."""

import json

from pymilvus import DataType

from .waiting import NotYet, wait_until

PAGE = 16_000
SMALLEST_WRITABLE = -(2**63) + 1  # expressions of 2.3.5 cannot contain the smallest int64 itself
SHOWN = 5
# Time for a source to load a collection: a 2.3.5 with its log in Kafka took 50 s, independently of any task.
LOADING = 150


def count(node, name: str, database: str = "default", consistency: str = "Strong", timeout: float = 30.0) -> int:
    """The exact number of live rows; duplicate keys count each time."""
    wanted = {"output_fields": ["count(*)"], "consistency_level": consistency, "timeout": timeout}
    answer = node.collection(name, database).query("", **wanted)
    assert answer, f"{name}: the count has no answer"
    return answer[0]["count(*)"]


def _pages(collection, key, partitions, in_order):
    """Every row that is visible now, in pages by key, or in one answer if the server's pages are not in order (Milvus
    Lite 3)."""

    def ask(expression):
        wanted = {"output_fields": ["*"], "consistency_level": "Eventually", **({"limit": PAGE} if in_order else {})}
        return collection.query(expression, partition_names=partitions, **wanted)

    is_text = key.dtype == DataType.VARCHAR
    if not is_text:
        yield from ask(f"{key.name} < {SMALLEST_WRITABLE}")
    page = ask(f'{key.name} >= ""' if is_text else f"{key.name} >= {SMALLEST_WRITABLE}")
    while page:
        yield from page
        if len(page) < PAGE or not in_order:
            return
        last = page[-1][key.name]
        page = ask(f"{key.name} > {json.dumps(last, ensure_ascii=False) if is_text else last}")


def _plain(value):
    """A readable form in which equal values compare equal, including NaN."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in sorted(value.items())}
    if isinstance(value, (str, int, bool)) or value is None:
        return value
    if not hasattr(value, "__iter__"):
        return value if value == value else "nan"
    values = list(value)
    if values and isinstance(values[0], (dict, list)):
        return [_plain(inner) for inner in values]
    return [inner if inner == inner else "nan" for inner in values]


def rows(node, name: str, database: str = "default") -> dict:
    """Every row by its key and partition. The partition is None if a partition key decides it."""
    # One Strong read waits until every acknowledged row is visible, so that the many reads need not wait.
    count(node, name, database)
    return _visible_rows(node, name, database)


def _visible_rows(node, name: str, database: str) -> dict:
    collection = node.collection(name, database)
    key = collection.primary_field
    by_key = any(field.is_partition_key for field in collection.schema.fields)
    found = {}
    in_order = node.server.kind != "lite-3.2.2"
    for partition in [None] if by_key else node.partitions(name, database) or [None]:
        for row in _pages(collection, key, [partition] if partition else None, in_order):
            fields = {name: _plain(value) for name, value in row.items()}
            found[row[key.name], partition] = fields
    return found


def differences(left: dict, right: dict) -> list[str]:
    """Describes the difference between two sets of rows for a person."""
    lines = []
    for title, keys in (
        ("only at the source", left.keys() - right.keys()),
        ("only at the target", right.keys() - left.keys()),
        ("different", {key for key in left.keys() & right.keys() if left[key] != right[key]}),
    ):
        if not keys:
            continue
        lines.append(f"{len(keys)} rows {title}:")
        for key in sorted(keys, key=repr)[:SHOWN]:
            fields = {**left.get(key, {}), **right.get(key, {})}
            if title == "different":
                fields = {
                    n: (left[key].get(n), right[key].get(n)) for n in fields if left[key].get(n) != right[key].get(n)
                }
            lines.append(f"  {key!r}: {str(fields)[:300]}")
    return lines


def assert_same_rows(source, target, name, database="default", *, target_name=None, target_database=None) -> int:
    """Asserts that both hold the same rows in the same partitions, without duplicates; returns their number."""
    there = (target_name or name, target_database or database)
    left_count, right_count = count(source, name, database), count(target, *there)
    assert left_count == right_count, f"{name}: {left_count} rows at the source, {right_count} at the target"
    lines = differences(_visible_rows(source, name, database), _visible_rows(target, *there))
    assert not lines, "\n".join([f"{name} differs:", *lines])
    return left_count


def assert_shown_rows(source, target, name, database="default", *, or_fewer: bool) -> int:
    """As `assert_same_rows`, for a source that was killed between the two halves of an upsert: it keeps the old row
    beside the new one: its count includes both, and a query shows either of them. The target must have both as well
    (or may have one, with `or_fewer`), and no other duplicates: where the two show different rows of a key, the source
    has both. For collections of `create`'s default fields. Returns the number of rows shown.
    """
    shown, there = rows(source, name, database), rows(target, name, database)
    either = {
        key
        for key in shown.keys() & there.keys()
        if shown[key] != there[key] and _has_row(source, name, database, key[1], there[key])
    }
    lines = differences(*({key: row for key, row in found.items() if key not in either} for found in (shown, there)))
    assert not lines, "\n".join([f"{name} differs:", *lines])
    at_source, at_target = count(source, name, database), count(target, name, database)
    told = f"{name}: {len(shown)} rows are shown, {at_source} are at the source, {at_target} at the target"
    assert at_target == at_source or (or_fewer and len(shown) <= at_target < at_source), told
    return len(shown)


def _has_row(node, name: str, database: str, partition: str, row: dict) -> bool:
    """Whether any of the server's rows of this key has this vector, even one that a query does not show."""
    wanted = {"expr": f"id == {row['id']}", "partition_names": [partition], "consistency_level": "Eventually"}
    found = node.collection(name, database).search(
        [row["vec"]], "vec", {"metric_type": "L2", "params": {}}, limit=1, **wanted
    )
    return [hit.distance for hit in found[0]] == [0.0]


def wait_readable(node, name: str, database: str = "default") -> None:
    """Waits until the collection is loaded; the request may have been sent only just now."""
    wait_until(lambda: count(node, name, database, "Eventually") >= 0, LOADING, f"{name} to be loaded at {node.uri}")


def wait_same_rows(source, target, name, database="default", *, expect=None, timeout=30.0, **there) -> None:
    """Waits until both hold the same rows, `expect` of them if given. The time limit starts once the source's rows can
    be read: until the source has loaded them, there is nothing to replicate."""
    wait_readable(source, name, database)

    def same():
        found = assert_same_rows(source, target, name, database, **there)
        assert expect is None or found == expect, f"{name}: both have {found} rows, {expect} are expected"
        return True

    try:
        wait_until(same, timeout, f"the same rows of {name} on both sides", every=0.2)
    except NotYet as not_yet:
        there_name, there_database = there.get("target_name") or name, there.get("target_database") or database
        try:
            told = differences(rows(source, name, database), rows(target, there_name, there_database))
            told = told or ["the rows that a query shows are the same: what differs is how many there are of a key"]
        except Exception as error:  # an error while reading must not hide what was awaited
            told = [f"what differs cannot be read: {error}"]
        raise NotYet("\n".join([str(not_yet), *told])) from None

"""The fake's answers held against recordings of real servers: the same kinds of messages, with the same properties and
fields, and the same fields in every answer about the catalog."""

import base64

import pytest
from pymilvus.grpc_gen import milvus_pb2

from support.fake import FakeMilvus, queues, wire
from support.fake.rows import some
from support.replay import RECORDINGS, Replay, are_expected
from support.replay.recording import properties_of, recording

pytestmark = pytest.mark.skipif(not are_expected(), reason="the recordings are not beside this checkout")

NAME = "one"
# By version of the fake: the recording that it is held against.
RECORDED = {"2.6.20": "2.6.20-rocksmq", "3.0.0-beta": "3.0-rocksmq"}


@pytest.fixture(scope="module", autouse=True)
def clean_slate():
    """No servers are needed here."""


@pytest.fixture(params=RECORDED)
def fake(request):
    """A fake with a little of everything in its log; nothing is served over the network."""
    fake = FakeMilvus(version=request.param)
    fake.create(NAME, shards=2)
    fake.insert(NAME, some(range(10)))
    fake.create_partition(NAME, "p")
    fake.upsert(NAME, some(range(20)))
    fake.delete(NAME, range(3))
    fake.set_alias(NAME, "nick")
    fake.drop_alias("nick")
    fake.alter(NAME, collection__ttl__seconds="100")
    fake.truncate(NAME)
    fake.release(NAME)
    fake.create("two")
    fake.drop("two")
    return fake


def numbers(message: bytes) -> set[int]:
    return {number for number, _ in wire.decode(message)}


def shape(answer: bytes) -> tuple:
    """What kind of message it is and where, with the names of its properties and the numbers of its fields."""
    message = dict(wire.decode(answer))[2]
    properties = properties_of(message)
    payload = dict(wire.decode(message)).get(2, b"")
    is_control = properties["_vc"].endswith("_vcchan")
    header = base64.b64decode(properties.get("_h", ""))
    of_broadcast = numbers(base64.b64decode(properties.get("_bh", "")))
    names = frozenset(properties) | {f"_bh.{number}" for number in of_broadcast}
    return (int(properties["_t"]), is_control), names, frozenset(numbers(header)), frozenset(numbers(payload))


def shapes(answers) -> dict:
    found: dict[tuple, set] = {}
    for answer in answers:
        kind, *rest = shape(answer)
        found.setdefault(kind, set()).add(tuple(rest))
    return found


def told_by(fake) -> list[bytes]:
    """Everything in the fake's log, as `DumpMessages` would answer it."""
    from support.fake import vectors

    return [
        vectors.answer(channel.message(record, part))
        for channel in fake.channels.values()
        for record in channel.between(0, 0, 2**64)
        for part in range(len(record.parts))
    ]


def test_messages_have_the_properties_and_fields_of_real_ones(fake):
    recorded = recording(RECORDED[fake.version])
    real = shapes(message.answer for messages in recorded.channels.values() for message in messages)
    # Not in the workload.
    never_recorded = {(15, True)}
    for kind, told in shapes(told_by(fake)).items():
        if kind in never_recorded:
            continue
        assert kind in real, f"type {kind[0]}, on the control channel: {kind[1]}: no real server sent that"
        for one in told:
            real_ones = [[*map(sorted, real_one)] for real_one in real[kind]]
            assert one in real[kind], f"type {kind}: {[*map(sorted, one)]}, real ones: {real_ones}"


def test_broadcasts_have_a_copy_on_the_control_channel(fake):
    """Of everything that the shards are told, and on a channel that has data, too."""
    told = shapes(told_by(fake))
    of_shards, of_control = ({kind for kind, on_it in told if on_it is where} for where in (False, True))
    assert {5, 6, 7, 13, 38} <= of_shards & of_control
    assert {19, 20, 15} <= of_control - of_shards
    channels = recording(RECORDED[fake.version]).channels.values()
    recorded = shapes(message.answer for messages in channels for message in messages)
    assert {kind for kind, is_control in recorded if is_control} >= {5, 6, 7, 13, 38, 19, 20}


def test_both_orders_occur_in_a_transaction(fake):
    for _ in range(200):
        fake.upsert(NAME, some(range(4)))
    ours = orders(told_by(fake))
    channels = recording(RECORDED[fake.version]).channels.values()
    real = [order for messages in channels for order in orders(message.answer for message in messages)]
    assert set(ours) == set(real) == {"delete first", "insert first"}


def orders(answers) -> list[str]:
    found, inside = [], []
    for answer in answers:
        kind = int(properties_of(dict(wire.decode(answer))[2])["_t"])
        if kind == 900:
            inside = []
        elif kind == 901 and {2, 3} <= set(inside):
            found.append("delete first" if inside[0] == 3 else "insert first")
        else:
            inside.append(kind)
    return found


def asked_of_the_catalog() -> dict:
    """By method what the fake is asked: every call that it answers."""
    one = {"db_name": "default", "collection_name": NAME}
    unknown = {"db_name": "default", "collection_name": "nope"}
    return {
        "Connect": [milvus_pb2.ConnectRequest()],
        "GetVersion": [milvus_pb2.GetVersionRequest()],
        "ListDatabases": [milvus_pb2.ListDatabasesRequest()],
        "ShowCollections": [milvus_pb2.ShowCollectionsRequest(db_name="default")],
        "DescribeCollection": [
            milvus_pb2.DescribeCollectionRequest(**one),
            milvus_pb2.DescribeCollectionRequest(**unknown),
        ],
        "DescribeIndex": [milvus_pb2.DescribeIndexRequest(**one), milvus_pb2.DescribeIndexRequest(**unknown)],
        "ListAliases": [milvus_pb2.ListAliasesRequest(**one), milvus_pb2.ListAliasesRequest(**unknown)],
        "ShowPartitions": [milvus_pb2.ShowPartitionsRequest(**one), milvus_pb2.ShowPartitionsRequest(**unknown)],
        "GetLoadState": [milvus_pb2.GetLoadStateRequest(**one), milvus_pb2.GetLoadStateRequest(**unknown)],
        "AllocTimestamp": [milvus_pb2.AllocTimestampRequest()],
        "FlushAll": [milvus_pb2.FlushAllRequest()],
    }


# Answered by the fake, and not asked while recording: the recorded servers kept their rows otherwise.
NEVER_RECORDED = {"GetReplicas", "Query"}


def deep_shape(message: bytes, kind) -> frozenset:
    """The fields that are set, and those of the messages inside, by their numbers. Text and packed numbers, which the
    bytes alone do not tell from messages, are not looked into, nor are default values."""
    found = set()
    for number, value in wire.decode(message):
        field = kind.fields_by_number.get(number) if kind else None
        inside = field is not None and field.type == field.TYPE_MESSAGE and field.name != "default_value"
        found.add((number, deep_shape(value, field.message_type) if inside else None))
    return frozenset(found)


def test_every_call_that_the_fake_serves_is_held_against_a_recording(fake):
    served = fake.make_service().methods() - NEVER_RECORDED
    assert served == asked_of_the_catalog().keys()
    recorded = {method for method, *_ in recording(RECORDED[fake.version]).answers}
    assert served <= recorded and not NEVER_RECORDED & recorded


def test_the_catalog_is_answered_with_the_fields_of_real_answers(fake):
    """Down to the messages inside of them. What a real server adds for its own use is not asked for; what it never
    sets is not told."""
    recorded = recording(RECORDED[fake.version])
    service = fake.make_service()
    for method, requests in asked_of_the_catalog().items():
        kind = milvus_pb2.DESCRIPTOR.message_types_by_name.get(f"{method}Response")
        real = [
            deep_shape(one.response, kind)
            for (name, *_), answers in recorded.answers.items()
            for one in answers
            if name == method
        ] + [deep_shape(response, kind) for response in recorded.refused.get(method, [])]
        for request in requests:
            answer = service.answer(method, request.SerializeToString())
            ours = deep_shape(answer, kind)
            tops = [{number for number, _ in one} for one in real]
            top = {number for number, _ in ours}
            assert top in tops, f"{method}({request}): fields {sorted(top)}, real ones: {tops[:5]}"
            like_it = [one for one in real if {number for number, _ in one} == top]
            never_set = unknown_parts(ours, like_it)
            assert not never_set, f"{method}({request}): {never_set} are set by no real server"
    unknown = asked_of_the_catalog()["DescribeCollection"][1].SerializeToString()
    assert codes(service.answer("DescribeCollection", unknown)) == codes(recorded.missing)
    description = milvus_pb2.DescribeCollectionResponse.FromString(
        service.answer("DescribeCollection", asked_of_the_catalog()["DescribeCollection"][0].SerializeToString())
    )
    real = milvus_pb2.DescribeCollectionResponse.FromString(
        recorded.answer(recorded.last_step, "DescribeCollection", "default", "int1")
    )
    names = {pair.key for pair in description.properties}
    assert names == {pair.key for pair in real.properties}, names


def codes(answer: bytes) -> tuple[int, int]:
    status = milvus_pb2.DescribeCollectionResponse.FromString(answer).status
    return status.code, status.error_code


def paths(shape: frozenset, before: tuple = ()) -> set:
    """Every field that is set, by the numbers on the way to it."""
    found = set()
    for number, inside in shape:
        found.add((*before, number))
        if inside is not None:
            found |= paths(inside, (*before, number))
    return found


def unknown_parts(ours: frozenset, real: list[frozenset]) -> set:
    return paths(ours) - set().union(*map(paths, real))


def test_ticks_come_before_timestamps_that_were_allocated_earlier(fake):
    """And rise on each channel."""
    early = 0
    for number in range(100):
        allocated = fake.clock.next()
        fake.insert(NAME, some([1000 + number]))
        early += any(channel.end().tick < allocated for channel in fake.channels.values())
    assert early
    for channel in fake.channels.values():
        ticks = [record.tick for record in channel.between(0, 0, 2**64)]
        assert ticks == sorted(set(ticks))


@pytest.mark.parametrize("name", [name for name in RECORDINGS if not name.endswith("rollback")])
def test_a_replay_answers_as_the_recorded_server_did(name):
    """From the last confirmed ids of records, and from their own ids. (What is left out behind an id within a
    transaction depends on what was open at that moment, and where Woodpecker's truncation point was on when it was
    asked.)"""
    recorded = recording(name)
    server = Replay(recorded, recorded.last_step)

    def is_known(one: dict) -> bool:
        from_truncation = one["start_id"] == queues.BEHIND_TRUNCATION and one["include_start_message"]
        is_own_of_a_part = one["start_from"] == "its own id" and one["in_transaction"]
        return not from_truncation and not is_own_of_a_part

    asked = [one for one in recorded.resumed if is_known(one)]
    assert len(asked) > 50
    for one in asked:
        messages = server.readable(one["channel"], one["start_id"], one["include_start_message"])
        found = [message for message in messages if message.tick >= one["start_timetick"]]
        numbers = [recorded.channels[one["channel"]].index(message) for message in found]
        told = (one["answered"], one["first_nth"])
        assert (len(found), numbers[0] if numbers else None) == told, one

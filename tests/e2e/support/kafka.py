"""Administration of a broker's topics."""

import confluent_kafka as kafka
from confluent_kafka import admin

from .waiting import wait_until

PARTITION = 0
SECONDS = 20


def _admin(broker) -> admin.AdminClient:
    return admin.AdminClient({"bootstrap.servers": broker.address()})


def topics(broker) -> dict[str, int]:
    """All topics but Kafka's own, with their number of partitions."""
    told = _admin(broker).list_topics(timeout=SECONDS).topics
    return {name: len(topic.partitions) for name, topic in told.items() if not name.startswith("__")}


def leaders(broker, topics: list[str]) -> dict[str, tuple[int, int, int]]:
    """For each topic its leader, its preferred leader, and the number of in-sync replicas."""
    told = _admin(broker).list_topics(timeout=SECONDS).topics
    unknown = [name for name in topics if name not in told or PARTITION not in told[name].partitions]
    assert not unknown, f"the broker does not know {unknown}"
    found = {name: told[name].partitions[PARTITION] for name in topics}
    return {name: (partition.leader, partition.replicas[0], len(partition.isrs)) for name, partition in found.items()}


def span(broker, topic: str) -> tuple[int, int]:
    """The first offset and the end offset."""
    reader = kafka.Consumer({"bootstrap.servers": broker.address(), "group.id": "support"})
    try:
        return reader.get_watermark_offsets(kafka.TopicPartition(topic, PARTITION), timeout=SECONDS)
    finally:
        reader.close()


def cut(broker, names: list[str], keep_last: int = 3) -> int:
    """Deletes all but the last messages of the topics; returns the number of deleted ones."""
    spans = {name: span(broker, name) for name in names}
    ends = [
        kafka.TopicPartition(name, PARTITION, high - keep_last)
        for name, (low, high) in spans.items()
        if high - low > keep_last
    ]
    client = _admin(broker)
    for future in client.delete_records(ends).values():
        future.result(SECONDS)
    return sum(end.offset - spans[end.topic][0] for end in ends)


def configure(broker, topic: str, **settings) -> None:
    """Changes settings of one topic, `retention_ms=1` for `retention.ms=1`."""
    changes = [
        admin.ConfigEntry(key.replace("_", "."), str(value), incremental_operation=admin.AlterConfigOpType.SET)
        for key, value in settings.items()
    ]
    resource = admin.ConfigResource(admin.ResourceType.TOPIC, topic, incremental_configs=changes)
    client = _admin(broker)
    for future in client.incremental_alter_configs([resource]).values():
        future.result(SECONDS)

    def is_in_force():
        [told] = client.describe_configs([admin.ConfigResource(admin.ResourceType.TOPIC, topic)]).values()
        return all(told.result(SECONDS)[change.name].value == change.value for change in changes)

    # The answer means that the change is stored; the broker applies it a little later.
    wait_until(is_in_force, SECONDS, f"the settings of {topic}")


def wait_for_retention(broker, topic: str, beyond: int) -> None:
    """Waits until the broker's retention has deleted everything before this offset."""
    wait_until(lambda: span(broker, topic)[0] > beyond, 60, f"the retention of {topic}", every=0.5)


def groups(broker) -> list[str]:
    """The consumer groups that have members or committed offsets."""
    client = _admin(broker)
    return [group.group_id for group in client.list_consumer_groups(request_timeout=SECONDS).result().valid]


# Longest tick in bytes; every other message is longer.
LONGEST_TICK = 20


def copy_all_but_ticks(broker, source: str, target: str) -> int:
    """Copies all messages but ticks from one topic to another, byte by byte; returns their number."""
    low, high = span(broker, source)
    reader = kafka.Consumer({"bootstrap.servers": broker.address(), "group.id": "support"})
    writer = kafka.Producer({"bootstrap.servers": broker.address(), "compression.type": "zstd"})
    copied = 0
    try:
        reader.assign([kafka.TopicPartition(source, PARTITION, low)])
        offset = low
        while offset + 1 < high:
            message = reader.poll(SECONDS)
            assert message is not None and not message.error(), message
            offset = message.offset()
            if len(message.value()) > LONGEST_TICK:
                writer.produce(target, message.value(), partition=PARTITION)
                copied += 1
    finally:
        reader.close()
        assert writer.flush(SECONDS) == 0
    return copied

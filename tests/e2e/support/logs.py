"""The log of a source, for each kind: its settings in milvus-cdc, and cutting it as retention does."""

from . import kafka, pulsar, rocksmq
from .waiting import wait_until


class RocksMqLog:
    """In the source's own data folder. It can be cut only while the source is stopped."""

    kind = "rocksmq"

    def __init__(self, server):
        self._server = server

    def config(self) -> dict:
        """The part of `sourceConfig` for the log; empty for a server without one (Milvus Lite)."""
        return {"rocksmq": {"path": str(self._server.rocksmq)}} if self._server.rocksmq else {}

    def cut(self, topics: list[str]) -> None:
        """Removes all but the last messages."""
        # Not killed: a 2.3.5 that was killed soon after collections were dropped crashed at its next start (seen once:
        # a division by zero in its query coordinator).
        self._server.stop()
        assert rocksmq.cut(self._server.rocksmq, topics) > 0
        self._server.start()


class KafkaLog:
    """In a Kafka broker."""

    kind = "kafka"

    def __init__(self, broker):
        self.broker = broker

    def config(self) -> dict:
        """The part of `sourceConfig` that says where the log is."""
        return {"kafka": {"address": self.broker.address()}}

    def cut(self, topics: list[str]) -> None:
        """Removes all but the last messages, as retention does."""
        assert kafka.cut(self.broker, topics) > 0


class PulsarLog:
    """In a Pulsar broker."""

    kind = "pulsar"

    def __init__(self, broker):
        self.broker = broker

    def config(self) -> dict:
        """The part of `sourceConfig` that says where the log is."""
        return {
            "pulsar": {
                "address": f"pulsar://{self.broker.address()}",
                "webAddress": f"http://{self.broker.address('web')}",
            }
        }

    def cut(self, topics: list[str]) -> None:
        """Removes all but the last messages, as retention does."""
        pulsar.cut(self.broker, topics)


def start_again(source) -> None:
    """Starts a broker that a test has stopped, and waits until the source answers."""
    if not source.log.broker.is_running():
        source.log.broker.start()
        wait_until(lambda: source.collections() is not None, 60, "the source to answer")


BROKER_LOGS = {"kafka": KafkaLog, "pulsar": PulsarLog}

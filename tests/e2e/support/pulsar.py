"""What an administrator does to a broker's topics."""

import urllib.error

from .waiting import wait_until

FOLDER = "persistent/public/default"
NAMESPACE = "namespaces/public/default"


def topics(broker) -> list[str]:
    """The topics that there are, by their short names."""
    return [name.rpartition("/")[2] for name in broker.admin("GET", FOLDER)]


def stats(broker, topic: str) -> dict:
    """Its ledgers (`ledgers`) and what subscriptions hold (`cursors`)."""
    return broker.admin("GET", f"{FOLDER}/{topic}/internalStats?metadata=false")


def ledgers(broker, topic: str) -> list[int]:
    """The ledgers that there are, the oldest first."""
    return [ledger["ledgerId"] for ledger in stats(broker, topic)["ledgers"]]


def subscriptions(broker, topic: str, prefix: str = "milvus-cdc") -> list[str]:
    """Our subscriptions."""
    return [name for name in broker.admin("GET", f"{FOLDER}/{topic}/subscriptions") if name.startswith(prefix)]


def unload(broker, topic: str) -> None:
    """Closes a topic, its ledger and its clients' consumers; it opens again by itself, with a new ledger."""
    broker.admin("PUT", f"{FOLDER}/{topic}/unload")


def set_retention(broker, minutes: int) -> None:
    """Sets the namespace's retention."""
    broker.admin(
        "POST", f"{NAMESPACE}/retention", {"retentionTimeInMinutes": minutes, "retentionSizeInMB": -1 if minutes else 0}
    )


def forget_retention(broker) -> None:
    """The broker's own default counts again."""
    broker.admin("DELETE", f"{NAMESPACE}/retention")


def trim(broker, topic: str) -> None:
    """Deletes the ledgers that nobody holds."""
    try:
        broker.admin("POST", f"{FOLDER}/{topic}/trim")
    except urllib.error.HTTPError as error:
        assert error.code == 409, error.read()  # it is trimming already


def end_left_behind(broker, topic: str, spared: tuple[str, ...] = ()) -> None:
    """Ends the subscriptions that killed servers left on a topic, ours and Milvus's: they would hold its messages."""
    for name in broker.admin("GET", f"{FOLDER}/{topic}/subscriptions"):
        if name in spared:
            continue
        try:
            broker.admin("DELETE", f"{FOLDER}/{topic}/subscription/{name}")
        except urllib.error.HTTPError as error:
            assert error.code == 412, error.read()  # somebody who lives is connected to it


def cut(broker, names: list[str]) -> None:
    """Removes all messages but the last ones, as retention does: what nobody holds goes when its ledger is closed."""
    set_retention(broker, 0)
    try:
        for name in names:
            end_left_behind(broker, name)
            written = ledgers(broker, name)[-1]
            unload(broker, name)

            def is_gone():
                trim(broker, name)
                assert written not in ledgers(broker, name)
                return True

            wait_until(is_gone, 60, f"ledger {written} of {name} to go", every=0.3)
    finally:
        forget_retention(broker)

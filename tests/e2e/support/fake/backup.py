"""A copy of all that a fake has, taken while it runs, and put back later: an earlier state of the same server."""

import copy


class Backup:
    def __init__(self, fake):
        self._fake = fake
        with fake.lock:
            self._collections = {name: _apart(kept) for name, kept in fake.collections.items()}
            self._channels = {name: (list(c._records), c._next) for name, c in fake.channels.items()}

    def restore(self) -> None:
        """Its clock goes on; messages get the numbers once more that the lost ones had."""
        fake = self._fake
        fake.stop()
        with fake.lock:
            fake.collections = {name: _apart(kept) for name, kept in self._collections.items()}
            for name, (records, following) in self._channels.items():
                fake.channels[name]._records, fake.channels[name]._next = list(records), following
        fake.start()


def _apart(kept):
    """A collection of its own, on the same channels."""
    return copy.deepcopy(kept, {id(shard): shard for shard in kept.shards})

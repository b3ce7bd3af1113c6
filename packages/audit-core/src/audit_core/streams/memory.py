"""A stream in memory: published to and consumed from within one process."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from zlib import crc32

from audit_core.event import RecordedEvent

PARTITIONS = 4


class MemoryStream:
    """A log of events in a few partitions, as in Kafka: all events of one target are in one partition, in
    order.

    The readers of a group divide the partitions among them and do so anew when one comes or goes; what was
    polled from a partition and not committed then comes again. A group begins at the first event ever
    published. Safe to use from several threads; gone with the process.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._partitions: list[list[tuple[int, RecordedEvent]]] = [[] for _ in range(PARTITIONS)]
        self._published = 0
        self._groups: dict[str, _Group] = {}

    @property
    def events(self) -> list[RecordedEvent]:
        """Everything that was published, in order."""
        with self._changed:
            numbered = sorted((item for part in self._partitions for item in part), key=lambda item: item[0])
            return [recorded for _, recorded in numbered]

    def publish(self, events: Sequence[RecordedEvent]) -> None:
        """Append these events and wake the readers."""
        with self._changed:
            for recorded in events:
                self._published += 1
                self._partitions[_partition(recorded)].append((self._published, recorded))
            self._changed.notify_all()

    def subscribe(self, group: str, name: str) -> MemorySubscription:
        """A place in the stream; a reader who subscribes again under the same name takes over his older
        place.
        """
        with self._changed:
            members = self._groups.setdefault(group, _Group())
            subscription = MemorySubscription(self, members)
            members.join(name, subscription)
            return subscription


@dataclass
class _Group:
    """How far a group has come in each partition, and which reader serves it."""

    committed: list[int] = field(default_factory=lambda: [0] * PARTITIONS)
    polled: list[int] = field(default_factory=lambda: [0] * PARTITIONS)
    members: dict[str, MemorySubscription] = field(default_factory=dict)
    owners: list[MemorySubscription | None] = field(default_factory=lambda: [None] * PARTITIONS)

    def join(self, name: str, subscription: MemorySubscription) -> None:
        self.members[name] = subscription
        self._divide()

    def leave(self, subscription: MemorySubscription) -> None:
        self.members = {name: member for name, member in self.members.items() if member is not subscription}
        self._divide()

    def _divide(self) -> None:
        members = [self.members[name] for name in sorted(self.members)]
        for partition in range(PARTITIONS):
            owner = members[partition % len(members)] if members else None
            if owner is not self.owners[partition]:
                self.owners[partition] = owner
                self.polled[partition] = self.committed[partition]


class MemorySubscription:
    """One reader's place. Only its partitions move with it: after it has lost one, a commit leaves that
    alone.
    """

    def __init__(self, stream: MemoryStream, group: _Group) -> None:
        self._stream = stream
        self._group = group

    def poll(self, max_events: int, timeout_seconds: float) -> Sequence[RecordedEvent]:
        """The next events; none when ``timeout_seconds`` pass without one."""
        deadline = time.monotonic() + timeout_seconds
        with self._stream._changed:
            while not (events := self._take(max_events)):
                left = deadline - time.monotonic()
                if left <= 0 or not self._stream._changed.wait(left):
                    return self._take(max_events)
            return events

    def commit(self) -> None:
        """Never deliver again what this reader polled."""
        with self._stream._changed:
            for partition in self._own():
                self._group.committed[partition] = self._group.polled[partition]

    def close(self) -> None:
        """Give up the place."""
        with self._stream._changed:
            self._group.leave(self)
            self._stream._changed.notify_all()

    def _own(self) -> list[int]:
        return [partition for partition, owner in enumerate(self._group.owners) if owner is self]

    def _take(self, max_events: int) -> list[RecordedEvent]:
        polled, partitions = self._group.polled, self._stream._partitions
        taken: list[RecordedEvent] = []
        while len(taken) < max_events:
            waiting = [p for p in self._own() if polled[p] < len(partitions[p])]
            if not waiting:
                break
            first = min(waiting, key=lambda p: partitions[p][polled[p]][0])
            taken.append(partitions[first][polled[first]][1])
            polled[first] += 1
        return taken


def _partition(recorded: RecordedEvent) -> int:
    target = recorded.event.target
    key = repr(target.key) if target is not None else str(recorded.id)
    return crc32(key.encode()) % PARTITIONS

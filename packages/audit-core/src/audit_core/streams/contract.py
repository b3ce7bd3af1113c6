"""What a stream promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from audit_core.event import RecordedEvent


@runtime_checkable
class Stream(Protocol):
    """Publishes events, in order for each target."""

    def publish(self, events: Sequence[RecordedEvent]) -> None:
        """Publish these events; return only when the broker has confirmed every one. Errors as for ``Storage.write``."""


class Subscription(Protocol):
    """One reader's place in a stream."""

    def poll(self, max_events: int, timeout_seconds: float) -> Sequence[RecordedEvent]:
        """The next events, at most ``max_events``; none when ``timeout_seconds`` pass without one."""

    def commit(self) -> None:
        """Never deliver again what was polled so far: call it when the storages have it."""

    def close(self) -> None:
        """Give up the place; what was polled and not committed comes again."""


@runtime_checkable
class ConsumableStream(Stream, Protocol):
    """A stream that can also be read."""

    def subscribe(self, group: str, name: str) -> Subscription:
        """A place in the stream for the reader ``name`` of ``group``; the readers of one group share its events."""

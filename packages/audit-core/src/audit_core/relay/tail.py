"""The newest events of the log, kept in memory for the sinks of this process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from audit_core.event import RecordedEvent
from audit_core.log import seq_of

MAX_CHARACTERS = 8 * 1024 * 1024  # of the events' texts
MAX_AGE_SECONDS = (
    5.0  # a database restored from a backup gives these numbers to other events, but not so soon
)


class Tail:
    """A run of events without a gap, so that several sinks read them from the log once.

    Nothing depends on it: what it does not have is read from the log. Its events are what the log holds, because events never
    change and are added only when their sentences are saved.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._batches: deque[Sequence[RecordedEvent]] = deque()
        self._added_at: deque[float] = deque()
        self._characters = 0

    def add(self, events: Sequence[RecordedEvent]) -> None:
        """These events follow; those before a gap are forgotten, and the oldest when it is too much."""
        if not events:
            return
        with self._lock:
            if self._batches and seq_of(self._batches[-1][-1]) + 1 != seq_of(events[0]):
                self._clear()
            self._batches.append(events)
            self._added_at.append(self._monotonic())
            self._characters += _characters(events)
            while self._characters > MAX_CHARACTERS:
                self._drop_oldest()

    def clear(self) -> None:
        """Forget everything: something is wrong with the log, and it may come back as another."""
        with self._lock:
            self._clear()

    def read(self, after: int, through: int) -> Sequence[RecordedEvent] | None:
        """The events above ``after`` up to ``through``, or ``None`` when not all of them are here."""
        with self._lock:
            while self._batches and self._added_at[0] < self._monotonic() - MAX_AGE_SECONDS:
                self._drop_oldest()
            batches = list(self._batches)
        if not batches or seq_of(batches[0][0]) > after + 1 or seq_of(batches[-1][-1]) < through:
            return None
        return [
            event
            for batch in batches
            if seq_of(batch[-1]) > after and seq_of(batch[0]) <= through
            for event in batch
            if after < seq_of(event) <= through
        ]

    def _drop_oldest(self) -> None:
        self._added_at.popleft()
        self._characters -= _characters(self._batches.popleft())

    def _clear(self) -> None:
        while self._batches:
            self._drop_oldest()


def _characters(events: Sequence[RecordedEvent]) -> int:
    return sum(len(event.text) for event in events)

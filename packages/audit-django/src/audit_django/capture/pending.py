"""The events of one transaction until they are written.

They are written together just before COMMIT, or earlier when a statement names one of our tables. A savepoint that is rolled
back takes with it the events recorded since it was made and no others: neither those that were recorded before it and written
inside it, which are written again.

Time is counted in ticks: each event, savepoint and flush takes one, so "recorded after the savepoint" is a comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from audit_core.event import RecordedEvent
from audit_core.privacy.keys import DataKey, Scope


@dataclass(slots=True)
class Entry:
    """One event that belongs to the open transaction. ``required``: the transaction must not commit without it."""

    recorded: RecordedEvent
    required: bool
    tick: int
    flushed_at: int | None = None


class Pending:
    """The events of the transaction that is open on one connection."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []  # not written yet
        self._written: list[Entry] = []  # written, but a savepoint older than the flush may still undo it
        self._savepoints: dict[str, int] = {}
        self._tick = 0
        self._kept: list[tuple[int, RecordedEvent]] = []  # written, by tick, for who is told after the commit
        self._undos: list[tuple[int, Callable[[], None]]] = []
        self.wrote = False
        self.data_keys: dict[tuple[int, Scope], DataKey] = {}  # made in it (see privacy.keyring)

    def __bool__(self) -> bool:
        return bool(self._entries)

    def _next_tick(self) -> int:
        self._tick += 1
        return self._tick

    def add(self, recorded: RecordedEvent, *, required: bool) -> None:
        """Hold an event for the next flush."""
        self._entries.append(Entry(recorded, required, self._next_tick()))

    def last(self) -> Entry | None:
        """The latest event, if nothing but it would be undone by the innermost savepoint's rollback."""
        if not self._entries:
            return None
        entry = self._entries[-1]
        return entry if entry.tick > max(self._savepoints.values(), default=0) else None

    def drop_last(self) -> None:
        """Forget the latest event: another one says it too."""
        self._entries.pop()

    def entries(self) -> Iterator[Entry]:
        """What a flush has to write, in the order of recording."""
        return iter(self._entries)

    def flushed(self, *, keep: bool = False) -> None:
        """Everything that was held is written now. ``keep`` it for :meth:`kept`, at the cost of its memory."""
        tick = self._next_tick()
        self.wrote = True
        innermost = max(self._savepoints.values(), default=0)
        for entry in self._entries:
            if keep:
                self._kept.append((entry.tick, entry.recorded))
            if entry.tick < innermost:  # that savepoint's rollback would undo the write, but not the event
                entry.flushed_at = tick
                self._written.append(entry)
        self._entries.clear()

    def on_undo(self, forget: Callable[[], None]) -> None:
        """Call ``forget`` when what has happened up to now is rolled back."""
        self._undos.append((self._next_tick(), forget))

    def savepoint(self, sid: str) -> None:
        """A savepoint was made."""
        self._savepoints[sid] = self._next_tick()

    def release(self, sid: str) -> None:
        """A savepoint was released: what happened since belongs to the one around it."""
        self._forget_from(self._savepoints.get(sid))

    def rollback_to(self, sid: str) -> None:
        """A savepoint was rolled back; it still exists, as in SQL."""
        made = self._savepoints.get(sid)
        if made is None:
            return
        again = [
            e for e in self._written if e.tick < made and e.flushed_at is not None and e.flushed_at > made
        ]
        self._entries = sorted(
            [*again, *(e for e in self._entries if e.tick < made)], key=lambda entry: entry.tick
        )
        self._kept = [(tick, recorded) for tick, recorded in self._kept if tick < made]
        self._written = [e for e in self._written if e.flushed_at is not None and e.flushed_at < made]
        self._savepoints = {name: tick for name, tick in self._savepoints.items() if tick <= made}
        self._undo(made)

    def kept(self) -> list[RecordedEvent]:
        """The events that were written with ``keep`` and not undone."""
        return [recorded for _, recorded in self._kept]

    def undo(self) -> None:
        """The transaction is rolled back."""
        self._undo(0)

    def _undo(self, made: int) -> None:
        for tick, forget in self._undos:
            if tick > made:
                forget()
        self._undos = [(tick, forget) for tick, forget in self._undos if tick < made]

    def clear(self) -> None:
        """The transaction is over."""
        self.__init__()  # type: ignore[misc]

    def _forget_from(self, made: int | None) -> None:
        if made is None:
            return
        self._savepoints = {name: tick for name, tick in self._savepoints.items() if tick < made}
        if not self._savepoints:
            self._written.clear()

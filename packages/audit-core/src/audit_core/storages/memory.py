"""A storage in memory: the reference for what a search means, and what unit tests write to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeAlias
from uuid import UUID

from audit_core.event import RecordedEvent, format_timestamp
from audit_core.query import EventQuery, Page, decode_cursor, encode_cursor
from audit_core.storages.matching import is_within, matches

Position: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class _Kept:
    """An event and when it came: ``number`` counts the arrivals."""

    recorded: RecordedEvent
    number: int

    @property
    def in_time(self) -> Position:
        return format_timestamp(self.recorded.event.occurred_at), self.number

    @property
    def in_history(self) -> Position:
        # What has no seq yet is newer than all that has one.
        seq = self.recorded.seq
        return (1, 0, self.number) if seq is None else (0, seq, self.number)


class MemoryStorage:
    """Keeps events in a dictionary. Searchable, prunable, readable, safe to use from several threads; gone with
    the process.

    A search looks at every event, so it is for tests and small demonstrations.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[UUID, _Kept] = {}
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def events(self) -> list[RecordedEvent]:
        """Everything that is kept, in the order of arrival."""
        with self._lock:
            return [kept.recorded for kept in self._kept.values()]

    def write(self, events: Sequence[RecordedEvent]) -> None:
        """Keep these events, except those whose id is known."""
        with self._lock:
            for recorded in events:
                if recorded.id not in self._kept:
                    self._arrivals += 1
                    self._kept[recorded.id] = _Kept(recorded, self._arrivals)

    def get(self, event_id: UUID) -> RecordedEvent:
        """The event of this id. Raises ``KeyError``."""
        with self._lock:
            return self._kept[event_id].recorded

    def search(self, query: EventQuery) -> Page:
        """The newest events that match; see :class:`~audit_core.query.EventQuery`."""
        position = _history_position if query.is_history else _time_position
        types = (int, int, int) if query.is_history else (str, int)
        after = None if query.cursor is None else tuple(decode_cursor(query.cursor, *types))
        with self._lock:
            candidates = list(self._kept.values())
        found = sorted(
            (kept for kept in candidates if matches(query, kept.recorded)), key=position, reverse=True
        )
        if query.newer and after is not None:
            found = [kept for kept in found if position(kept) > after][-query.limit :]
            return _page(found, position, more=False, newest=query.cursor)
        if after is not None:
            found = [kept for kept in found if position(kept) < after]
        return _page(found[: query.limit], position, more=len(found) > query.limit)

    def prune(self, before: datetime, *, dry_run: bool = False) -> int:
        """Remove the events that occurred before this moment; return how many."""
        with self._lock:
            old = [key for key, kept in self._kept.items() if kept.recorded.event.occurred_at < before]
            if not dry_run:
                for key in old:
                    del self._kept[key]
            return len(old)

    def read(
        self,
        *,
        since: date | None = None,
        until: date | None = None,
        tenants: Collection[str | None] | None = None,
    ) -> Iterator[RecordedEvent]:
        """The events of these days and tenants, in the order of arrival."""
        return (
            recorded
            for recorded in self.events
            if is_within(recorded, since=since, until=until, tenants=tenants)
        )


def _time_position(kept: _Kept) -> Position:
    return kept.in_time


def _history_position(kept: _Kept) -> Position:
    return kept.in_history


def _page(
    found: Sequence[_Kept], position: Callable[[_Kept], Position], *, more: bool, newest: str | None = None
) -> Page:
    return Page(
        events=[kept.recorded for kept in found],
        next=encode_cursor(*position(found[-1])) if more else None,
        newest=encode_cursor(*position(found[0])) if found else newest,
    )

"""What a storage promises. A class implements what its store can do; what it can is found with ``isinstance``.

Optional for every backend (storage, stream, summarizer): ``setup()`` creates what it needs and may be called again;
``check()`` returns a list of problems in words, empty when it is reachable, permitted and sane; ``close()`` gives up its
connections, and the next call opens new ones. See :mod:`audit_core.backends`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol, runtime_checkable
from uuid import UUID

from audit_core.event import RecordedEvent
from audit_core.query import EventQuery, Page


@runtime_checkable
class Storage(Protocol):
    """Keeps events. The relay calls ``write`` from one thread at a time and in the order of seq."""

    def write(self, events: Sequence[RecordedEvent]) -> None:
        """Keep these events; return only when a crash can no longer lose them.

        Writing an event whose id is there already changes nothing: after a lost acknowledgement the same batch comes again.
        All are kept, or an error is raised: :class:`~audit_core.errors.RetryableError` when waiting may help,
        :class:`~audit_core.errors.PermanentError` when this batch will never be taken, and
        :class:`~audit_core.errors.PartialWrite` naming the events that were refused for good while all others were kept.
        A store in which the order of arrival shows also leaves out, and names, the later events of a refused one's target.
        """


@runtime_checkable
class BatchingStorage(Storage, Protocol):
    """A storage for which each batch has a price (an object in a bucket): it is better off with fewer and larger ones.

    A relay that goes on for ever gives it ``batch_size`` events at a time and waits for so many; but the first of them no
    longer than ``flush_interval_seconds`` after it occurred. They wait in the log: the cursor does not move, and ``write``
    returns as ever when a crash can no longer lose the events.
    """

    batch_size: int
    flush_interval_seconds: float


@runtime_checkable
class SearchableStorage(Storage, Protocol):
    """A storage that can also answer questions."""

    def search(self, query: EventQuery) -> Page:
        """The newest events that match, as :class:`~audit_core.query.EventQuery` says.

        Raises :class:`~audit_core.query.InvalidQuery` for a filter that this store cannot answer.
        """

    def get(self, event_id: UUID) -> RecordedEvent:
        """The event of this id. Raises ``KeyError`` when it is not there."""


@runtime_checkable
class PrunableStorage(Storage, Protocol):
    """A storage from which old events can be removed."""

    def prune(self, before: datetime, *, dry_run: bool = False) -> int:
        """Remove the events that occurred before this moment; return how many there were (``dry_run``: would be)."""


@runtime_checkable
class ReadableStorage(Storage, Protocol):
    """A storage from which events can be read back in bulk, to be written into another one."""

    def read(
        self,
        *,
        since: date | None = None,
        until: date | None = None,
        tenants: Collection[str | None] | None = None,
    ) -> Iterator[RecordedEvent]:
        """The events that occurred from the day ``since`` to the day ``until`` (in UTC, both included), each once, in an order
        of the store's own; ``tenants`` leaves out those of others (``None`` stands for events without a tenant).

        It holds a small part of them in memory at a time. Raises an :class:`~audit_core.errors.AuditError` at an event that
        is not what was recorded.
        """


@dataclass(frozen=True, slots=True)
class Compacted:
    """What was done, or would be: in how many days, so many ``objects`` of ``size_bytes`` became so many ``into``."""

    days: int = 0
    objects: int = 0
    size_bytes: int = 0
    into: int = 0


@runtime_checkable
class CompactableStorage(Storage, Protocol):
    """A storage that keeps each batch in an object of its own, and can make few large ones of many small ones."""

    def compact(
        self,
        *,
        since: date | None = None,
        until: date | None = None,
        target_bytes: int | None = None,
        dry_run: bool = False,
        progress: Callable[[int], object] = lambda objects: None,
    ) -> Compacted:
        """Merge the small objects of each day from ``since`` to ``until`` (in UTC, both included) that is over.

        Those that it makes have up to ``target_bytes``, or what suits the store. ``progress`` is told how many objects were
        merged, of as many as a dry run counts. No event is changed, and none is read back twice or not at all meanwhile.
        Stopped on the way, it goes on when it is called again. Raises an :class:`~audit_core.errors.AuditError` at an object
        that is not as it was written.
        """


@runtime_checkable
class VerifiableStorage(Storage, Protocol):
    """A storage that keeps a record of what it holds, and can be compared with it."""

    def verify(
        self,
        *,
        since: date | None = None,
        until: date | None = None,
        progress: Callable[[int], object] = lambda objects: None,
    ) -> Sequence[str]:
        """What was changed, removed or added in the days from ``since`` to ``until`` (in UTC, both included), in words that
        say what to do; nothing when all is as it was written.

        All of it is read. ``progress`` is told how many objects were.
        """

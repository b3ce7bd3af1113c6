"""The outbox and the log in memory: the reference of both contracts, with transactions and a clock of its
own.

database = MemoryDatabase() with database.transaction():
    database.outbox.append([event]) lease = database.log.acquire(SEQUENCER, "me", ttl_seconds=30)
    database.log.sequence(lease, limit=100)
"""

from __future__ import annotations

import threading
from bisect import insort
from collections import Counter
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from audit_core.errors import LeaseLost
from audit_core.event import RecordedEvent
from audit_core.log import (
    SEQUENCER,
    SUMMARIES,
    TRIMMER,
    Cursor,
    Lease,
    ParkedEvent,
    TargetKey,
    delivered_seq,
    seq_of,
    target_key,
)
from audit_core.outbox import Waiting


class MemoryDatabase:
    """What a :class:`MemoryOutbox` and a :class:`MemoryLog` share. Safe to use from several threads.

    ``clock`` is the time by which leases expire: an aware ``datetime``
    (:class:`audit_core.testing.VirtualClock` can be turned by hand).
    """

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.waiting: list[tuple[int, RecordedEvent]] = []  # committed rows of the outbox, by id
        self._last_id = 0
        self._local = threading.local()
        self.outbox = MemoryOutbox(self)
        self.log = MemoryLog(self)

    def close(self) -> None:
        """Nothing: a thread has no connection here."""

    def begin(self) -> MemoryTransaction:
        """A transaction that belongs to no thread and stays open until its ``commit`` or ``rollback``."""
        return MemoryTransaction(self)

    @contextmanager
    def transaction(self) -> Generator[MemoryTransaction]:
        """A transaction of this thread, committed at the end of the block; within another one a savepoint."""
        outer = self.current
        if outer is None:
            transaction = self._local.transaction = self.begin()
            try:
                yield transaction
            except BaseException:
                transaction.rollback()
                raise
            else:
                transaction.commit()
            finally:
                self._local.transaction = None
        else:
            savepoint = len(outer.rows)
            try:
                yield outer
            except BaseException:
                del outer.rows[savepoint:]
                raise

    @property
    def current(self) -> MemoryTransaction | None:
        """The transaction of this thread."""
        return getattr(self._local, "transaction", None)

    def next_id(self) -> int:
        """A row's id, taken when it is written, not when it is committed: as a database does it."""
        with self.lock:
            self._last_id += 1
            return self._last_id


class MemoryTransaction:
    """Rows that nobody else sees until ``commit``."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self.rows: list[tuple[int, RecordedEvent]] = []

    def append(self, events: Sequence[RecordedEvent]) -> None:
        """Write rows into the outbox."""
        self.rows += [(self._database.next_id(), recorded) for recorded in events]

    def commit(self) -> None:
        """Show the rows to everybody."""
        with self._database.lock:
            for row in self.rows:
                insort(self._database.waiting, row, key=lambda row: row[0])
        self.rows = []

    def rollback(self) -> None:
        """Forget the rows; their ids stay used."""
        self.rows = []


class MemoryOutbox:
    """The outbox of a :class:`MemoryDatabase`. Outside a transaction each ``append`` is one of its own."""

    def __init__(self, database: MemoryDatabase) -> None:
        self.database = database

    def append(self, events: Sequence[RecordedEvent]) -> None:
        """Keep these events with this thread's transaction."""
        if transaction := self.database.current:
            transaction.append(events)
        else:
            with self.database.transaction() as transaction:
                transaction.append(events)

    def waiting(self) -> Waiting:
        """What has been committed and has no seq yet."""
        with self.database.lock:
            moments = [recorded.event.occurred_at for _, recorded in self.database.waiting]
        return Waiting(len(moments), min(moments, default=None))


def open_outbox() -> MemoryOutbox:
    """The outbox of a new database; what a configuration calls ``memory``."""
    return MemoryDatabase().outbox


@dataclass
class _Row:
    """A cursor and when its lease expires."""

    cursor: Cursor
    expires_at: datetime | None = None


class MemoryLog:
    """The log of a :class:`MemoryDatabase`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._lock = database.lock
        self._events: list[RecordedEvent] = []
        self._place: dict[UUID, int] = {}  # event id to index
        self._trimmed = 0  # so many of the first are without their text
        self._rows: dict[str, _Row] = {}
        self._parked: dict[tuple[str, int], ParkedEvent] = {}

    # leases

    def acquire(self, name: str, owner: str, ttl_seconds: float) -> Lease | None:
        """Take or renew the lease."""
        with self._lock:
            now = self._database.clock()
            row = self._rows.setdefault(name, _Row(Cursor(name)))
            cursor = row.cursor
            if cursor.paused or (cursor.retry_at is not None and cursor.retry_at > now):
                return None
            held = cursor.owner is not None and row.expires_at is not None and row.expires_at > now
            if held and cursor.owner != owner:
                return None
            row.expires_at = now + timedelta(seconds=ttl_seconds)
            if not held:
                row.cursor = replace(cursor, owner=owner, epoch=cursor.epoch + 1)
            return Lease(name, owner, row.cursor.epoch)

    def now(self) -> datetime:
        """The clock's time."""
        return self._database.clock()

    def start(self, name: str, seq: int) -> None:
        """Make a cursor, if there is none."""
        with self._lock:
            self._rows.setdefault(name, _Row(Cursor(name, seq)))

    def seek(self, name: str, seq: int) -> None:
        """Set a cursor; the epoch grows, so that the lease is lost."""
        with self._lock:
            row = self._rows.setdefault(name, _Row(Cursor(name)))
            row.cursor = Cursor(name, seq, epoch=row.cursor.epoch + 1, paused=row.cursor.paused)

    def forget(self, name: str) -> None:
        """Delete a cursor and what is parked."""
        with self._lock:
            self._rows.pop(name, None)
            self._parked = {key: parked for key, parked in self._parked.items() if parked.sink != name}

    def release_expired(self) -> Sequence[str]:
        """Take the owner off expired leases."""
        with self._lock:
            now, names = self._database.clock(), []
            for name, row in sorted(self._rows.items()):
                if row.cursor.owner is not None and row.expires_at is not None and row.expires_at <= now:
                    row.cursor = replace(row.cursor, owner=None)
                    names.append(name)
            return names

    def pause(self, name: str) -> None:
        """Give nobody the lease."""
        with self._lock:
            row = self._rows.setdefault(name, _Row(Cursor(name)))
            row.cursor = replace(row.cursor, paused=True)

    def resume(self, name: str) -> None:
        """Give the lease again, at once."""
        with self._lock:
            if row := self._rows.get(name):
                row.cursor = replace(row.cursor, paused=False, retry_at=None)

    def release(self, lease: Lease) -> None:
        """Give the lease back, if it is not lost."""
        with self._lock:
            if (row := self._rows.get(lease.name)) and _holds(row, lease):
                row.cursor = replace(row.cursor, owner=None)

    def _fence(self, lease: Lease) -> _Row:
        row = self._rows.get(lease.name)
        if row is None or not _holds(row, lease):
            raise LeaseLost(
                f"{lease.owner} no longer holds the lease on {lease.name!r} (epoch {lease.epoch})."
            )
        return row

    # the events

    def unsequenced(self) -> bool:
        """Whether anything waits in the outbox."""
        return bool(self._database.waiting)

    def sequence(self, lease: Lease, limit: int) -> int:
        """Give the oldest rows of the outbox their seq."""
        if lease.name != SEQUENCER:
            raise ValueError(f"Sequencing needs the lease on {SEQUENCER!r}, not on {lease.name!r}.")
        with self._lock:
            row = self._fence(lease)
            batch = self._database.waiting[:limit]
            for _, recorded in batch:
                self._place[recorded.id] = len(self._events)
                self._events.append(replace(recorded, seq=len(self._events) + 1))
            del self._database.waiting[: len(batch)]
            row.cursor = replace(row.cursor, seq=len(self._events))
            return len(batch)

    def read(self, after: int, limit: int) -> Sequence[RecordedEvent]:
        """The next events."""
        with self._lock:
            start = max(after, self._trimmed)
            return self._events[start : start + limit]

    def seq_before(self, moment: datetime) -> int:
        """The seq to start after."""
        with self._lock:
            for recorded in self._events[self._trimmed :]:
                if recorded.event.occurred_at >= moment:
                    return seq_of(recorded) - 1
            return len(self._events)

    def trim(self, lease: Lease, through: int) -> int:
        """Give up the first texts."""
        if lease.name != TRIMMER:
            raise ValueError(f"Trimming needs the lease on {TRIMMER!r}, not on {lease.name!r}.")
        with self._lock:
            row = self._fence(lease)
            first_parked = min((seq for _, seq in self._parked), default=None)
            through = min(through, delivered_seq(self.cursors(), first_parked))
            gone = self._events[self._trimmed : through]
            for recorded in gone:
                del self._place[recorded.id]
                self._events[seq_of(recorded) - 1] = replace(recorded, text="", summary=None)
            self._trimmed += len(gone)
            row.cursor = replace(row.cursor, seq=self._trimmed)
            return len(gone)

    def get(self, event_ids: Collection[UUID]) -> Sequence[RecordedEvent]:
        """These events, by seq."""
        with self._lock:
            places = sorted({self._place[key] for key in event_ids if key in self._place})
            return [self._events[place] for place in places]

    def save_summaries(self, lease: Lease, summaries: Mapping[UUID, str]) -> None:
        """Keep sentences."""
        if lease.name != SUMMARIES:
            raise ValueError(f"Saving summaries needs the lease on {SUMMARIES!r}, not on {lease.name!r}.")
        with self._lock:
            self._fence(lease)
            for event_id, summary in summaries.items():
                place = self._place[event_id]
                self._events[place] = replace(self._events[place], summary=summary)

    # cursors

    def cursor(self, name: str) -> Cursor:
        """Where ``name`` stands."""
        with self._lock:
            row = self._rows.get(name)
            return row.cursor if row else Cursor(name)

    def cursors(self) -> Sequence[Cursor]:
        """Every cursor there is."""
        with self._lock:
            return [self._rows[name].cursor for name in sorted(self._rows)]

    def advance(self, lease: Lease, seq: int) -> None:
        """Move the cursor."""
        with self._lock:
            row = self._fence(lease)
            row.cursor = replace(row.cursor, seq=seq, failures=0, retry_at=None, error=None)

    def fail(self, lease: Lease, error: str, retry_after_seconds: float) -> Cursor:
        """Count a failure and give the lease back."""
        with self._lock:
            row = self._fence(lease)
            retry_at = self._database.clock() + timedelta(seconds=retry_after_seconds)
            failures = row.cursor.failures + 1
            row.cursor = replace(row.cursor, owner=None, failures=failures, retry_at=retry_at, error=error)
            return row.cursor

    # what is parked

    def park(self, lease: Lease, events: Sequence[RecordedEvent], reason: str) -> None:
        """Set events aside."""
        with self._lock:
            self._fence(lease)
            now = self._database.clock()
            for recorded in events:
                if recorded.seq is None:
                    raise ValueError(f"Event {recorded.id} has no seq: park events as the log gave them.")
                target = target_key(recorded)
                parked = ParkedEvent(lease.name, recorded.seq, recorded.id, target, reason, now)
                self._parked.setdefault((lease.name, recorded.seq), parked)

    def unpark(self, lease: Lease, event_ids: Collection[UUID]) -> None:
        """Forget that events are parked, because the sink has them."""
        with self._lock:
            self._fence(lease)
            self.discard(lease.name, event_ids)

    def discard(self, sink: str, event_ids: Collection[UUID]) -> int:
        """Forget that events are parked."""
        with self._lock:
            gone = [
                key
                for key, parked in self._parked.items()
                if parked.sink == sink and parked.event_id in event_ids
            ]
            for key in gone:
                del self._parked[key]
            return len(gone)

    def parked(self, sink: str | None = None, limit: int = 1000, after: int = 0) -> Sequence[ParkedEvent]:
        """What is parked."""
        with self._lock:
            keys = sorted(key for key in self._parked if key[1] > after and sink in (None, key[0]))
            return [self._parked[key] for key in keys[:limit]]

    def parked_counts(self) -> Mapping[str, int]:
        """How many events are parked for each sink."""
        with self._lock:
            return Counter(sink for sink, _ in self._parked)

    def parked_targets(self, sink: str) -> Mapping[TargetKey, int]:
        """The targets of which something is parked, each with the lowest seq."""
        first: dict[TargetKey, int] = {}
        for parked in self.parked(sink, limit=len(self._parked)):
            if parked.target is not None:
                first.setdefault(parked.target, parked.seq)
        return first


def _holds(row: _Row, lease: Lease) -> bool:
    return (row.cursor.owner, row.cursor.epoch) == (lease.owner, lease.epoch)

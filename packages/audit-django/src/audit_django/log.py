"""The log on Django's tables.

Every write is one short transaction whose first statement locks the cursor's row and checks the lease: a worker whose lease is
gone changes nothing. All times are the database's own.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.db import connections
from django.db.models import Case, F, Min, Q, QuerySet, When
from django.db.models.functions import Now as DatabaseNow

from audit_core import log
from audit_core.errors import LeaseLost
from audit_core.event import RecordedEvent
from audit_core.log import SEQUENCER, Lease, ParkedEvent, TargetKey
from audit_django.capture.transactions import joined
from audit_django.labels import BATCH
from audit_django.models import AuditEvent, Cursor, LogEntry, OutboxEntry, ParkedEntry, Summary
from audit_django.outbox import column_key, insert

_Key = TypeVar("_Key", int, UUID)


class Now(DatabaseNow):
    """The database's time. SQLite's has milliseconds and is compared as text: with six digits, as Django writes times."""

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(
            compiler,
            connection,
            template="STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f000', 'NOW')",
            **extra,
        )


class DjangoLog:
    """The :class:`~audit_core.log.Log` of one database alias; ``language`` is that of the summaries it keeps.

    Safe to use from several threads: each has its own connection, as everywhere in Django.
    """

    def __init__(self, using: str = "default", language: str = "en") -> None:
        self.using = using
        self.language = language

    def acquire(self, name: str, owner: str, ttl_seconds: float) -> Lease | None:
        """Take or renew the lease in one UPDATE: of two workers that try at once, one finds no row."""
        free = Q(owner=None) | Q(owner=owner) | Q(expires_at__lte=Now())
        may_try = Q(retry_at=None) | Q(retry_at__lte=Now())
        row = self._cursors().filter(free, may_try, name=name, paused=False)
        # The epoch first: MySQL evaluates assignments from left to right.
        taken = {
            "epoch": Case(When(owner=owner, expires_at__gt=Now(), then=F("epoch")), default=F("epoch") + 1),
            "owner": owner,
            "expires_at": Now() + timedelta(seconds=ttl_seconds),
        }
        with joined(self.using):
            found = row.update(**taken)
            if not found and not self._cursors().filter(name=name).exists():
                self._cursors().bulk_create([Cursor(name=name)], ignore_conflicts=True)
                found = row.update(**taken)
            if not found:
                return None
            return Lease(name, owner, self._cursors().values_list("epoch", flat=True).get(name=name))

    def pause(self, name: str) -> None:
        """Give nobody the lease on ``name`` until :meth:`resume`."""
        self._cursors().update_or_create(name=name, defaults={"paused": True})

    def resume(self, name: str) -> None:
        """Give the lease on ``name`` again, at once."""
        self._cursors().filter(name=name).update(paused=False, retry_at=None)

    def release(self, lease: Lease) -> None:
        """Give the lease back."""
        self._held(lease).update(owner=None, expires_at=None)

    def unsequenced(self) -> bool:
        """Whether anything waits in the outbox."""
        return OutboxEntry.objects.using(self.using).exists()

    def sequence(self, lease: Lease, limit: int) -> int:
        """Give the oldest rows of the outbox their seq."""
        if lease.name != SEQUENCER:
            raise ValueError(f"Sequencing needs the lease on {SEQUENCER!r}, not on {lease.name!r}.")
        with self._fenced(lease):
            waiting = OutboxEntry.objects.using(self.using).order_by("id")
            batch = list(waiting.values_list("id", "event_id", "leaf_hash")[:limit])
            if not batch:
                return 0
            head = self._cursors().values_list("seq", flat=True).get(name=SEQUENCER)
            rows = [
                (head + n, event_id, leaf_hash) for n, (_, event_id, leaf_hash) in enumerate(batch, start=1)
            ]
            insert(connections[self.using], LogEntry, rows)
            # By id, not up to the last: a lower id may have been committed since it was read.
            for ids in _batches([entry_id for entry_id, _, _ in batch]):
                self._delete_from_outbox(ids)
            self._cursors().filter(name=SEQUENCER).update(seq=head + len(batch))
        return len(batch)

    def _delete_from_outbox(self, ids: Sequence[int]) -> None:
        connection = connections[self.using]
        table = connection.ops.quote_name(OutboxEntry._meta.db_table)
        # MariaDB scans a small table, and waits for rows that others have not committed yet; in key order it goes by the key.
        order = f" ORDER BY id LIMIT {len(ids)}" if connection.vendor == "mysql" else ""
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {table} WHERE id IN ({', '.join(['%s'] * len(ids))}){order}", ids)  # noqa: S608

    def read(self, after: int, limit: int) -> Sequence[RecordedEvent]:
        """The next events of the log, in three queries."""
        entries = LogEntry.objects.using(self.using).filter(seq__gt=after).order_by("seq")[:limit]
        return self._recorded(entries)

    def get(self, event_ids: Collection[UUID]) -> Sequence[RecordedEvent]:
        """These events, by seq."""
        entries = LogEntry.objects.using(self.using)
        found = [entry for ids in _batches(list(event_ids)) for entry in entries.filter(event_id__in=ids)]
        return self._recorded(sorted(found, key=lambda entry: entry.seq))

    def cursor(self, name: str) -> log.Cursor:
        """Where ``name`` stands."""
        row = self._cursors().filter(name=name).first()
        return _cursor(row) if row else log.Cursor(name)

    def cursors(self) -> Sequence[log.Cursor]:
        """Every cursor there is."""
        return [_cursor(row) for row in self._cursors().order_by("name")]

    def advance(self, lease: Lease, seq: int) -> None:
        """Move the cursor."""
        _check(self._held(lease).update(seq=seq, failures=0, error=None, retry_at=None), lease)

    def fail(self, lease: Lease, error: str, retry_after_seconds: float) -> log.Cursor:
        """Count a failure and give the lease back."""
        with joined(self.using):
            moved = self._held(lease).update(
                owner=None,
                expires_at=None,
                failures=F("failures") + 1,
                error=error,
                retry_at=Now() + timedelta(seconds=retry_after_seconds),
            )
            _check(moved, lease)
            return self.cursor(lease.name)

    def save_summaries(self, lease: Lease, summaries: Mapping[UUID, str]) -> None:
        """Keep sentences."""
        with self._fenced(lease):
            Summary.objects.using(self.using).bulk_create(
                [Summary(event_id=key, language=self.language, text=text) for key, text in summaries.items()],
                update_conflicts=True,
                update_fields=["text"],
                unique_fields=self._unique_fields("event_id", "language"),
            )

    def park(self, lease: Lease, events: Sequence[RecordedEvent], reason: str) -> None:
        """Set events aside."""
        with self._fenced(lease):
            entries = []
            for recorded in events:
                target = recorded.event.target
                entries.append(
                    ParkedEntry(
                        sink=lease.name,
                        seq=recorded.seq or 0,
                        event_id=recorded.id,
                        target_type=column_key(target.type, 150) if target else None,
                        target_id=column_key(target.id, 255) if target else None,
                        reason=reason,
                        parked_at=Now(),
                    )
                )
            ParkedEntry.objects.using(self.using).bulk_create(entries, ignore_conflicts=True)

    def unpark(self, lease: Lease, event_ids: Collection[UUID]) -> None:
        """Forget that events are parked."""
        with self._fenced(lease):
            for ids in _batches(list(event_ids)):
                ParkedEntry.objects.using(self.using).filter(sink=lease.name, event_id__in=ids).delete()

    def parked(self, sink: str | None = None, limit: int = 1000, after: int = 0) -> Sequence[ParkedEvent]:
        """What is parked."""
        entries = ParkedEntry.objects.using(self.using).filter(seq__gt=after)
        if sink is not None:
            entries = entries.filter(sink=sink)
        return [
            ParkedEvent(
                e.sink, e.seq, e.event_id, _target_key(e.target_type, e.target_id), e.reason, e.parked_at
            )
            for e in entries.order_by("sink", "seq")[:limit]
        ]

    def parked_targets(self, sink: str) -> Mapping[TargetKey, int]:
        """The targets of which something is parked, each with the lowest seq."""
        entries = ParkedEntry.objects.using(self.using).filter(sink=sink).exclude(target_type=None)
        return {
            (target_type, target_id): seq
            for target_type, target_id, seq in entries.values_list("target_type", "target_id").annotate(
                Min("seq")
            )
        }

    def _cursors(self) -> QuerySet[Cursor]:
        return Cursor.objects.using(self.using)

    def _held(self, lease: Lease) -> QuerySet[Cursor]:
        return self._cursors().filter(name=lease.name, owner=lease.owner, epoch=lease.epoch)

    @contextmanager
    def _fenced(self, lease: Lease) -> Generator[None]:
        """A transaction in which nobody else can take the lease."""
        with joined(self.using):
            _check(self._held(lease).update(seq=F("seq")), lease)
            yield

    def _unique_fields(self, *names: str) -> list[str] | None:
        return list(names) if connections[self.using].features.supports_update_conflicts_with_target else None

    def _recorded(self, entries: Iterable[LogEntry]) -> list[RecordedEvent]:
        entries = list(entries)
        texts: dict[UUID, str] = {}
        summaries: dict[UUID, str] = {}
        for ids in _batches([entry.event_id for entry in entries]):
            events = AuditEvent.objects.using(self.using).filter(event_id__in=ids)
            texts.update(events.values_list("event_id", "text"))
            saved = Summary.objects.using(self.using).filter(event_id__in=ids, language=self.language)
            summaries.update(saved.values_list("event_id", "text"))
        return [
            RecordedEvent(
                id=entry.event_id,
                text=texts[entry.event_id],
                leaf_hash=bytes(entry.leaf_hash),
                seq=entry.seq,
                summary=summaries.get(entry.event_id),
            )
            for entry in entries
            if entry.event_id in texts  # pruned since
        ]


def _batches(items: Sequence[_Key]) -> Iterable[Sequence[_Key]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def _check(found: int, lease: Lease) -> None:
    if not found:
        raise LeaseLost(f"{lease.owner} no longer holds the lease on {lease.name!r} (epoch {lease.epoch}).")


def _cursor(row: Cursor) -> log.Cursor:
    return log.Cursor(
        name=row.name,
        seq=row.seq,
        owner=row.owner,
        epoch=row.epoch,
        failures=row.failures,
        retry_at=row.retry_at,
        error=row.error,
        paused=row.paused,
    )


def _target_key(target_type: str | None, target_id: str | None) -> TargetKey | None:
    return None if target_type is None else (target_type, target_id)

"""The contract of the log on Django's tables.

Every write is one short transaction whose first statement locks the cursor's row and checks the lease: a worker whose lease is
gone changes nothing. All times are the database's own.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connections
from django.db.models import Case, Count, F, Max, Min, Q, QuerySet, When
from django.db.models.constants import OnConflict
from django.db.models.functions import Coalesce

from audit_core import log
from audit_core.errors import LeaseLost
from audit_core.event import RecordedEvent
from audit_core.log import SEQUENCER, SUMMARIES, TRIMMER, Lease, ParkedEvent, TargetKey, delivered_seq
from audit_django.capture.transactions import joined
from audit_django.insert import insert
from audit_django.log import reading
from audit_django.log.floor import Floor
from audit_django.log.sequencing import sequence
from audit_django.models import AuditEvent, Cursor, LogEntry, OutboxEntry, ParkedEntry, Summary
from audit_django.models.utc import Now
from audit_django.outbox import column_key


class DjangoLog:
    """The :class:`~audit_core.log.Log` of one database alias; ``language`` is that of the summaries it keeps.

    Safe to use from several threads: each has its own connection, as everywhere in Django.
    """

    def __init__(self, using: str = "default", language: str = "en") -> None:
        self.using = using
        self.language = language
        self._floor = Floor()

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

    def now(self) -> datetime:
        """The database's time."""
        # A query has to be about something: here about the cursors, of which there may be none.
        return self._cursors().aggregate(now=Coalesce(Max(Now()), Now()))["now"]  # type: ignore[no-any-return]

    def start(self, name: str, seq: int) -> None:
        """Make a cursor, if there is none."""
        self._cursors().bulk_create([Cursor(name=name, seq=seq)], ignore_conflicts=True)

    def seek(self, name: str, seq: int) -> None:
        """Set a cursor; the epoch grows, so that the lease is lost."""
        free = {"owner": None, "expires_at": None, "failures": 0, "error": None, "retry_at": None}
        with joined(self.using):
            self.start(name, seq)
            self._cursors().filter(name=name).update(seq=seq, epoch=F("epoch") + 1, **free)

    def forget(self, name: str) -> None:
        """Delete a cursor and what is parked."""
        with joined(self.using):
            self._cursors().filter(name=name).delete()
            ParkedEntry.objects.using(self.using).filter(sink=name).delete()

    def release_expired(self) -> Sequence[str]:
        """Take the owner off expired leases."""
        expired = self._cursors().filter(expires_at__lte=Now()).exclude(owner=None)
        with joined(self.using):
            names = list(expired.select_for_update().order_by("name").values_list("name", flat=True))
            self._cursors().filter(name__in=names).update(owner=None, expires_at=None)
        return names

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
        if connections[self.using].vendor == "postgresql":
            self._floor.check(connections[self.using])
        # By the key: for any row at all PostgreSQL would walk the table, with the rows that were deleted before.
        waiting = OutboxEntry.objects.using(self.using).filter(id__gt=self._floor.id).order_by("id")
        return waiting.values_list("id").first() is not None

    def sequence(self, lease: Lease, limit: int) -> int:
        """Give the oldest rows of the outbox their seq."""
        _check_name(lease, SEQUENCER)
        moved = sequence(connections[self.using], lease, limit, self._floor)
        if moved is None:
            raise _lost(lease)
        return moved

    def read(self, after: int, limit: int) -> Sequence[RecordedEvent]:
        """The next events of the log."""
        return reading.read(self.using, self.language, after, limit)

    def get(self, event_ids: Collection[UUID]) -> Sequence[RecordedEvent]:
        """These events, by seq."""
        return reading.get(self.using, self.language, event_ids)

    def seq_before(self, moment: datetime) -> int:
        """The seq to start after."""
        later = AuditEvent.objects.using(self.using).filter(occurred_at__gte=moment)
        first = (
            LogEntry.objects.using(self.using)
            .filter(event_id__in=later.values("event_id"))
            .aggregate(Min("seq"))
        )
        return self.cursor(SEQUENCER).seq if first["seq__min"] is None else first["seq__min"] - 1

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
        _check_name(lease, SUMMARIES)
        rows = [(event_id, self.language, text) for event_id, text in summaries.items()]
        with self._fenced(lease):
            insert(connections[self.using], Summary, rows, OnConflict.UPDATE)

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
        """Forget that events are parked, because the sink has them."""
        with self._fenced(lease):
            self.discard(lease.name, event_ids)

    def discard(self, sink: str, event_ids: Collection[UUID]) -> int:
        """Forget that events are parked."""
        entries = ParkedEntry.objects.using(self.using)
        return entries.filter(sink=sink, event_id__in=event_ids).delete()[0]

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

    def parked_counts(self) -> Mapping[str, int]:
        """How many events are parked for each sink."""
        entries = ParkedEntry.objects.using(self.using).order_by()
        return dict(entries.values_list("sink").annotate(Count("id")))

    def parked_targets(self, sink: str) -> Mapping[TargetKey, int]:
        """The targets of which something is parked, each with the lowest seq."""
        entries = ParkedEntry.objects.using(self.using).filter(sink=sink).exclude(target_type=None)
        return {
            (target_type, target_id): seq
            for target_type, target_id, seq in entries.values_list("target_type", "target_id").annotate(
                Min("seq")
            )
        }

    def trim(self, lease: Lease, through: int) -> int:
        """Delete texts and sentences."""
        _check_name(lease, TRIMMER)
        with self._fenced(lease):
            first_parked = ParkedEntry.objects.using(self.using).aggregate(Min("seq"))["seq__min"]
            through = min(through, delivered_seq(self.cursors(), first_parked))
            after = self.cursor(TRIMMER).seq
            if through <= after:
                return 0
            entries = LogEntry.objects.using(self.using).filter(seq__gt=after, seq__lte=through)
            event_ids = list(entries.values_list("event_id", flat=True))
            for model in (AuditEvent, Summary):
                model._default_manager.using(self.using).filter(event_id__in=event_ids).delete()
            self._cursors().filter(name=TRIMMER).update(seq=through)
        return through - after

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


def _check_name(lease: Lease, name: str) -> None:
    if lease.name != name:
        raise ValueError(f"This needs the lease on {name!r}, not on {lease.name!r}.")


def _check(found: int, lease: Lease) -> None:
    if not found:
        raise _lost(lease)


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"{lease.owner} no longer holds the lease on {lease.name!r} (epoch {lease.epoch}).")


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

"""The outbox on Django's tables: one INSERT a table in the transaction of the business data, whatever the number of events."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.constants import OnConflict

from audit_core.event import RecordedEvent
from audit_core.outbox import Waiting
from audit_django.capture.round_trips import Statement, execute
from audit_django.insert import insert, inserts, into
from audit_django.models import AuditEvent, OutboxEntry
from audit_django.search_words import search_words


class DjangoOutbox:
    """The :class:`~audit_core.outbox.Outbox` of one database alias."""

    def __init__(self, using: str = "default") -> None:
        self.using = using

    def append(self, events: Sequence[RecordedEvent], *, commit: bool = False) -> None:
        """Write these events and their outbox rows with the transaction that is open on this alias.

        ``commit``: its COMMIT comes next, and may go to the server in the same message.
        """
        connection = connections[self.using]
        rows = [(recorded.id, recorded.leaf_hash) for recorded in events]
        statements = [
            *inserts(connection, AuditEvent, [_event_row(recorded) for recorded in events]),
            *inserts(connection, OutboxEntry, rows),
        ]
        execute(connection, statements, commit=commit)

    def beside(self, recorded: RecordedEvent) -> list[Statement]:
        """The INSERTs of one event and its outbox row, up to their SELECT: their FROM says how often, once or not at all."""
        connection = connections[self.using]
        rows = ((AuditEvent, _event_row(recorded)), (OutboxEntry, (recorded.id, recorded.leaf_hash)))
        statements: list[Statement] = []
        for model, row in rows:
            parts = into(connection, model)
            values = parts.prepared(row, connection)
            statements.append((f"{parts.start}SELECT {', '.join(['%s'] * len(values))}", values))
        return statements

    def waiting(self) -> Waiting:
        """What has been committed and has no seq yet."""
        entries = OutboxEntry.objects.using(self.using)
        oldest = entries.order_by("id").values_list("event_id", flat=True).first()
        if oldest is None:
            return Waiting()
        occurred = (
            AuditEvent.objects.using(self.using).filter(event_id=oldest).values_list("occurred_at", flat=True)
        )
        return Waiting(entries.count(), occurred.first())


def insert_events(
    connection: BaseDatabaseWrapper, events: Sequence[RecordedEvent], on_conflict: OnConflict | None = None
) -> None:
    """Write the event rows alone."""
    insert(connection, AuditEvent, [_event_row(recorded) for recorded in events], on_conflict)


def _event_row(recorded: RecordedEvent) -> tuple[Any, ...]:
    event = recorded.event
    actor, target = event.actor, event.target
    return (
        recorded.id,
        event.occurred_at,
        event.category[:20],
        event.action[:100],
        event.outcome[:10],
        column_key(actor.id if actor else None, 255),
        (actor.label or "")[:255] if actor else None,
        column_key(target.type if target else None, 150),
        column_key(target.id if target else None, 255),
        column_key(event.tenant, 100),
        column_key(event.context.request_id, 100),
        search_words(recorded),
        recorded.text,
    )


def column_key(value: str | None, length: int) -> str | None:
    """``value`` as it stands in a column of this length: one that is too long ends in its digest, so it stays unique.

    The event's text has the whole value. A query asks with the same function.
    """
    if value is None or len(value) <= length:
        return value
    digest = hashlib.sha256(value.encode()).hexdigest()
    return f"{value[: length - 65]}#{digest}"

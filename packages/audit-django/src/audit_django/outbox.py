"""The outbox on Django's tables: one INSERT a table in the transaction of the business data, whatever the number of events."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.constants import OnConflict

from audit_core.event import RecordedEvent
from audit_core.outbox import Waiting
from audit_django.capture.round_trips import Statement, execute
from audit_django.models import AuditEvent, OutboxEntry
from audit_django.search_words import search_words

ARRAYS_FROM_ROWS = 20


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
            sql, _, fields, _ = _statement(connection, model, None)
            [values] = _prepared(connection, fields, [row])
            statements.append((f"{sql}SELECT {', '.join(['%s'] * len(values))}", values))
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


def insert(
    connection: BaseDatabaseWrapper,
    model: type[models.Model],
    rows: Sequence[Sequence[Any]],
    on_conflict: OnConflict | None = None,
) -> None:
    """Execute :func:`inserts`."""
    execute(connection, inserts(connection, model, rows, on_conflict), commit=False)


def inserts(
    connection: BaseDatabaseWrapper,
    model: type[models.Model],
    rows: Sequence[Sequence[Any]],
    on_conflict: OnConflict | None = None,
) -> list[Statement]:
    """The INSERT of these rows, each with a value for every field but the automatic key, as one statement.

    ``on_conflict`` says what becomes of rows whose unique key is there already: the new ones are left out, or replace the old.

    More statements only where the database limits the parameters of one. Written by hand because this is in the way of every
    save: the ORM builds the same statement anew each time. PostgreSQL is given many rows as an array a column, because its
    driver takes longer to find a thousand placeholders than the server to insert the rows.
    """
    sql, suffix, fields, batch_size = _statement(connection, model, on_conflict)
    prepared = _prepared(connection, fields, rows)
    if connection.vendor == "postgresql" and len(rows) >= ARRAYS_FROM_ROWS:
        arrays = ", ".join(f"%s::{field.db_type(connection)}[]" for field in fields)
        columns = [list(column) for column in zip(*prepared, strict=True)]
        return [(f"{sql}SELECT * FROM unnest({arrays}){suffix}", columns)]  # noqa: S608
    row_sql = f"({', '.join(['%s'] * len(fields))})"
    batches = [prepared[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    return [
        (
            f"{sql}VALUES {', '.join([row_sql] * len(batch))}{suffix}",
            [value for row in batch for value in row],
        )
        for batch in batches
    ]


def _prepared(
    connection: BaseDatabaseWrapper, fields: Sequence[Any], rows: Sequence[Sequence[Any]]
) -> list[list[Any]]:
    """The rows as the driver is given them."""
    # A text is what the database is given for every field of ours that is not one of these.
    others = [
        (n, field)
        for n, field in enumerate(fields)
        if not isinstance(field, models.CharField | models.TextField)
    ]
    prepared = [list(row) for row in rows]
    for row in prepared:
        for n, field in others:
            row[n] = field.get_db_prep_value(row[n], connection, prepared=True)
    return prepared


_Statement = tuple[str, str, list["models.Field[Any, Any]"]]
_STATEMENTS: dict[tuple[str, type[models.Model], OnConflict | None], _Statement] = {}


def _statement(
    connection: BaseDatabaseWrapper, model: type[models.Model], on_conflict: OnConflict | None
) -> tuple[str, str, list[models.Field[Any, Any]], int]:
    key = (connection.vendor, model, on_conflict)
    if key not in _STATEMENTS:
        operations = connection.ops
        fields = [
            field for field in model._meta.local_concrete_fields if not isinstance(field, models.AutoField)
        ]
        columns = ", ".join(operations.quote_name(str(field.column)) for field in fields)
        verb = operations.insert_statement(on_conflict=on_conflict)
        unique, others = _unique_columns(model, fields) if on_conflict is OnConflict.UPDATE else ([], [])
        suffix = operations.on_conflict_suffix_sql(fields, on_conflict, others, unique)
        table = operations.quote_name(model._meta.db_table)
        _STATEMENTS[key] = f"{verb} {table} ({columns}) ", f" {suffix}" if suffix else "", fields
    sql, suffix, fields = _STATEMENTS[key]
    return sql, suffix, fields, max(1, _max_params(connection) // len(fields))


def _unique_columns(
    model: type[models.Model], fields: Sequence[models.Field[Any, Any]]
) -> tuple[list[str], list[str]]:
    """The columns of the model's one unique constraint, and the others."""
    [constraint] = [c for c in model._meta.constraints if isinstance(c, models.UniqueConstraint)]
    columns = [str(field.column) for field in fields if field.name in constraint.fields]
    return columns, [str(field.column) for field in fields if field.name not in constraint.fields]


def _max_params(connection: BaseDatabaseWrapper) -> int:
    if connection.vendor == "sqlite":  # Django's figure is SQLite's least; the library in use allows far more
        return int(min(connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER), 30_000))
    return connection.features.max_query_params or 30_000  # PostgreSQL's protocol ends at 65,535


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

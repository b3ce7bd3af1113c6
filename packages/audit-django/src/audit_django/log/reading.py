"""Reading the log: one statement, whatever the number of events."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any
from uuid import UUID

from django.db import connections

from audit_core.event import RecordedEvent
from audit_django.labels import BATCH
from audit_django.models import AuditEvent, LogEntry, Summary

# An event without a text was trimmed: its number stays, and nobody is given it.
_COLUMNS = "SELECT l.seq, l.event_id, l.leaf_hash, e.text, s.text "
_SELECT = (
    f"{_COLUMNS} FROM {LogEntry._meta.db_table} l "
    f"JOIN {AuditEvent._meta.db_table} e ON e.event_id = l.event_id "
    f"LEFT JOIN {Summary._meta.db_table} s ON s.event_id = l.event_id AND s.language = %s "
)
# PostgreSQL hashes every event there is where statistics are missing or old. LIMIT makes each a look-up by its key.
_POSTGRESQL_SELECT = (
    f"{_COLUMNS} FROM {LogEntry._meta.db_table} l CROSS JOIN LATERAL "
    f"(SELECT text FROM {AuditEvent._meta.db_table} WHERE event_id = l.event_id LIMIT 1) e LEFT JOIN LATERAL "
    f"(SELECT text FROM {Summary._meta.db_table} WHERE event_id = l.event_id AND language = %s LIMIT 1) s ON true "
)


def read(using: str, language: str, after: int, limit: int) -> list[RecordedEvent]:
    """The first ``limit`` events above ``after``."""
    return list(_recorded(using, "WHERE l.seq > %s ORDER BY l.seq LIMIT %s", (language, after, limit)))


def get(using: str, language: str, event_ids: Collection[UUID]) -> list[RecordedEvent]:
    """These events, by seq."""
    column, connection = LogEntry._meta.get_field("event_id"), connections[using]
    keys = [column.get_db_prep_value(key, connection) for key in event_ids]
    found: list[RecordedEvent] = []
    for start in range(0, len(keys), BATCH):
        some = keys[start : start + BATCH]
        where = f"WHERE l.event_id IN ({', '.join(['%s'] * len(some))})"
        found += _recorded(using, where, (language, *some))
    return sorted(found, key=lambda recorded: recorded.seq or 0)


def _recorded(using: str, where: str, params: Sequence[Any]) -> Iterator[RecordedEvent]:
    connection = connections[using]
    select = _POSTGRESQL_SELECT if connection.vendor == "postgresql" else _SELECT
    with connection.cursor() as cursor:
        cursor.execute(select + where, params)
        for seq, event_id, leaf_hash, text, summary in cursor.fetchall():
            yield RecordedEvent(
                id=event_id if isinstance(event_id, UUID) else UUID(event_id),
                text=text,
                leaf_hash=bytes(leaf_hash),
                seq=seq,
                summary=summary,
            )

"""The outbox: an event's row and the row that points to it, in the transaction of the business rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

from audit_core.event import RecordedEvent, format_timestamp, parse_timestamp
from audit_core.outbox import Waiting
from audit_core.sqlite.connection import fetch, savepoint

if TYPE_CHECKING:
    from audit_core.sqlite.database import SqliteDatabase


class SqliteOutbox:
    """The outbox of a :class:`~audit_core.sqlite.SqliteDatabase`. Outside a transaction each ``append`` is one of its own."""

    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database

    def append(self, events: Sequence[RecordedEvent]) -> None:
        """Keep these events with this thread's transaction. Raises ``sqlite3.Error``."""
        with self.database.transaction() as connection:
            append(connection, events)

    def waiting(self) -> Waiting:
        """What has been committed and has no seq yet."""
        [(count, occurred_at)] = fetch(
            self.database.connection,
            """
            SELECT count(*), (
                SELECT occurred_at FROM audit_event
                WHERE event_id = (SELECT event_id FROM audit_outbox ORDER BY id LIMIT 1)
            )
            FROM audit_outbox
            """,
        )
        return Waiting(count, occurred_at and parse_timestamp(occurred_at))


def append(connection: sqlite3.Connection, events: Sequence[RecordedEvent]) -> None:
    """Keep these events with the transaction that is open on a program's own connection to the same file.

    The tables must be there (:meth:`SqliteDatabase.setup <audit_core.sqlite.SqliteDatabase.setup>`). How much a commit
    survives is what this connection's ``PRAGMA synchronous`` says. Raises ``ValueError`` when no transaction is open, and
    ``sqlite3.Error``; then none of the events is kept.
    """
    if not connection.in_transaction:
        raise ValueError(
            "No transaction is open that the events could go with. Execute BEGIN first: Python begins one by itself only "
            "before an INSERT, UPDATE or DELETE of yours."
        )
    with savepoint(connection):
        connection.executemany(
            "INSERT INTO audit_event (event_id, occurred_at, text) VALUES (?, ?, ?)",
            [(str(e.id), format_timestamp(e.event.occurred_at), e.text) for e in events],
        )
        connection.executemany(
            "INSERT INTO audit_outbox (event_id, leaf_hash) VALUES (?, ?)",
            [(str(e.id), e.leaf_hash) for e in events],
        )

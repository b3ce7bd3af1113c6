"""Sequencing in SQL: rows go from the outbox to the log inside the database, and no event's text is read.

The outbox is read from its start, by id: never from the last id on, because ids commit out of order.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from audit_core.log import Lease
from audit_django.capture.transactions import joined
from audit_django.log.floor import Floor
from audit_django.models import Cursor, LogEntry, OutboxEntry

_HELD = "name = %s AND owner = %s AND epoch = %s"


def sequence(connection: BaseDatabaseWrapper, lease: Lease, limit: int, floor: Floor) -> int | None:
    """Move up to ``limit`` rows, in one transaction; how many, or ``None`` when the lease is lost."""
    if connection.vendor == "postgresql":
        return _postgresql(connection, lease, limit, floor)
    with joined(connection.alias):
        return (_mysql if connection.vendor == "mysql" else _sqlite)(connection, lease, limit)


def _postgresql(connection: BaseDatabaseWrapper, lease: Lease, limit: int, floor: Floor) -> int | None:
    """One statement. No plan may depend on an estimate of the outbox's size, which is wrong behind a long transaction.

    So the ids come as an array, and the LIMIT as a subquery: whatever it is, the planner plans for the first tenth of the rows.
    """
    holder = (lease.name, lease.owner, lease.epoch)
    row = _fetch(
        connection,
        f"""
        WITH fence AS (
            SELECT seq FROM {{cursor}} WHERE {_HELD} FOR UPDATE
        ), taken AS (
            DELETE FROM {{outbox}}
            WHERE id = ANY(ARRAY(SELECT id FROM {{outbox}} WHERE id > %s ORDER BY id LIMIT (SELECT %s)))
            AND EXISTS (SELECT 1 FROM fence)
            RETURNING id, event_id, leaf_hash
        ), numbered AS (
            INSERT INTO {{log}} (seq, event_id, leaf_hash)
            SELECT (SELECT seq FROM fence) + row_number() OVER (ORDER BY id), event_id, leaf_hash FROM taken
        )
        UPDATE {{cursor}} SET seq = seq + (SELECT count(*) FROM taken) WHERE {_HELD}
        RETURNING (SELECT count(*) FROM taken), (SELECT coalesce(max(id), 0) FROM taken)
        """,
        (*holder, floor.id, limit, *holder),
    )
    if row is None:
        return None
    moved, last_id = row
    floor.taken(connection, last_id, all_taken=moved < limit)
    return int(moved)


def _sqlite(connection: BaseDatabaseWrapper, lease: Lease, limit: int) -> int | None:
    """Three statements; the first takes the write lock if nobody has, so all three see the same rows.

    A range of keys is deleted: for a list SQLite scans an outbox that ANALYZE has seen with a few rows, as it mostly has.
    """
    first = "SELECT id, event_id, leaf_hash FROM {outbox} ORDER BY id LIMIT %s"
    held = _execute(
        connection,
        f"UPDATE {{cursor}} SET seq = seq + (SELECT count(*) FROM ({first})) WHERE {_HELD}",
        (limit, lease.name, lease.owner, lease.epoch),
    )
    if not held:
        return None
    moved = _execute(
        connection,
        "INSERT INTO {log} (seq, event_id, leaf_hash) "
        "SELECT (SELECT seq FROM {cursor} WHERE name = %s) - count(*) OVER () + row_number() OVER (ORDER BY id), "
        f"event_id, leaf_hash FROM ({first})",
        (lease.name, limit),
    )
    _execute(
        connection,
        "DELETE FROM {outbox} WHERE id <= (SELECT max(id) FROM (SELECT id FROM {outbox} ORDER BY id LIMIT %s))",
        (moved,),
    )
    return moved


def _mysql(connection: BaseDatabaseWrapper, lease: Lease, limit: int) -> int | None:
    """Five statements: nothing returns what it has written, and others commit lower ids between any two of them.

    So the rows are told by their ids. A DELETE in key order goes by the key; without it MariaDB scans a small table, and waits
    for rows that others have not committed yet.
    """
    holder = (lease.name, lease.owner, lease.epoch)
    head = _fetch(connection, f"SELECT seq FROM {{cursor}} WHERE {_HELD} FOR UPDATE", holder)
    if head is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(_named("SELECT id FROM {outbox} ORDER BY id LIMIT %s"), (limit,))
        ids = [id_ for (id_,) in cursor.fetchall()]
    if not ids:
        return 0
    these = f"WHERE id IN ({', '.join(map(str, ids))})"
    moved = _execute(
        connection,
        "INSERT INTO {log} (seq, event_id, leaf_hash) "
        f"SELECT %s + row_number() OVER (ORDER BY id), event_id, leaf_hash FROM {{outbox}} {these}",
        head,
    )
    _execute(connection, f"DELETE FROM {{outbox}} {these} ORDER BY id LIMIT {len(ids)}")
    _execute(connection, f"UPDATE {{cursor}} SET seq = seq + {moved} WHERE name = %s", holder[:1])
    return moved


def _named(sql: str) -> str:
    """``sql`` with the names of the tables, none of which needs quotes."""
    return sql.format(
        cursor=Cursor._meta.db_table, outbox=OutboxEntry._meta.db_table, log=LogEntry._meta.db_table
    )


def _execute(connection: BaseDatabaseWrapper, sql: str, params: tuple[Any, ...] = ()) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_named(sql), params)
        return int(cursor.rowcount)


def _fetch(connection: BaseDatabaseWrapper, sql: str, params: tuple[Any, ...]) -> tuple[Any, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute(_named(sql), params)
        return cursor.fetchone()  # type: ignore[no-any-return]

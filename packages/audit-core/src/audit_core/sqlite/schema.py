"""The tables, in the order of an event's way.

They are not STRICT: SQLite before 3.37 cannot open a file that has such a table, and one file may be used by several
programs. All times are text in UTC, so that their order is that of the texts.
"""

from __future__ import annotations

import sqlite3

from audit_core.errors import ConfigurationError
from audit_core.sqlite.connection import transaction

VERSION = 1

# The version has a table of its own: PRAGMA user_version belongs to the program whose file it is.
_VERSIONS = "CREATE TABLE IF NOT EXISTS audit_schema (version INTEGER PRIMARY KEY)"

_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS audit_event (  -- append-only; the log's trim deletes what every reader has
        number INTEGER PRIMARY KEY,
        event_id TEXT NOT NULL UNIQUE,
        occurred_at TEXT NOT NULL,
        text TEXT NOT NULL  -- canonical JSON, the last column: what is before it is read without it
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS audit_outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        event_id TEXT NOT NULL,
        leaf_hash BLOB NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS audit_log (
        seq INTEGER PRIMARY KEY,
        event_id TEXT NOT NULL UNIQUE,
        leaf_hash BLOB NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS audit_cursor (
        name TEXT NOT NULL PRIMARY KEY,
        seq INTEGER NOT NULL DEFAULT 0,
        owner TEXT,
        epoch INTEGER NOT NULL DEFAULT 0,
        expires_at TEXT,
        failures INTEGER NOT NULL DEFAULT 0,
        retry_at TEXT,
        error TEXT,
        paused INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS audit_summary (
        event_id TEXT NOT NULL PRIMARY KEY,
        text TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS audit_parked (
        sink TEXT NOT NULL,
        seq INTEGER NOT NULL,
        event_id TEXT NOT NULL,
        target_type TEXT,
        target_id TEXT,
        reason TEXT NOT NULL,
        parked_at TEXT NOT NULL,
        PRIMARY KEY (sink, seq),
        UNIQUE (sink, event_id)
    ) WITHOUT ROWID
    """,
    """
    CREATE VIEW IF NOT EXISTS audit_trail AS  -- a trimmed event has no text, and is not here
        SELECT l.seq, l.event_id, l.leaf_hash, e.text, s.text AS summary
        FROM audit_log l
        JOIN audit_event e ON e.event_id = l.event_id
        LEFT JOIN audit_summary s ON s.event_id = l.event_id
    """,
)


def create_tables(connection: sqlite3.Connection) -> None:
    """Create what is missing. When nothing is, this only reads, and waits for nobody.

    Raises :class:`~audit_core.errors.ConfigurationError` for a file that a newer version has written.
    """
    connection.execute(_VERSIONS)
    [(version,)] = connection.execute("SELECT max(version) FROM audit_schema").fetchall()
    if version == VERSION:
        return
    if version is not None:
        raise ConfigurationError(
            f"The audit tables have version {version}, and this audit-core knows version {VERSION}. Upgrade audit-core."
        )
    with transaction(connection):
        for table in _TABLES:
            connection.execute(table)
        connection.execute("INSERT OR IGNORE INTO audit_schema VALUES (?)", (VERSION,))

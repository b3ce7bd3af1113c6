"""Connections to an SQLite file, and transactions on them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

BUSY_TIMEOUT_SECONDS = 5.0  # how long one writer waits for another

NOW = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
"""SQLite's clock, which is the machine's: the same for every process that can share the file."""


def connect(path: str) -> sqlite3.Connection:
    """A connection in autocommit mode: every BEGIN is written by us, where it is meant.

    Raises what :mod:`sqlite3` does.
    """
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
    try:
        _use_write_ahead_log(connection)
        # A committed event survives a loss of power: NORMAL, the default of some builds, would lose the last ones.
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Let readers and the one writer not wait for each other. The file remembers it."""
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            # SQLite does not apply its busy timeout when two connections change the mode at once.
            if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's result code without the details in its higher bits (https://sqlite.org/rescode.html)."""
    return error.sqlite_errorcode & 0xFF


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[sqlite3.Connection]:
    """A transaction that has the write lock from its start; within another one a savepoint."""
    with savepoint(connection) if connection.in_transaction else _immediate(connection):
        yield connection


@contextmanager
def _immediate(connection: sqlite3.Connection) -> Generator[None]:
    # One that begins with a read could be refused the lock in its middle.
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # after a full disk SQLite has rolled back already
            connection.execute("ROLLBACK")
        raise


@contextmanager
def savepoint(connection: sqlite3.Connection) -> Generator[None]:
    """A part of the open transaction that an exception takes back alone."""
    connection.execute("SAVEPOINT audit")  # of savepoints with one name the innermost is meant
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK TO audit")
            connection.execute("RELEASE audit")
        raise
    connection.execute("RELEASE audit")


def fetch(
    connection: sqlite3.Connection, sql: str, parameters: Sequence[object] = ()
) -> list[tuple[Any, ...]]:
    """All rows, as tuples whatever the program has made of its connection's ``row_factory``.

    A statement that writes and returns is only complete when all its rows are read.
    """
    cursor = connection.cursor()
    cursor.row_factory = None
    return cursor.execute(sql, parameters).fetchall()

"""The database: one SQLite file, with a connection for each thread."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import AbstractContextManager

from audit_core.errors import ConfigurationError
from audit_core.sqlite.connection import connect, primary_code, transaction
from audit_core.sqlite.log import SqliteLog
from audit_core.sqlite.outbox import SqliteOutbox
from audit_core.sqlite.schema import create_tables

MIN_SQLITE_VERSION = (3, 35, 0)  # the first that knows RETURNING

_UNUSABLE = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
    }
)


class SqliteDatabase:
    """What the outbox and the log share: a file on a local disk, which may hold the program's own tables too.

    The tables are created when they are first needed. Safe to use from several threads, and in a forked child: each has
    a connection of its own. End each thread with :meth:`close`. A relay worker does it when it is given
    ``release_connections=database.close``.

    Raises :class:`~audit_core.errors.ConfigurationError` for a library older than SQLite 3.35, and when first used for a
    file that cannot be one of its databases.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if sqlite3.sqlite_version_info < MIN_SQLITE_VERSION:
            raise ConfigurationError(
                f"The audit trail needs SQLite 3.35 or newer, and this Python has {sqlite3.sqlite_version}. "
                f"Upgrade the SQLite library, or use a Python that brings a newer one."
            )
        name = os.fspath(path)
        if name in ("", ":memory:"):
            raise ConfigurationError(
                f"{name!r} is no file, so every thread would have a database of its own. Name a file, or use "
                f"audit_core.memory.MemoryDatabase in tests."
            )
        self.path = os.path.abspath(name)  # a daemon changes its directory
        self._local = _Local()
        self._inherited: list[sqlite3.Connection] = []
        self.outbox = SqliteOutbox(self)
        self.log = SqliteLog(self)

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection, in autocommit mode. Raises :class:`~audit_core.errors.ConfigurationError`."""
        local = self._local
        if local.connection is not None and local.pid != os.getpid():
            # A parent's connection must be neither used nor closed in the child (https://sqlite.org/howtocorrupt.html).
            self._inherited.append(local.connection)
            local.connection = None
        if local.connection is None:
            local.connection, local.pid = self._open(), os.getpid()
        return local.connection

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """A transaction of this thread, committed at the end of the block; within another one a savepoint.

        It gives the connection, for the program's own tables. There is one writer at a time: the others wait up to five
        seconds, and then fail with ``sqlite3.OperationalError`` ("database is locked").
        """
        return transaction(self.connection)

    def setup(self) -> None:
        """Create the tables, if they are not there."""
        create_tables(self.connection)

    def close(self) -> None:
        """Close this thread's connection; the next use opens another."""
        local = self._local
        if local.connection is not None and local.pid == os.getpid():
            local.connection.close()
            local.connection = None

    def _open(self) -> sqlite3.Connection:
        try:
            connection = connect(self.path)
            try:
                create_tables(connection)
            except BaseException:
                connection.close()
                raise
        except sqlite3.DatabaseError as error:
            if primary_code(error) not in _UNUSABLE:
                raise
            raise ConfigurationError(
                f"{self.path} cannot hold the audit trail: {error}. Name an SQLite database, or a file that can be "
                f"created, where this process may write; restore a damaged one from a backup."
            ) from error
        return connection


def open_outbox(path: str) -> SqliteOutbox:
    """The outbox of the file at ``path``; what a configuration calls ``sqlite``."""
    return SqliteDatabase(path).outbox


class _Local(threading.local):
    connection: sqlite3.Connection | None = None
    pid = 0  # of the process that opened it

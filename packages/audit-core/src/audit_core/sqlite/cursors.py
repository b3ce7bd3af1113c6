"""Cursors and their leases, by SQLite's own clock."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from audit_core.errors import LeaseLost
from audit_core.event import parse_timestamp
from audit_core.log import Cursor, Lease
from audit_core.sqlite.connection import NOW, fetch

if TYPE_CHECKING:
    from audit_core.sqlite.database import SqliteDatabase

_FROM_NOW = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?)"  # by a number of seconds, as _modifier writes it


class SqliteCursors:
    """The part of the log that says who may move which cursor."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def acquire(self, name: str, owner: str, ttl_seconds: float) -> Lease | None:
        """Take or renew the lease in one statement: of two workers that try at once, one gets no row."""
        taken = self._fetch(
            f"""
            INSERT INTO audit_cursor AS held (name, owner, epoch, expires_at)
            VALUES (?, ?, 1, {_FROM_NOW})
            ON CONFLICT (name) DO UPDATE SET
                epoch = held.epoch + (
                    held.owner IS NOT excluded.owner OR held.expires_at <= {NOW}
                ),
                owner = excluded.owner,
                expires_at = excluded.expires_at
            WHERE NOT held.paused
            AND (held.retry_at IS NULL OR held.retry_at <= {NOW})
            AND (
                held.owner IS NULL OR held.owner = excluded.owner
                OR held.expires_at <= {NOW}
            )
            RETURNING epoch
            """,  # noqa: S608  a constant of ours
            (name, owner, _modifier(ttl_seconds)),
        )
        return Lease(name, owner, taken[0][0]) if taken else None

    def now(self) -> datetime:
        """SQLite's time, in milliseconds."""
        [(now,)] = self._fetch(f"SELECT {NOW}")
        return parse_timestamp(now)

    def start(self, name: str, seq: int) -> None:
        """Make a cursor, if there is none."""
        self._execute(
            "INSERT INTO audit_cursor (name, seq) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (name, seq)
        )

    def seek(self, name: str, seq: int) -> None:
        """Set a cursor; it has no owner then, so that the lease is lost."""
        self._execute(
            """
            INSERT INTO audit_cursor (name, seq) VALUES (?, ?)
            ON CONFLICT (name) DO UPDATE SET seq = excluded.seq,
                owner = NULL, expires_at = NULL, failures = 0, retry_at = NULL, error = NULL
            """,
            (name, seq),
        )

    def forget(self, name: str) -> None:
        """Delete a cursor and what is parked."""
        with self._database.transaction():
            self._execute("DELETE FROM audit_cursor WHERE name = ?", (name,))
            self._execute("DELETE FROM audit_parked WHERE sink = ?", (name,))

    def release_expired(self) -> Sequence[str]:
        """Take the owner off expired leases."""
        names = self._fetch(
            f"""
            UPDATE audit_cursor SET owner = NULL, expires_at = NULL
            WHERE owner IS NOT NULL AND expires_at <= {NOW}
            RETURNING name
            """  # noqa: S608
        )
        return sorted(name for (name,) in names)

    def pause(self, name: str) -> None:
        """Give nobody the lease."""
        self._execute(
            "INSERT INTO audit_cursor (name, paused) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET paused = 1",
            (name,),
        )

    def resume(self, name: str) -> None:
        """Give the lease again, at once."""
        self._execute("UPDATE audit_cursor SET paused = 0, retry_at = NULL WHERE name = ?", (name,))

    def release(self, lease: Lease) -> None:
        """Give the lease back, if it is not lost."""
        self._execute(
            "UPDATE audit_cursor SET owner = NULL, expires_at = NULL WHERE name = ? AND owner = ? AND epoch = ?",
            (lease.name, lease.owner, lease.epoch),
        )

    def cursor(self, name: str) -> Cursor:
        """Where ``name`` stands."""
        rows = self._fetch(
            "SELECT name, seq, owner, epoch, failures, retry_at, error, paused FROM audit_cursor WHERE name = ?",
            (name,),
        )
        return _cursor(*rows[0]) if rows else Cursor(name)

    def cursors(self) -> Sequence[Cursor]:
        """Every cursor there is."""
        rows = self._fetch(
            "SELECT name, seq, owner, epoch, failures, retry_at, error, paused FROM audit_cursor ORDER BY name"
        )
        return [_cursor(*row) for row in rows]

    def advance(self, lease: Lease, seq: int) -> None:
        """Move the cursor."""
        with self._fenced(lease):
            self._execute(
                "UPDATE audit_cursor SET seq = ?, failures = 0, retry_at = NULL, error = NULL WHERE name = ?",
                (seq, lease.name),
            )

    def fail(self, lease: Lease, error: str, retry_after_seconds: float) -> Cursor:
        """Count a failure and give the lease back."""
        with self._fenced(lease):
            self._execute(
                f"""
                UPDATE audit_cursor SET owner = NULL, expires_at = NULL, failures = failures + 1, error = ?,
                    retry_at = {_FROM_NOW}
                WHERE name = ?
                """,  # noqa: S608
                (error, _modifier(retry_after_seconds), lease.name),
            )
            return self.cursor(lease.name)

    @contextmanager
    def _fenced(self, lease: Lease, needed: str | None = None) -> Generator[int]:
        """A transaction in which nobody else can take the lease; gives where its cursor stands.

        Raises ``ValueError`` for a lease on another name than ``needed``, and :class:`~audit_core.errors.LeaseLost`.
        """
        if needed is not None and lease.name != needed:
            raise ValueError(f"This needs the lease on {needed!r}, not on {lease.name!r}.")
        with self._database.transaction():  # it has the write lock, so that a look is enough
            held = self._fetch(
                "SELECT seq FROM audit_cursor WHERE name = ? AND owner = ? AND epoch = ?",
                (lease.name, lease.owner, lease.epoch),
            )
            if not held:
                raise LeaseLost(
                    f"{lease.owner} no longer holds the lease on {lease.name!r} (epoch {lease.epoch})."
                )
            yield held[0][0]

    def _fetch(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return fetch(self._database.connection, sql, parameters)

    def _execute(self, sql: str, parameters: Sequence[object]) -> int:
        """Write, and return how many rows."""
        return self._database.connection.execute(sql, parameters).rowcount


def _modifier(seconds: float) -> str:
    """``seconds`` from now, as SQLite's date functions take them."""
    return f"{seconds:+.3f} seconds"


def _cursor(
    name: str,
    seq: int,
    owner: str | None,
    epoch: int,
    failures: int,
    retry_at: str | None,
    error: str | None,
    paused: int,
) -> Cursor:
    moment = None if retry_at is None else parse_timestamp(retry_at)
    return Cursor(name, seq, owner, epoch, failures, moment, error, bool(paused))

"""Where a look at PostgreSQL's outbox may begin.

A deleted row stays in the table and its index until no open transaction could still see it. Behind one long transaction, anywhere
in the database, each batch would walk over all the rows that were deleted before it: a backlog would take the square of its size.
To go on after the last id is no way out, because a lower one may be committed later. But whoever writes to the outbox holds a
lock on the table from before it takes an id until its rows can be seen. So when those who hold one now are gone, no id up to the
highest that is known now can appear any more.

It is knowledge about the past, which no lease has to guard: each process finds it anew. Were it ever wrong (ids start again after
a TRUNCATE), the looks from the very start, to which a hundredth of the time is given, find what was passed over.
"""

from __future__ import annotations

import time
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from audit_django.models import OutboxEntry

LOOK_SECONDS = 0.1  # between two looks at who writes
SHARE = 100  # a look from the very start may take a hundredth of the time

_TABLE = OutboxEntry._meta.db_table
_PREPARED = "prepared"  # every prepared transaction: PREPARE gave the writer another name, so it may be any of those before
_WRITERS = f"""
    SELECT CASE WHEN pid IS NULL THEN '{_PREPARED}' ELSE virtualtransaction END FROM pg_locks
    WHERE locktype = 'relation' AND relation = '{_TABLE}'::regclass AND mode = 'RowExclusiveLock'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class Floor:
    """The id up to which the outbox of one database is empty for good. Threads may share it."""

    def __init__(self) -> None:
        self.id = 0
        self._highest = 0  # the highest id that was ever taken
        self._candidate = 0  # an id that was taken before _writers were looked at
        self._writers: frozenset[str] = frozenset()
        self._resolved = 0  # nobody who had an id up to this one is still writing
        self._look_at = 0.0
        self._full_look_at = 0.0

    def taken(self, connection: BaseDatabaseWrapper, last_id: int, *, all_taken: bool) -> None:
        """A batch was read from the floor on, up to ``last_id``, or all there was."""
        self.id = max(self.id, self._resolved if all_taken else min(self._resolved, last_id))
        self._highest = max(self._highest, last_id)
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_SECONDS
            writers = frozenset(_column(connection, _WRITERS))
            if not writers & {*self._writers, _PREPARED}:
                self._resolved = self._candidate
                self._candidate, self._writers = self._highest, writers

    def check(self, connection: BaseDatabaseWrapper) -> None:
        """Look below the floor, if it is time to; start from nothing when something is there."""
        started = time.monotonic()
        if self.id and started >= self._full_look_at:
            if _column(connection, f"SELECT id FROM {_TABLE} WHERE id <= {self.id} ORDER BY id LIMIT 1"):
                self.__init__()  # type: ignore[misc]
            self._full_look_at = started + SHARE * (time.monotonic() - started)


def _column(connection: BaseDatabaseWrapper, sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [value for (value,) in cursor.fetchall()]

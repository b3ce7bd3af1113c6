"""The log: a dense number for each event, its text and sentence, and what is parked.

A write that needs a lease looks at it in its own transaction, which has the only write lock there is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from audit_core.event import RecordedEvent, format_timestamp, parse_timestamp
from audit_core.log import (
    SEQUENCER,
    SUMMARIES,
    TRIMMER,
    Lease,
    ParkedEvent,
    TargetKey,
    delivered_seq,
    seq_of,
    target_key,
)
from audit_core.sqlite.connection import NOW
from audit_core.sqlite.cursors import SqliteCursors


class SqliteLog(SqliteCursors):
    """The log of a :class:`~audit_core.sqlite.SqliteDatabase`. Safe to use from several threads."""

    # the events

    def unsequenced(self) -> bool:
        """Whether anything waits in the outbox."""
        [(found,)] = self._fetch("SELECT EXISTS (SELECT 1 FROM audit_outbox)")
        return bool(found)

    def sequence(self, lease: Lease, limit: int) -> int:
        """Give the oldest rows of the outbox their seq, inside the database: no row comes here, and no text is read."""
        with self._fenced(lease, SEQUENCER) as head:
            moved = self._execute(
                """
                INSERT INTO audit_log (seq, event_id, leaf_hash)
                SELECT ? + row_number() OVER (ORDER BY id), event_id, leaf_hash
                FROM audit_outbox ORDER BY id LIMIT ?
                """,
                (head, limit),
            )
            if moved:  # the same rows: nobody else can write now, so no lower id can appear
                self._execute(
                    "DELETE FROM audit_outbox WHERE id <= (SELECT id FROM audit_outbox ORDER BY id LIMIT 1 OFFSET ?)",
                    (moved - 1,),
                )
                self._execute("UPDATE audit_cursor SET seq = ? WHERE name = ?", (head + moved, SEQUENCER))
            return moved

    def read(self, after: int, limit: int) -> Sequence[RecordedEvent]:
        """The next events, in one statement."""
        return _recorded(
            self._fetch(
                "SELECT seq, event_id, leaf_hash, text, summary FROM audit_trail WHERE seq > ? ORDER BY seq LIMIT ?",
                (after, limit),
            )
        )

    def get(self, event_ids: Collection[UUID]) -> Sequence[RecordedEvent]:
        """These events, by seq."""
        rows = [
            row
            for event_id in set(event_ids)
            for row in self._fetch(
                "SELECT seq, event_id, leaf_hash, text, summary FROM audit_trail WHERE event_id = ?",
                (str(event_id),),
            )
        ]
        return _recorded(sorted(rows))

    def seq_before(self, moment: datetime) -> int:
        """The seq to start after."""
        first = self._fetch(
            """
            SELECT l.seq FROM audit_log l JOIN audit_event e ON e.event_id = l.event_id
            WHERE e.occurred_at >= ? ORDER BY l.seq LIMIT 1
            """,
            (format_timestamp(moment),),
        )
        return first[0][0] - 1 if first else self.cursor(SEQUENCER).seq

    def save_summaries(self, lease: Lease, summaries: Mapping[UUID, str]) -> None:
        """Keep sentences."""
        with self._fenced(lease, SUMMARIES):
            self._execute_many(
                """
                INSERT INTO audit_summary (event_id, text) VALUES (?, ?)
                ON CONFLICT (event_id) DO UPDATE SET text = excluded.text
                """,
                [(str(event_id), text) for event_id, text in summaries.items()],
            )

    def trim(self, lease: Lease, through: int) -> int:
        """Delete texts and sentences."""
        with self._fenced(lease, TRIMMER) as after:
            [(first_parked,)] = self._fetch("SELECT min(seq) FROM audit_parked")
            through = min(through, delivered_seq(self.cursors(), first_parked))
            if through <= after:
                return 0
            self._execute(
                """
                DELETE FROM audit_summary
                WHERE event_id IN (SELECT event_id FROM audit_log WHERE seq > ? AND seq <= ?)
                """,
                (after, through),
            )
            self._execute(
                """
                DELETE FROM audit_event
                WHERE event_id IN (SELECT event_id FROM audit_log WHERE seq > ? AND seq <= ?)
                """,
                (after, through),
            )
            self._execute("UPDATE audit_cursor SET seq = ? WHERE name = ?", (through, TRIMMER))
            return through - after

    # what is parked

    def park(self, lease: Lease, events: Sequence[RecordedEvent], reason: str) -> None:
        """Set events aside."""
        rows = [
            (lease.name, seq_of(recorded), str(recorded.id), *(target_key(recorded) or (None, None)), reason)
            for recorded in events
        ]
        with self._fenced(lease):
            self._execute_many(
                f"""
                INSERT INTO audit_parked (sink, seq, event_id, target_type, target_id, reason, parked_at)
                VALUES (?, ?, ?, ?, ?, ?, {NOW})
                ON CONFLICT (sink, seq) DO NOTHING
                """,  # noqa: S608  a constant of ours
                rows,
            )

    def unpark(self, lease: Lease, event_ids: Collection[UUID]) -> None:
        """Forget that events are parked, because the sink has them."""
        with self._fenced(lease):
            self.discard(lease.name, event_ids)

    def discard(self, sink: str, event_ids: Collection[UUID]) -> int:
        """Forget that events are parked."""
        with self._database.transaction():
            return self._execute_many(
                "DELETE FROM audit_parked WHERE sink = ? AND event_id = ?",
                [(sink, str(event_id)) for event_id in event_ids],
            )

    def parked(self, sink: str | None = None, limit: int = 1000, after: int = 0) -> Sequence[ParkedEvent]:
        """What is parked."""
        if sink is None:
            rows = self._fetch(
                """
                SELECT sink, seq, event_id, target_type, target_id, reason, parked_at FROM audit_parked
                WHERE seq > ? ORDER BY sink, seq LIMIT ?
                """,
                (after, limit),
            )
        else:
            rows = self._fetch(
                """
                SELECT sink, seq, event_id, target_type, target_id, reason, parked_at FROM audit_parked
                WHERE sink = ? AND seq > ? ORDER BY seq LIMIT ?
                """,
                (sink, after, limit),
            )
        return [
            ParkedEvent(sink, seq, UUID(event_id), _target(type_, id_), reason, parse_timestamp(parked_at))
            for sink, seq, event_id, type_, id_, reason, parked_at in rows
        ]

    def parked_counts(self) -> Mapping[str, int]:
        """How many events are parked for each sink."""
        return dict(self._fetch("SELECT sink, count(*) FROM audit_parked GROUP BY sink"))

    def parked_targets(self, sink: str) -> Mapping[TargetKey, int]:
        """The targets of which something is parked, each with the lowest seq."""
        rows = self._fetch(
            """
            SELECT target_type, target_id, min(seq) FROM audit_parked
            WHERE sink = ? AND target_type IS NOT NULL GROUP BY target_type, target_id
            """,
            (sink,),
        )
        return {(type_, id_): seq for type_, id_, seq in rows}

    def _execute_many(self, sql: str, rows: Sequence[tuple[object, ...]]) -> int:
        """Write each of these rows, and return how many there were in all. Needs a transaction."""
        return self._database.connection.executemany(sql, rows).rowcount


def _recorded(rows: Iterable[tuple[Any, ...]]) -> list[RecordedEvent]:
    return [
        RecordedEvent(id=UUID(event_id), text=text, leaf_hash=leaf_hash, seq=seq, summary=summary)
        for seq, event_id, leaf_hash, text, summary in rows
    ]


def _target(type_: str | None, id_: str | None) -> TargetKey | None:
    return None if type_ is None else (type_, id_)

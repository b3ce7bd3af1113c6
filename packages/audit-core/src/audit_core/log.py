"""The log: the events in their final order, numbered 1, 2, 3 … without a gap, and how far its readers are.

Every write takes a :class:`Lease` and fails with :class:`~audit_core.errors.LeaseLost` when a newer epoch
exists, so that a worker that was paused past its lease can change nothing. A lease that was given back
(``release``, ``fail``) is lost too. Times are those of the log's own clock (its database), never the
worker's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias, runtime_checkable
from uuid import UUID

from audit_core.event import RecordedEvent

SEQUENCER = "log"  # the name whose lease allows to sequence; its cursor is the head of the log
SUMMARIES = "summaries"  # the name whose cursor says how far sentences are written; sinks read up to it
TRIMMER = "trimmed"  # the name whose cursor says up to where the texts were given up
RESERVED = frozenset({SEQUENCER, SUMMARIES, TRIMMER})  # no sink may be called that


TargetKey: TypeAlias = "tuple[str, str | None]"
MAX_TARGET_TYPE_CHARACTERS = 150
MAX_TARGET_ID_CHARACTERS = 255


def target_key(recorded: RecordedEvent) -> TargetKey | None:
    """What tells an event's target from others in what is parked; ``None`` for an event without a target.

    A type or id longer than a column is cut, with its digest at its end, so that it stays unique. An event
    whose text was damaged has no target: it holds up nothing.
    """
    try:
        target = recorded.event.target
    except ValueError:
        return None
    if target is None:
        return None
    id_ = target.id if target.id is None else _cut(target.id, MAX_TARGET_ID_CHARACTERS)
    return _cut(target.type, MAX_TARGET_TYPE_CHARACTERS), id_


def seq_of(recorded: RecordedEvent) -> int:
    """The seq of an event of the log."""
    if recorded.seq is None:
        raise ValueError(f"Event {recorded.id} has no seq: only what the log gave can be delivered.")
    return recorded.seq


def _cut(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    return f"{text[: length - 65]}#{hashlib.sha256(text.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to move one cursor. ``epoch`` grows with every new lease: it is the fencing token.

    ``owner`` (at most 128 characters) names one holder, not one process: two threads that used the same name
    would both be given the same lease.
    """

    name: str
    owner: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a reader of the log has come (``seq``: the last it has taken), and what holds it up."""

    name: str
    seq: int = 0
    owner: str | None = None
    epoch: int = 0
    failures: int = 0
    retry_at: datetime | None = None
    error: str | None = None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class ParkedEvent:
    """An event that a sink refused for good, or that came after one of the same target.

    ``target`` is what :func:`target_key` gives.
    """

    sink: str
    seq: int
    event_id: UUID
    target: TargetKey | None
    reason: str
    parked_at: datetime


@runtime_checkable
class Log(Protocol):
    """One order over all events. An implementation knows the outbox that it empties."""

    def acquire(self, name: str, owner: str, ttl_seconds: float) -> Lease | None:
        """The lease on ``name`` for ``owner``: new, or renewed (same epoch) while it has not expired.

        ``None`` while somebody else's has not expired, while the cursor is paused, and before its
        ``retry_at``. The cursor is made at seq 0 when ``name`` is new.
        """

    def now(self) -> datetime:
        """The log's own clock, by which leases expire."""

    def start(self, name: str, seq: int) -> None:
        """Make the cursor ``name`` at ``seq``; nothing happens when there is one."""

    def seek(self, name: str, seq: int) -> None:
        """Set the cursor ``name`` to ``seq``, back or forward, and forget its failures.

        Whoever holds its lease has lost it: what was under way cannot move the cursor any more.
        """

    def forget(self, name: str) -> None:
        """Delete the cursor ``name`` and what is parked under it: its sink is no more."""

    def release_expired(self) -> Sequence[str]:
        """Take the owner off every lease that has expired; the names. Only for tidiness: an expired lease is free."""

    def pause(self, name: str) -> None:
        """Give nobody the lease on ``name`` until :meth:`resume`; who holds it may finish, but not renew."""

    def resume(self, name: str) -> None:
        """Give the lease on ``name`` again, at once: a ``retry_at`` is forgotten too."""

    def release(self, lease: Lease) -> None:
        """Give the lease back before it expires; nothing happens when it is lost already."""

    def unsequenced(self) -> bool:
        """Whether the outbox holds anything committed: a look without a lock, as cheap however much waits."""

    def sequence(self, lease: Lease, limit: int) -> int:
        """Move up to ``limit`` events from the outbox to the end of the log, in one transaction.

        Returns how many. ``lease`` is the one on :data:`SEQUENCER`. The outbox is read from its start, never
        past a number: ids commit out of order. Raises :class:`~audit_core.errors.LeaseLost`.
        """

    def read(self, after: int, limit: int) -> Sequence[RecordedEvent]:
        """The events with seq above ``after``, in order, with ``seq`` and the ``summary`` that was saved."""

    def seq_before(self, moment: datetime) -> int:
        """The seq to start after for all that occurred at ``moment`` or later; the head when nothing did.

        It may look through the whole log: it is asked once in a sink's life.
        """

    def cursor(self, name: str) -> Cursor:
        """Where ``name`` stands; a cursor at 0 when it never moved."""

    def cursors(self) -> Sequence[Cursor]:
        """Every cursor there is, by name."""

    def advance(self, lease: Lease, seq: int) -> None:
        """Move the lease's cursor to ``seq`` and forget its failures."""

    def fail(self, lease: Lease, error: str, retry_after_seconds: float) -> Cursor:
        """Count a failure, give the lease back, refuse it for ``retry_after_seconds``; the new cursor."""

    def save_summaries(self, lease: Lease, summaries: Mapping[UUID, str]) -> None:
        """Keep these events' sentences, replacing older ones; ``lease`` is that on :data:`SUMMARIES`."""

    def park(self, lease: Lease, events: Sequence[RecordedEvent], reason: str) -> None:
        """Set these events aside for the lease's sink; parking one twice changes nothing."""

    def unpark(self, lease: Lease, event_ids: Collection[UUID]) -> None:
        """Forget that these events are parked for the lease's sink, because it has them now."""

    def discard(self, sink: str, event_ids: Collection[UUID]) -> int:
        """Forget that these events are parked for ``sink``, which will never have them; how many were.

        No lease is needed: it is done while the sink is paused or out of order.
        """

    def parked(self, sink: str | None = None, limit: int = 1000, after: int = 0) -> Sequence[ParkedEvent]:
        """What is parked with a seq above ``after``, for one sink or all, by sink and seq."""

    def parked_counts(self) -> Mapping[str, int]:
        """How many events are parked for each sink that has any."""

    def parked_targets(self, sink: str) -> Mapping[TargetKey, int]:
        """The targets of which something is parked for this sink, each with the lowest seq that is.

        The events of a target from that seq on are parked too; those before it are not held up.
        """

    def get(self, event_ids: Collection[UUID]) -> Sequence[RecordedEvent]:
        """These events, by seq; those that are not in the log are left out."""

    def trim(self, lease: Lease, through: int) -> int:
        """Give up the texts and sentences up to ``through``; seq, id and leaf hash stay. Returns how many.

        ``lease`` is that on :data:`TRIMMER`, whose cursor moves along. Never goes past :func:`delivered_seq`,
        whatever ``through`` says: it looks in its own transaction.
        """


def delivered_seq(cursors: Collection[Cursor], first_parked: int | None) -> int:
    """The seq up to which every reader of the log has everything: what is above it must be kept.

    ``first_parked`` is the lowest seq of what is parked for any sink.
    """
    behind = min((cursor.seq for cursor in cursors if cursor.name != TRIMMER), default=0)
    return behind if first_parked is None else min(behind, first_parked - 1)

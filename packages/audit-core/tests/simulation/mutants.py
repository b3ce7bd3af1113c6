"""Mistakes that the simulation must find: each was made somewhere. A checker that cannot fail proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import audit_core.memory
import audit_core.relay.deliver
from audit_core.log import SEQUENCER, SUMMARIES, Lease
from audit_core.memory import MemoryLog
from audit_core.relay.batch import Blocked, Verdict
from audit_core.relay.deliver import DeliverStage

from .sinks import Sink
from .world import World

Patch = Callable[[Any, str, Any], None]
"""``setattr``, or what takes it back after a test."""


def id_above_last(patch: Patch) -> None:
    """Reads the outbox past a number: what commits late with a lower id is lost."""
    sequence = MemoryLog.sequence

    def past_the_last(self, lease, limit):
        last = getattr(self, "last_id", 0)
        waiting = self._database.waiting
        waiting[:] = [row for row in waiting if row[0] > last]
        if waiting:
            self.last_id = waiting[:limit][-1][0]
        return sequence(self, lease, limit)

    patch(MemoryLog, "sequence", past_the_last)


def sequence_twice(patch: Patch) -> None:
    """Gives numbers without a transaction: the outbox rows are still there when the worker dies."""
    sequence = MemoryLog.sequence

    def leaves_rows(self, lease, limit):
        rows = self._database.waiting[:limit]
        moved = sequence(self, lease, limit)
        if lease.epoch % 5 == 0:
            self._database.waiting[:0] = rows
        return moved

    patch(MemoryLog, "sequence", leaves_rows)


def cursor_before_the_store(patch: Patch) -> None:
    """Moves the cursor, then writes: a crash between the two loses the batch."""
    deliver = DeliverStage._deliver

    def advance_first(self, hold, blocked, position, through):
        self._tools.log.advance(hold.lease, through)
        return deliver(self, hold, blocked, position, through)

    patch(DeliverStage, "_deliver", advance_first)


def advance_without_fencing(patch: Patch) -> None:
    """A zombie moves the cursor back to where it had come."""

    def advance(self, lease, seq):
        row = self._rows[lease.name]
        row.cursor = replace(row.cursor, seq=seq, failures=0, retry_at=None, error=None)

    patch(MemoryLog, "advance", advance)


def park_without_fencing(patch: Patch) -> None:
    """A zombie parks what the sink has taken from another since."""
    park = MemoryLog.park

    def with_any_lease(self, lease, events, reason):
        cursor = self.cursor(lease.name)
        park(self, Lease(lease.name, cursor.owner, cursor.epoch), events, reason)

    patch(MemoryLog, "park", with_any_lease)


def trim_without_fencing(patch: Patch) -> None:
    """A zombie gives up texts."""
    trim = MemoryLog.trim

    def with_any_lease(self, lease, through):
        cursor = self.cursor(lease.name)
        return trim(self, Lease(lease.name, cursor.owner, cursor.epoch), through)

    patch(MemoryLog, "trim", with_any_lease)


def seek_without_fencing(patch: Patch) -> None:
    """Leaves the lease as it is: who holds it takes the cursor back to where it was."""

    def seek(self, name, seq):
        self.start(name, seq)
        row = self._rows[name]
        row.cursor = replace(row.cursor, seq=seq, failures=0, retry_at=None, error=None)

    patch(MemoryLog, "seek", seek)


def trim_undelivered(patch: Patch) -> None:
    """Cleans up to where it was told, whoever needs it still."""
    patch(audit_core.memory, "delivered_seq", lambda cursors, first_parked: 1_000_000)


def trim_parked(patch: Patch) -> None:
    """Looks at the cursors, and forgets that they pass what is parked."""
    delivered_seq = audit_core.memory.delivered_seq
    patch(audit_core.memory, "delivered_seq", lambda cursors, first_parked: delivered_seq(cursors, None))


def lease_on_the_workers_clock(patch: Patch) -> None:
    """Sends the worker's own time to the database, which then tells by it what has expired."""
    patch(World, "database_time", lambda self: (self.moving or self).clock())


def one_epoch_for_all(patch: Patch) -> None:
    """Takes a lease over without a new epoch."""
    acquire = MemoryLog.acquire

    def same_epoch(self, name, owner, ttl_seconds):
        before = self.cursor(name)
        lease = acquire(self, name, owner, ttl_seconds)
        if lease is None or before.epoch == 0:
            return lease
        row = self._rows[name]
        row.cursor = replace(row.cursor, epoch=before.epoch)
        return Lease(name, owner, before.epoch)

    patch(MemoryLog, "acquire", same_epoch)


def unpark_before_the_store(patch: Patch) -> None:
    """Forgets what is parked before the sink has it."""
    attempt = DeliverStage.attempt

    def unpark_first(self, batch, piece, stage):
        if stage == "retry":
            cursor = self._tools.log.cursor(self.name)
            lease = Lease(self.name, cursor.owner, cursor.epoch)
            self._tools.log.unpark(lease, [event.id for event in piece])
        return attempt(self, batch, piece, stage)

    patch(DeliverStage, "attempt", unpark_first)


def followers_go_on(patch: Patch) -> None:
    """Parks the refused event alone: the later ones of its target overtake it."""
    patch(Blocked, "holds", lambda self, recorded: False)


def outage_parks(patch: Patch) -> None:
    """Takes a store that is down for one that refuses."""
    patch(audit_core.relay.deliver, "verdict", lambda error, events: Verdict.REFUSED)


def sinks_before_summaries(patch: Patch) -> None:
    """Takes the head of the log for the end of what has its sentence."""
    cursors = MemoryLog.cursors

    def all_summarized(self):
        head = self.cursor(SEQUENCER).seq
        return [replace(row, seq=head) if row.name == SUMMARIES else row for row in cursors(self)]

    patch(MemoryLog, "cursors", all_summarized)


def store_without_idempotence(patch: Patch) -> None:
    """Keeps what it has already."""

    def keep(self, events):
        self.asked_again -= {event.id for event in events}
        self.ids |= {event.id for event in events}
        self.order += events

    patch(Sink, "keep", keep)


MUTANTS: dict[str, Callable[[Patch], None]] = {
    mutant.__name__: mutant
    for mutant in (
        id_above_last,
        sequence_twice,
        cursor_before_the_store,
        advance_without_fencing,
        park_without_fencing,
        trim_without_fencing,
        seek_without_fencing,
        trim_undelivered,
        trim_parked,
        lease_on_the_workers_clock,
        one_epoch_for_all,
        unpark_before_the_store,
        followers_go_on,
        outage_parks,
        sinks_before_summaries,
        store_without_idempotence,
    )
}

"""Mistakes that the simulation must find: each was made somewhere. A checker that cannot fail proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import audit_core.memory
import audit_core.relay.deliver
from audit_core.log import SEQUENCER, SUMMARIES, Lease
from audit_core.memory import MemoryLog, MemoryTransaction
from audit_core.relay.batch import Blocked, Verdict
from audit_core.relay.deliver import DeliverStage
from audit_core.relay.lease import Hold

from .invariants import Invariant
from .sinks import Sink
from .world import World

Patch = Callable[[Any, str, Any], None]
"""``setattr``, or what takes it back after a test."""


class Mutant(NamedTuple):
    """A mistake, and the invariant that it breaks."""

    build_in: Callable[[Patch], None]
    breaks: Invariant


MUTANTS: dict[str, Mutant] = {}


def breaks(invariant: Invariant) -> Callable[[Callable[[Patch], None]], None]:
    """Put the function into :data:`MUTANTS`."""

    def add(build_in: Callable[[Patch], None]) -> None:
        MUTANTS[build_in.__name__] = Mutant(build_in, invariant)

    return add


@breaks(Invariant.NOTHING_LOST)
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


@breaks(Invariant.NOTHING_TWICE)
def sequence_twice(patch: Patch) -> None:
    """Gives numbers, and leaves the rows in the outbox."""
    sequence = MemoryLog.sequence

    def leaves_rows(self, lease, limit):
        rows = self._database.waiting[:limit]
        moved = sequence(self, lease, limit)
        self._database.waiting[:0] = rows
        return moved

    patch(MemoryLog, "sequence", leaves_rows)


@breaks(Invariant.DENSE_LOG)
def id_as_seq(patch: Patch) -> None:
    """Takes the outbox's id for the number in the log: a transaction that is rolled back leaves a gap."""
    sequence = MemoryLog.sequence

    def by_id(self, lease, limit):
        ids = [id_ for id_, _ in self._database.waiting[:limit]]
        moved = sequence(self, lease, limit)
        for place, id_ in enumerate(ids, start=len(self._events) - moved):
            self._events[place] = replace(self._events[place], seq=id_)
        return moved

    patch(MemoryLog, "sequence", by_id)


@breaks(Invariant.COMMITTED_ONLY)
def dirty_read(patch: Patch) -> None:
    """Takes rows that may still be rolled back."""
    append = MemoryTransaction.append

    def append_and_show(self, events):
        append(self, events)
        self.commit()

    patch(MemoryTransaction, "append", append_and_show)


@breaks(Invariant.CURSOR_BEHIND_SINK)
def cursor_before_the_store(patch: Patch) -> None:
    """Moves the cursor, then writes: a crash between the two loses the batch."""
    deliver = DeliverStage._deliver

    def advance_first(self, hold, blocked, position, through):
        self._tools.log.advance(hold.lease, through)
        return deliver(self, hold, blocked, position, through)

    patch(DeliverStage, "_deliver", advance_first)


@breaks(Invariant.CURSOR_NEVER_BACK)
def failure_rewinds(patch: Patch) -> None:
    """Begins at the beginning after a failure, to be on the safe side."""
    fail = DeliverStage.fail

    def rewind(self, hold, piece, error):
        self._tools.log.advance(hold.lease, 0)
        fail(self, hold, piece, error)

    patch(DeliverStage, "fail", rewind)


@breaks(Invariant.FENCED)
def advance_without_fencing(patch: Patch) -> None:
    """A zombie moves the cursor back to where it had come."""

    def advance(self, lease, seq):
        row = self._rows[lease.name]
        row.cursor = replace(row.cursor, seq=seq, failures=0, retry_at=None, error=None)

    patch(MemoryLog, "advance", advance)


@breaks(Invariant.FENCED)
def park_without_fencing(patch: Patch) -> None:
    """A zombie parks what the sink has taken from another since."""
    park = MemoryLog.park

    def with_any_lease(self, lease, events, reason):
        cursor = self.cursor(lease.name)
        park(self, Lease(lease.name, cursor.owner, cursor.epoch), events, reason)

    patch(MemoryLog, "park", with_any_lease)


@breaks(Invariant.FENCED)
def trim_without_fencing(patch: Patch) -> None:
    """A zombie gives up texts."""
    trim = MemoryLog.trim

    def with_any_lease(self, lease, through):
        cursor = self.cursor(lease.name)
        return trim(self, Lease(lease.name, cursor.owner, cursor.epoch), through)

    patch(MemoryLog, "trim", with_any_lease)


@breaks(Invariant.FENCED)
def seek_without_fencing(patch: Patch) -> None:
    """Leaves the lease as it is: who holds it takes the cursor back to where it was."""

    def seek(self, name, seq):
        self.start(name, seq)
        row = self._rows[name]
        row.cursor = replace(row.cursor, seq=seq, failures=0, retry_at=None, error=None)

    patch(MemoryLog, "seek", seek)


@breaks(Invariant.TAKEN_AGAIN)
def seek_only_fences(patch: Patch) -> None:
    """Takes the lease away, and leaves the cursor where it is."""
    seek = MemoryLog.seek
    patch(MemoryLog, "seek", lambda self, name, seq: seek(self, name, self.cursor(name).seq))


@breaks(Invariant.TRIM_ONLY_DELIVERED)
def trim_undelivered(patch: Patch) -> None:
    """Cleans up to where it was told, whoever needs it still."""
    patch(audit_core.memory, "delivered_seq", lambda cursors, first_parked: 1_000_000)


@breaks(Invariant.TRIM_ONLY_DELIVERED)
def trim_parked(patch: Patch) -> None:
    """Looks at the cursors, and forgets that they pass what is parked."""
    delivered_seq = audit_core.memory.delivered_seq
    patch(audit_core.memory, "delivered_seq", lambda cursors, first_parked: delivered_seq(cursors, None))


@breaks(Invariant.EXCLUSIVE_LEASE)
def lease_on_the_workers_clock(patch: Patch) -> None:
    """Sends the worker's own time to the database, which then tells by it what has expired."""
    patch(World, "database_time", lambda self: (self.moving or self).clock())


@breaks(Invariant.LEASE_RENEWED)
def hold_never_asks(patch: Patch) -> None:
    """Takes a lease once and believes in it for good."""
    patch(Hold, "renew", lambda self: None)


@breaks(Invariant.ONE_WRITER_PER_EPOCH)
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


@breaks(Invariant.CURSOR_BEHIND_SINK)
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


@breaks(Invariant.CATCHES_UP)
def retry_forgets_to_unpark(patch: Patch) -> None:
    """Brings what is parked to the sink, and leaves it parked: its target is held up for ever."""
    patch(MemoryLog, "unpark", lambda self, lease, event_ids: None)


@breaks(Invariant.ORDER_PER_TARGET)
def followers_go_on(patch: Patch) -> None:
    """Parks the refused event alone: the later ones of its target overtake it."""
    patch(Blocked, "holds", lambda self, recorded: False)


@breaks(Invariant.PARKED_ONLY_WITH_CAUSE)
def followers_parked_first(patch: Patch) -> None:
    """Parks what follows before what was refused: after a crash between, a retry brings them without it."""

    def park(tools, lease, batch):
        for event, reason, _ in sorted(batch.refusals, key=lambda refusal: refusal[2] is not None):
            tools.log.park(lease, [event], reason)
        return len(batch.refusals)

    patch(audit_core.relay.deliver, "park_refusals", park)


@breaks(Invariant.PARKED_ONLY_WITH_CAUSE)
def outage_parks(patch: Patch) -> None:
    """Takes a store that is down for one that refuses."""
    patch(audit_core.relay.deliver, "verdict", lambda error, events: Verdict.REFUSED)


@breaks(Invariant.SUMMARY_BEFORE_SINK)
def sinks_before_summaries(patch: Patch) -> None:
    """Takes the head of the log for the end of what has its sentence."""
    cursors = MemoryLog.cursors

    def all_summarized(self):
        head = self.cursor(SEQUENCER).seq
        return [replace(row, seq=head) if row.name == SUMMARIES else row for row in cursors(self)]

    patch(MemoryLog, "cursors", all_summarized)


@breaks(Invariant.NOTHING_TWICE)
def store_without_idempotence(patch: Patch) -> None:
    """Keeps what it has already."""

    def keep(self, events):
        self.asked_again -= {event.id for event in events}
        self.ids |= {event.id for event in events}
        self.order += events

    patch(Sink, "keep", keep)


@breaks(Invariant.NO_SURPRISE)
def nothing_parked_is_an_error(patch: Patch) -> None:
    """Fails on the everyday case; the relay goes on, and says so in its report."""
    parked_targets = MemoryLog.parked_targets

    def first_of_each(self, sink):
        next(iter(self._parked))
        return parked_targets(self, sink)

    patch(MemoryLog, "parked_targets", first_of_each)

"""Mistakes that the harness must find, built into the processes by name. A checker that cannot fail proves nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from tests.crash.invariants import Invariant
from tests.crash.sinks import Archive

import audit_django.log.contract
from audit_core.relay.batch import Blocked
from audit_core.relay.deliver import DeliverStage
from audit_django.log import DjangoLog
from audit_django.log.floor import Floor
from audit_django.models import Cursor

SKEW_SECONDS = 2.0  # between the clocks of two workers


class Mutant(NamedTuple):
    """A mistake, and the invariant that it breaks."""

    build_in: Callable[[], None]
    breaks: Invariant


MUTANTS: dict[str, Mutant] = {}


def breaks(invariant: Invariant) -> Callable[[Callable[[], None]], None]:
    """Put the function into :data:`MUTANTS`."""

    def add(build_in: Callable[[], None]) -> None:
        MUTANTS[build_in.__name__] = Mutant(build_in, invariant)

    return add


@breaks(Invariant.NOTHING_LOST)
def id_above_last() -> None:
    """Reads the outbox above the last id it took: what commits late with a lower one is lost. On PostgreSQL only."""

    row = Cursor.objects.filter(name="last id")

    def remember(self, id_):
        Cursor.objects.bulk_create([Cursor(name="last id")], ignore_conflicts=True)
        row.filter(seq__lt=id_).update(seq=id_)

    Floor.id = property(lambda self: row.values_list("seq", flat=True).get(), remember)
    Floor.taken = lambda self, connection, last_id, *, all_taken: remember(self, last_id)


@breaks(Invariant.CURSOR_NEVER_BACK)
def advance_without_fencing() -> None:
    """Acknowledges for whoever asks: a zombie takes the cursor back to where it had come."""

    def advance(self, lease, seq):
        self._cursors().filter(name=lease.name).update(seq=seq, failures=0, error=None, retry_at=None)

    DjangoLog.advance = advance


@breaks(Invariant.NOTHING_LOST)
def cursor_before_the_store() -> None:
    """Moves the cursor, then writes: a death between the two loses the batch."""
    deliver = DeliverStage._deliver

    def advance_first(self, hold, blocked, position, through):
        self._tools.log.advance(hold.lease, through)
        return deliver(self, hold, blocked, position, through)

    DeliverStage._deliver = advance_first


@breaks(Invariant.NOTHING_LOST)
def trim_undelivered() -> None:
    """Cleans up to where it was told, whoever needs it still."""
    audit_django.log.contract.delivered_seq = lambda cursors, first_parked: 1_000_000_000


@breaks(Invariant.EXCLUSIVE_LEASE)
def lease_on_the_workers_clock() -> None:
    """Tells by its own clock what has expired, and half of the workers' clocks are fast."""

    def now():
        return datetime.now(UTC) + timedelta(seconds=os.getpid() % 2 * SKEW_SECONDS)

    audit_django.log.contract.Now = now


@breaks(Invariant.NOTHING_TWICE)
def store_without_idempotence() -> None:
    """Stores what it has already."""
    Archive.INSERT = "INSERT INTO arrival (id) VALUES (?)"


@breaks(Invariant.ORDER_PER_TARGET)
def followers_go_on() -> None:
    """Parks the refused event alone: the later ones of its target overtake it."""
    Blocked.holds = lambda self, recorded: False

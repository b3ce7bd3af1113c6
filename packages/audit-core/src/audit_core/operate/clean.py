"""Tidying up: leases that expired, and the texts of events that every sink has."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from audit_core.errors import ConfigurationError
from audit_core.log import TRIMMER, delivered_seq
from audit_core.operate.trail import Trail

LEASE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be cleaned: the texts above seq ``after`` up to ``through``. ``because`` says why no more."""

    after: int
    through: int
    because: str

    @property
    def events(self) -> int:
        """How many."""
        return self.through - self.after


def plan(trail: Trail) -> Plan:
    """What every sink has. The numbers and leaf hashes of the log stay in any case."""
    log = trail.log
    cursors = {cursor.name: cursor for cursor in log.cursors()}
    after = log.cursor(TRIMMER).seq
    if trail.keeps_events:
        return Plan(after, after, "The events stay: these tables are where people read them.")
    if not trail.sinks:
        return Plan(after, after, "The events stay: no sink is configured that has them.")
    if new := sorted(set(trail.sinks) - cursors.keys()):
        return Plan(
            after, after, f"The events stay: the sink {new[0]!r} was never served and wants them all."
        )
    first_parked = min((log.parked(sink, limit=1)[0].seq for sink in log.parked_counts()), default=None)
    through = max(after, delivered_seq(list(cursors.values()), first_parked))
    if first_parked is not None and through == first_parked - 1:
        because = f"Seq {first_parked} is parked: retry it or discard it, and what comes after it can go too."
    else:
        last = min((c for c in cursors.values() if c.name != TRIMMER), key=lambda cursor: cursor.seq)
        because = f"{last.name!r} is at seq {last.seq:,}."
        if last.name not in trail.sinks and last.seq < max(cursor.seq for cursor in cursors.values()):
            because += f" If it is no sink any more: `{trail.command} sinks forget {last.name}`."
    return Plan(after, through, because)


def trim(trail: Trail, plan: Plan, progress: Callable[[int], None]) -> int:
    """Give up the texts of ``plan`` batch by batch, telling ``progress`` of each; how many.

    Raises :class:`~audit_core.errors.ConfigurationError` when somebody else is cleaning.
    """
    log, position, done = trail.log, plan.after, 0
    owner = f"clean:{secrets.token_hex(6)}"
    while position < plan.through:
        lease = log.acquire(TRIMMER, owner, LEASE_SECONDS)
        if lease is None:
            raise ConfigurationError("Somebody else is cleaning this trail. Try again when they are done.")
        position = min(position + trail.settings.batch_size, plan.through)
        moved = log.trim(lease, position)
        progress(moved)
        done += moved
        if position == plan.through:
            log.release(lease)
    return done


def release_leases(trail: Trail) -> Sequence[str]:
    """Take the dead owners off the cursors; their names."""
    return trail.log.release_expired()

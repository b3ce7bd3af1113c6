"""The witness sees every write to the log from outside, and looks whether it was right."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from audit_core.errors import LeaseLost
from audit_core.event import RecordedEvent
from audit_core.log import TRIMMER, Lease, seq_of, target_key

from .events import by_target, names
from .invariants import Invariant

if TYPE_CHECKING:
    from .world import World

FENCED_WRITES = {"advance", "fail", "park", "unpark", "save_summaries", "sequence", "trim"}


class Witness:
    """Its own account of leases, cursors and the log. It uses nothing of the log but its contract."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._holders: dict[str, tuple[Lease, datetime]] = {}  # with the time at which the lease expires
        self._owners: dict[tuple[str, int], str] = {}  # of every epoch
        self.seqs: dict[str, int] = {}  # of every cursor
        self.order: list[RecordedEvent] = []  # the log, as it was when it was sequenced
        self.place: dict[UUID, int] = {}  # event id to seq

    def watch(self, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a method of the log that writes, and look whether what it did was right."""
        if name == "acquire":
            lease = method(*args, **kwargs)
            if lease is not None:
                self._acquired(lease, args[2])
            return lease
        lease = args[0]
        holds = self._holds(lease)
        try:
            result = method(*args, **kwargs)
        except LeaseLost:
            self._world.count("writes fenced off", name, lease.name)
            raise
        if name in FENCED_WRITES and not holds:
            self._violate(Invariant.FENCED, f"{name} was let through for the stale epoch {lease.epoch}")
        if name in ("release", "fail") and holds:
            self.freed(lease.name)
        if check := getattr(self, f"_check_{name}", None):
            check(*args)
        return result

    def is_zombie(self, name: str, worker: str) -> bool:
        """Whether somebody else has the lease that ``worker`` once had."""
        return name in self._holders and not self._holders[name][0].owner.startswith(f"{worker}:")

    def freed(self, name: str) -> None:
        """Nobody holds ``name`` any more."""
        self._holders.pop(name, None)

    def sought(self, name: str, seq: int) -> None:
        """An operator moved a cursor."""
        self.freed(name)
        self.seqs[name] = seq

    def _violate(self, invariant: Invariant, details: str) -> None:
        self._world.violate(invariant, details)

    # leases

    def _holds(self, lease: Lease) -> bool:
        return lease.name in self._holders and self._holders[lease.name][0] == lease

    def _acquired(self, lease: Lease, ttl_seconds: float) -> None:
        now = self._world.clock()
        owner = self._owners.setdefault((lease.name, lease.epoch), lease.owner)
        if owner != lease.owner:
            self._violate(
                Invariant.ONE_WRITER_PER_EPOCH, f"epoch {lease.epoch} of {lease.name} has two owners"
            )
        if lease.name in self._holders:
            holder, expires_at = self._holders[lease.name]
            if holder.owner != lease.owner:
                if expires_at > now:
                    left = (expires_at - now).total_seconds()
                    self._violate(Invariant.EXCLUSIVE_LEASE, f"that of {lease.name} had {left} s left")
                self._world.count("takeovers", lease.name)
        self._holders[lease.name] = lease, now + timedelta(seconds=ttl_seconds)

    # what was written

    def _check_sequence(self, lease: Lease, limit: int) -> None:
        new = self._world.log.read(len(self.order), limit)
        for event in new:
            if event.seq != len(self.order) + 1:
                self._violate(Invariant.DENSE_LOG, f"{event.seq} follows {len(self.order)}")
            if event.id not in self._world.committed:
                self._violate(Invariant.COMMITTED_ONLY, f"{names([event])} was never committed")
            if event.id in self.place:
                self._violate(Invariant.NOTHING_TWICE, f"{names([event])} is #{self.place[event.id]} too")
            self.order.append(event)
            self.place[event.id] = len(self.order)
        self._world.note("sequenced", names(new))
        self._check_cursor(lease)

    def _check_cursor(self, lease: Lease) -> tuple[int, int]:
        before = self.seqs.get(lease.name, 0)
        now = self.seqs[lease.name] = self._world.log.cursor(lease.name).seq
        if now < before:
            self._violate(Invariant.CURSOR_NEVER_BACK, f"{lease.name} went from {before} to {now}")
        return before, now

    def _check_advance(self, lease: Lease, seq: int) -> None:
        before, now = self._check_cursor(lease)
        self._world.note(f"{lease.name} is at", seq)
        sink = self._world.sinks.get(lease.name)
        if sink is None:
            return
        passed = self.order[max(before, sink.first_seq - 1) : now]
        missing = {event.id for event in passed} - sink.ids
        if missing - sink.parked:
            self._violate(Invariant.CURSOR_BEHIND_SINK, f"{sink.name} passed {names(self._known(missing))}")

    def _check_park(self, lease: Lease, events: Sequence[RecordedEvent], reason: str) -> None:
        sink = self._world.sinks[lease.name]
        self._world.count("events parked", names(events), amount=len(events))
        first_seqs = self._world.log.parked_targets(lease.name)
        for event in events:
            key = target_key(event)
            follows = key is not None and first_seqs[key] < seq_of(event)
            if event.id not in sink.refused and not follows and event.id not in sink.parked:
                self._violate(
                    Invariant.PARKED_ONLY_WITH_CAUSE, f"{names([event])} was parked ({reason.rstrip('.')})"
                )
        sink.parked |= {event.id for event in events}

    def _check_unpark(self, lease: Lease, event_ids: Collection[UUID]) -> None:
        sink = self._world.sinks[lease.name]
        if missing := set(event_ids) - sink.ids:
            self._violate(Invariant.CURSOR_BEHIND_SINK, f"{sink.name} unparked {names(self._known(missing))}")
        sink.parked -= set(event_ids)

    def _check_trim(self, lease: Lease, through: int) -> None:
        before, now = self._check_cursor(lease)
        for name in self._world.started:
            sink = self._world.sinks[name]
            had = sink.ids - sink.asked_again
            if needed := [e for e in self.order[max(before, sink.first_seq - 1) : now] if e.id not in had]:
                self._violate(Invariant.TRIM_ONLY_DELIVERED, f"{sink.name} lacks {names(needed)}")

    def _known(self, ids: Collection[UUID]) -> list[RecordedEvent]:
        return [event for event in self.order if event.id in ids]

    # when all is over

    def check_parked(self) -> None:
        """All is in order, but the poison: what a sink lacks is parked."""
        self._check_cursors()
        for sink in self._world.sinks.values():
            parked = {parked.event_id for parked in self._world.log.parked(sink.name)}
            lost = [
                e for e in self.order[sink.first_seq - 1 :] if e.id not in sink.ids and e.id not in parked
            ]
            if lost:
                self._violate(Invariant.NOTHING_LOST, f"{sink.name} lacks {names(lost)}")

    def check_end(self) -> None:
        """Nothing is poison any more, and everything was tried again."""
        committed = self._world.committed
        if lost := committed.keys() - self.place.keys():
            self._violate(Invariant.NOTHING_LOST, f"the log lacks {len(lost)} events")
        if by_target(self.order) != by_target(committed.values()):
            self._violate(Invariant.ORDER_PER_TARGET, "the log has an inversion")
        self._check_cursors()
        if counts := self._world.log.parked_counts():
            self._violate(Invariant.CATCHES_UP, f"there are parked events: {dict(counts)}")
        for name in self._world.sinks:
            self._check_sink(name)

    def _check_cursors(self) -> None:
        for cursor in self._world.log.cursors():
            if cursor.name != TRIMMER and cursor.seq != len(self.order):
                self._violate(Invariant.CATCHES_UP, f"{cursor.name} is at {cursor.seq} of {len(self.order)}")

    def _check_sink(self, name: str) -> None:
        sink = self._world.sinks[name]
        expected = self.order[sink.first_seq - 1 :]
        if len(sink.order) > len(sink.ids):
            self._violate(Invariant.NOTHING_TWICE, f"{name} has an event twice")
        if lost := [event for event in expected if event.id not in sink.ids]:
            self._violate(Invariant.NOTHING_LOST, f"{name} lacks {names(lost)}")
        # What a partial write refused comes after later events of its target, which the store had kept.
        arrived = by_target(event for event in sink.order if event.id not in sink.refused_alone)
        if arrived != by_target(event for event in expected if event.id not in sink.refused_alone):
            self._violate(Invariant.ORDER_PER_TARGET, f"{name} has an inversion")
        if sink.asked_again:
            self._violate(
                Invariant.TAKEN_AGAIN, f"{name} was not given {names(self._known(sink.asked_again))}"
            )

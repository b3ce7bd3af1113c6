"""Stores that fail in every way that a store can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from audit_core.errors import PartialWrite, PermanentError, RetryableError
from audit_core.event import RecordedEvent

from .events import names
from .invariants import Invariant

if TYPE_CHECKING:
    from .worker import Worker
    from .world import World


class Sink:
    """Keeps the order in which events first arrived."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.first_seq = 1  # where it begins: an operator may start it later in the log
        self.down_until = 0.0  # in seconds of the world
        self.order: list[RecordedEvent] = []
        self.ids: set[UUID] = set()
        self.poison: set[UUID] = set()  # what it refuses until somebody cures it
        self.refused: set[UUID] = set()  # what it ever refused
        self.parked: set[UUID] = set()  # what the log was told to park for it
        self.refused_alone: set[UUID] = set()  # by a partial write, which keeps the later ones of the target
        self.asked_again: set[UUID] = set()  # what a seek asked for and has not arrived since

    def keep(self, events: Sequence[RecordedEvent]) -> None:
        """Store events, idempotently."""
        for event in events:
            self.asked_again.discard(event.id)
            if event.id not in self.ids:
                self.ids.add(event.id)
                self.order.append(event)


class SinkClient:
    """A worker's connection to a sink."""

    def __init__(self, worker: Worker, sink: Sink) -> None:
        self._worker = worker
        self._world: World = worker.world
        self._sink = sink

    def write(self, events: Sequence[RecordedEvent]) -> None:
        """Keep ``events``, or fail: before, in the middle, or after."""
        world, sink = self._world, self._sink
        self._worker.check_lease(sink.name)
        self._worker.reach(f"{sink.name}.write")
        world.note(f"{sink.name} is given", names(events))
        if world.witness.is_zombie(sink.name, self._worker.name):
            world.count("writes of zombies to a sink")
        if any(event.summary is None for event in events):
            world.violate(Invariant.SUMMARY_BEFORE_SINK, f"{sink.name} was given {names(events)}")
        if world.chance("slow"):
            world.pass_time(world.random.choice([0.2, 3, 30, 400]))
        if world.elapsed < sink.down_until:
            world.count("outages met")
            raise RetryableError("503", retry_after_seconds=world.random.choice([None, 1, 7200]))
        if world.chance("broken_write"):
            kept = events[: world.random.randrange(len(events) + 1)]
            sink.keep(kept)
            world.count("broken writes", f"it kept {names(kept)}")
            raise ConnectionError("reset")
        poison = [event for event in events if event.id in sink.poison]
        sink.refused |= {event.id for event in poison}
        if poison and not world.chance("partial_write"):
            world.count("refusals", names(poison))
            raise PermanentError("refused")
        sink.refused_alone |= {event.id for event in poison}
        sink.keep([event for event in events if event.id not in sink.poison])
        self._worker.reach(f"{sink.name}.written")
        if world.chance("lost_acknowledgement"):
            world.count("acknowledgements lost: write")
            raise ConnectionError("no answer")
        if poison:
            world.count("partial writes", f"without {names(poison)}")
            raise PartialWrite({event.id: "refused" for event in poison})


class BatchingClient(SinkClient):
    """A connection to a sink for which each batch has a price."""

    batch_size = 6
    flush_interval_seconds = 30.0


def client_of(worker: Worker, sink: Sink) -> SinkClient:
    """A worker's connection to this sink: the one called ``two`` asks for larger batches."""
    return BatchingClient(worker, sink) if sink.name == "two" else SinkClient(worker, sink)

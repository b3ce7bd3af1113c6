"""Giving up parked events, on the record."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from audit_core.errors import ConfigurationError
from audit_core.log import ParkedEvent
from audit_core.operate.trail import Trail

PAGE = 500


def find(trail: Trail, sink: str, event_ids: Collection[UUID]) -> list[ParkedEvent]:
    """These events as they are parked for ``sink``.

    Raises :class:`~audit_core.errors.ConfigurationError` for one that is not.
    """
    found: dict[UUID, ParkedEvent] = {}
    after = 0
    while page := trail.log.parked(sink, limit=PAGE, after=after):
        after = page[-1].seq
        found |= {parked.event_id: parked for parked in page if parked.event_id in event_ids}
    if missing := [str(event_id) for event_id in event_ids if event_id not in found]:
        raise ConfigurationError(
            f"Event {missing[0]} is not parked for {sink!r}. `{trail.command} parked list` shows what is."
        )
    return list(found.values())


def discard(trail: Trail, events: Collection[ParkedEvent], reason: str) -> int:
    """Give these events up for their sink: they stay in the log, and the sink will never have them.

    Each is recorded as an event ``discard`` with the same target and ``reason``, in the same transaction. Returns how many.
    """
    recorded = {
        recorded.id: recorded.event for recorded in trail.log.get([event.event_id for event in events])
    }
    with trail.transaction():
        for event in events:
            what = {
                "sink": event.sink,
                "event": str(event.event_id),
                "seq": event.seq,
                "refused": event.reason,
            }
            target = recorded[event.event_id].target if event.event_id in recorded else None
            trail.record("discard", target, reason, {"discarded": what})
        for sink in {event.sink for event in events}:
            trail.log.discard(sink, [event.event_id for event in events if event.sink == sink])
    return len(events)

"""Events that are made once for all runs: making one takes longer than all that a run does with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import count
from uuid import UUID

from audit_core.event import Event, RecordedEvent
from audit_core.log import TargetKey, target_key
from audit_core.testing import make_event

TARGETS = ("a.A:1", "a.A:2", "a.A:3", None)  # None: an event without a target holds up no other
EVENTS_PER_TARGET = 150  # more than a run appends

_OCCURRED_AT = datetime(2026, 3, 3, 9, 0, tzinfo=UTC)
_EVENTS: dict[UUID, Event] = {}


class PreparedEvent(RecordedEvent):
    """A recorded event whose copies, with a seq or a summary, need not be parsed again."""

    @property
    def event(self) -> Event:
        return _EVENTS[self.id]


def _prepare(target: str | None, ids: Iterator[int]) -> list[PreparedEvent]:
    prepared = []
    for _ in range(EVENTS_PER_TARGET):
        made = make_event(target=target, occurred_at=_OCCURRED_AT, id=UUID(int=next(ids)))
        _EVENTS[made.id] = made.event
        prepared.append(PreparedEvent(made.id, made.text, made.leaf_hash))
    return prepared


_ids = count(1)
PREPARED = {target: _prepare(target, _ids) for target in TARGETS}


def by_target(events: Iterable[RecordedEvent]) -> dict[TargetKey, list[UUID]]:
    """The ids of each target's events, in order; order is promised for nothing else."""
    found: dict[TargetKey, list[UUID]] = {}
    for event in events:
        key = target_key(event)
        if key is not None:
            found.setdefault(key, []).append(event.id)
    return found


def names(events: Iterable[RecordedEvent]) -> str:
    """Events in a trace: ``#12`` is the log's twelfth, ``(3f)`` one that has no seq yet."""
    return " ".join(f"#{event.seq}" if event.seq else f"({event.id.int:x})" for event in events) or "nothing"

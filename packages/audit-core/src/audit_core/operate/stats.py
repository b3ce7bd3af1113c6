"""Where a trail stands: what waits, and how far each reader is behind. Ten queries or so, however much waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from audit_core.errors import AuditError
from audit_core.log import RESERVED, SEQUENCER, SUMMARIES, TRIMMER, Cursor
from audit_core.operate.trail import Trail
from audit_core.storages.contract import BatchingStorage


class SinkState(StrEnum):
    """What a reader of the log is doing."""

    CURRENT = "current"  # it has everything
    BEHIND = "behind"  # it has something to do
    WAITING = "waiting"  # it failed, and is tried again at retry_at
    PAUSED = "paused"
    NEW = "new"  # it was never served
    GONE = "gone"  # the settings do not have it any more


@dataclass(frozen=True, slots=True)
class ReaderStats:
    """One reader of the log.

    ``lag_seconds`` is the age of the oldest event that it has not taken; ``late_seconds`` what of it is not due to its
    waiting for a larger batch.
    """

    name: str
    state: SinkState
    seq: int
    lag_events: int
    lag_seconds: float
    late_seconds: float
    parked: int
    failures: int
    retry_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class TrailStats:
    """One trail. ``waiting`` events are committed and have no seq yet; the oldest is ``waiting_seconds`` old.

    ``head`` is the highest seq, ``trimmed`` the one up to which the texts were given up.
    """

    name: str
    at: datetime
    waiting: int
    waiting_seconds: float
    head: int
    trimmed: int
    readers: tuple[ReaderStats, ...]

    @property
    def parked(self) -> int:
        """How many events are parked, for all sinks."""
        return sum(reader.parked for reader in self.readers)

    @property
    def late_seconds(self) -> float:
        """How late the oldest event is that has not reached every reader that is not paused."""
        late = [r.late_seconds for r in self.readers if r.state not in (SinkState.PAUSED, SinkState.GONE)]
        return max(self.waiting_seconds, *late, 0.0) if late else self.waiting_seconds


def stats(trail: Trail) -> TrailStats:
    """Where ``trail`` stands now."""
    log = trail.log
    cursors = {cursor.name: cursor for cursor in log.cursors()}
    head = cursors[SEQUENCER].seq if SEQUENCER in cursors else 0
    now, waiting, parked = log.now(), trail.outbox.waiting(), log.parked_counts()
    names = [SUMMARIES] if SUMMARIES in cursors else []
    names += sorted({*trail.sinks, *cursors} - RESERVED)

    def reader(name: str) -> ReaderStats:
        cursor = cursors.get(name) or Cursor(name)
        oldest = log.read(cursor.seq, 1) if cursor.seq < head else ()
        lag_seconds = _age(now, oldest[0].event.occurred_at if oldest else None)
        return ReaderStats(
            name=name,
            state=_state(
                cursor, head, now, new=name not in cursors, gone=name not in (*trail.sinks, SUMMARIES)
            ),
            seq=cursor.seq,
            lag_events=max(0, head - cursor.seq),
            lag_seconds=lag_seconds,
            late_seconds=max(0.0, lag_seconds - _patience_seconds(trail, name)),
            parked=parked.get(name, 0),
            failures=cursor.failures,
            retry_at=cursor.retry_at,
            error=cursor.error,
        )

    return TrailStats(
        name=trail.name,
        at=now,
        waiting=waiting.count,
        waiting_seconds=_age(now, waiting.oldest),
        head=head,
        trimmed=cursors[TRIMMER].seq if TRIMMER in cursors else 0,
        readers=tuple(reader(name) for name in names),
    )


def _patience_seconds(trail: Trail, name: str) -> float:
    if name not in trail.sinks:
        return 0.0
    try:
        sink = trail.sink(name)
    except AuditError:  # which `check` reports
        return 0.0
    return sink.flush_interval_seconds if isinstance(sink, BatchingStorage) else 0.0


def _state(cursor: Cursor, head: int, now: datetime, *, new: bool, gone: bool) -> SinkState:
    if gone:
        return SinkState.GONE
    if cursor.paused:
        return SinkState.PAUSED
    if cursor.seq >= head:
        return SinkState.CURRENT
    if new:
        return SinkState.NEW
    if cursor.retry_at is not None and cursor.retry_at > now:
        return SinkState.WAITING
    return SinkState.BEHIND


def _age(now: datetime, moment: datetime | None) -> float:
    return 0.0 if moment is None else max(0.0, (now - moment).total_seconds())

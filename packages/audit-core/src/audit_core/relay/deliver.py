"""Second half: from the log to one sink."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from audit_core.errors import ConfigurationError
from audit_core.event import RecordedEvent
from audit_core.log import SEQUENCER, Cursor, seq_of
from audit_core.relay.backoff import lease_ttl_seconds
from audit_core.relay.batch import Batch, Blocked, Verdict, verdict
from audit_core.relay.lease import Hold
from audit_core.relay.park import park_refusals
from audit_core.relay.report import StageReport, State, words_of
from audit_core.relay.settings import Start
from audit_core.relay.stage import Tools
from audit_core.storages.contract import BatchingStorage, Storage
from audit_core.streams.contract import Stream

Write: TypeAlias = Callable[[Sequence[RecordedEvent]], None]


def write_of(name: str, sink: Any) -> Write:
    """How events are given to ``sink``. Raises :class:`~audit_core.errors.ConfigurationError`."""
    if isinstance(sink, Storage):
        return sink.write
    if isinstance(sink, Stream):
        return sink.publish
    raise ConfigurationError(
        f"The sink {name!r} is a {type(sink).__name__}, which has neither write() nor publish(): it is no "
        f"storage and no stream. Give it one of them (audit_core.storages, audit_core.streams)."
    )


class DeliverStage:
    """Brings one sink up to date; its cursor moves only when the sink has confirmed."""

    def __init__(self, tools: Tools, name: str, sink: Storage | Stream, start: Start) -> None:
        self.name = name
        self._start = start
        self.write = write_of(name, sink)
        self._tools = tools
        self._batch_size, self._patience_seconds = tools.settings.batch_size, 0.0
        if isinstance(sink, BatchingStorage):
            self._batch_size, self._patience_seconds = sink.batch_size, sink.flush_interval_seconds
        self._last_call_seconds = 0.0

    @property
    def ttl_seconds(self) -> float:
        """How long this sink's leases are."""
        settings = self._tools.settings
        return lease_ttl_seconds(
            self._last_call_seconds,
            base_seconds=settings.lease_seconds,
            cap_seconds=settings.lease_cap_seconds,
        )

    def turn(self, stop: threading.Event, *, patient: bool = False) -> StageReport:
        """Some batches. Without anything to do this is one query, and no lease is taken; while a patient turn waits for a
        larger batch, it is two.
        """
        tools, log = self._tools, self._tools.log
        cursors = {cursor.name: cursor for cursor in log.cursors()}
        head = cursors[tools.readable].seq if tools.readable in cursors else 0
        mine = cursors.get(self.name) or self._begin()
        if not self._is_due(mine.seq, head, patient):
            return StageReport(self.name)
        hold = None if mine.paused else tools.hold(self.name, self.ttl_seconds)
        if hold is None:
            return StageReport(self.name, state=State.HELD, error=mine.error)
        report = StageReport(self.name)
        with hold:
            position = log.cursor(self.name).seq
            blocked = Blocked(log.parked_targets(self.name))
            for _ in range(tools.settings.batches_per_turn):
                if not self._is_due(position, head, patient) or stop.is_set():
                    break
                through = min(position + self._batch_size, head)
                turn = self._deliver(hold, blocked, position, through)
                report = report.then(turn)
                if turn.state is State.FAILED:
                    return report
                position = through
            done = not self._is_due(position, head, patient)
        return report.then(StageReport(self.name, state=State.IDLE if done else State.BUSY))

    def _is_due(self, position: int, head: int, patient: bool) -> bool:
        """Whether what is above ``position`` is enough for a batch, or has waited for long enough."""
        if position >= head:
            return False
        if not patient or not self._patience_seconds or head - position >= self._batch_size:
            return True
        log = self._tools.log
        waiting = log.read(position, 1)
        try:
            since = waiting[0].event.occurred_at
        except (IndexError, ValueError):  # trimmed, or no event: nothing to wait for
            return True
        return (log.now() - since).total_seconds() >= self._patience_seconds

    def _begin(self) -> Cursor:
        """The cursor of a sink that has none yet. Of workers that begin at once, the first decides."""
        log = self._tools.log
        if self._start == "now":
            log.start(self.name, log.cursor(SEQUENCER).seq)
        elif self._start != "first":
            log.start(self.name, log.seq_before(self._start))
        return log.cursor(self.name)

    def _deliver(self, hold: Hold, blocked: Blocked, position: int, through: int) -> StageReport:
        """One batch: the events above ``position`` up to ``through``."""
        tools, log = self._tools, self._tools.log
        events = tools.tail.read(position, through)
        if events is None:
            # Trimmed events are missing; the numbers behind them are not this batch's.
            events = [event for event in log.read(position, through - position) if seq_of(event) <= through]
        batch = Batch(events, blocked, through)
        outage: Exception | None = None
        while outage is None and (piece := batch.next()) is not None:
            hold.renew()
            outage = self.attempt(batch, piece, "deliver")
        parked = park_refusals(tools, hold.lease, batch)
        if batch.settled > position:
            log.advance(hold.lease, batch.settled)
        tools.probe("deliver.after_advance")
        if batch.delivered:
            tools.hooks.batch_delivered(self.name, batch.delivered)
        if outage is None:
            return StageReport(self.name, len(batch.delivered), parked)
        self.fail(hold, piece or (), outage)
        return StageReport(self.name, len(batch.delivered), parked, State.FAILED, words_of(outage))

    def attempt(self, batch: Batch, piece: Sequence[RecordedEvent], stage: str) -> Exception | None:
        """Write ``piece`` and tell ``batch`` how it went; an outage is returned."""
        tools = self._tools
        tools.probe(f"{stage}.before_write")
        started = tools.monotonic()
        try:
            self.write(piece)
        except Exception as error:  # noqa: BLE001 - whatever a sink raises, the trail goes on
            if verdict(error, piece) is Verdict.OUTAGE:
                return error
            batch.refused(error)
        else:
            batch.accepted()
        finally:
            self._last_call_seconds = tools.monotonic() - started
        tools.probe(f"{stage}.after_write")
        return None

    def fail(self, hold: Hold, piece: Sequence[RecordedEvent], error: Exception) -> None:
        """Give the lease back and wait. The wait is a time in the log: nobody sleeps, nothing is held."""
        tools, log = self._tools, self._tools.log
        failures = log.cursor(self.name).failures + 1
        cursor = log.fail(hold.lease, words_of(error), tools.delay_seconds(failures, error))
        tools.probe("deliver.after_fail")
        tools.hooks.delivery_failed(self.name, piece, error, cursor.failures, False)

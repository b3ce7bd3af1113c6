"""Parked events: set aside what a sink refuses, and bring it back when someone asks."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from audit_core.errors import LeaseLost
from audit_core.event import RecordedEvent
from audit_core.log import Lease, seq_of
from audit_core.relay.batch import Batch, Blocked
from audit_core.relay.report import State, words_of
from audit_core.relay.stage import Tools

if TYPE_CHECKING:
    from audit_core.relay.deliver import DeliverStage
    from audit_core.relay.lease import Hold


def park_refusals(tools: Tools, lease: Lease, batch: Batch) -> int:
    """Park what the sink refused; return how many. Those with one reason go together."""
    if not batch.refusals:
        return 0
    tools.probe("deliver.before_park")
    # What was refused goes before what follows it: a crash in between must leave nothing parked without its cause.
    in_order = sorted(batch.refusals, key=lambda refusal: (refusal[2] is None, seq_of(refusal[0])))
    for reason, refusals in groupby(in_order, key=lambda refusal: refusal[1]):
        tools.log.park(lease, [event for event, _, _ in refusals], reason)
    tools.probe("deliver.after_park")
    for event, _, error in batch.refusals:
        if error is not None:
            tools.hooks.delivery_failed(lease.name, [event], error, 1, True)
    return len(batch.refusals)


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of a sink's parked events: it took ``resumed`` of them and refused ``remaining`` again, the
    later ones of their targets included.

    ``state`` is ``held`` when nothing was tried, because another worker has the sink, or it waits or is
    paused; ``failed`` when the sink is out of order; ``lost`` when another worker took over.
    """

    sink: str
    resumed: int = 0
    remaining: int = 0
    state: State = State.IDLE
    error: str | None = None


def retry(tools: Tools, stage: DeliverStage, stop: threading.Event) -> Retried:
    """Give the sink its parked events again, in order; what it takes is parked no longer.

    What it refuses again stays, with the later events of its target.
    """
    hold = tools.hold(stage.name, stage.ttl_seconds)
    if hold is None:
        cursor = tools.log.cursor(stage.name)
        return Retried(stage.name, state=State.HELD, error=cursor.error)
    resumed = remaining = 0
    blocked = Blocked({})
    after = 0
    try:
        with hold:
            while not stop.is_set():
                rows = tools.log.parked(stage.name, limit=tools.settings.batch_size, after=after)
                if not rows:
                    break
                after = rows[-1].seq
                batch = Batch(tools.log.get([row.event_id for row in rows]), blocked, after)
                piece, outage = _resume(tools, hold, stage, batch)
                resumed += len(batch.delivered)
                if batch.delivered:
                    tools.hooks.batch_delivered(stage.name, batch.delivered)
                if outage is not None:
                    stage.fail(hold, piece, outage)
                    return Retried(stage.name, resumed, remaining, State.FAILED, words_of(outage))
                remaining += len(rows) - len(batch.delivered)
    except LeaseLost as error:
        return Retried(stage.name, resumed, remaining, State.LOST, words_of(error))
    return Retried(stage.name, resumed, remaining)


def _resume(
    tools: Tools, hold: Hold, stage: DeliverStage, batch: Batch
) -> tuple[Sequence[RecordedEvent], Exception | None]:
    outage: Exception | None = None
    piece: Sequence[RecordedEvent] | None = ()
    while outage is None and (piece := batch.next()) is not None:
        hold.renew()
        known = len(batch.delivered)
        outage = stage.attempt(batch, piece, "retry")
        if taken := [event.id for event in batch.delivered[known:]]:
            tools.log.unpark(hold.lease, taken)
            tools.probe("retry.after_unpark")
    return piece or (), outage

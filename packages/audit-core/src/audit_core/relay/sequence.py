"""First half: from the outbox to the log, one leader at a time."""

from __future__ import annotations

import threading

from audit_core.log import SEQUENCER
from audit_core.relay.report import StageReport, State
from audit_core.relay.stage import Tools


class SequenceStage:
    """Gives every committed event its seq."""

    name = SEQUENCER

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def turn(self, stop: threading.Event, *, patient: bool = False) -> StageReport:
        """Some batches. Without anything to do this is one query, and no lease is taken."""
        tools, limit = self._tools, self._tools.settings.batch_size
        if not tools.log.unsequenced():
            return StageReport(self.name)
        hold = tools.hold(self.name)
        if hold is None:
            return StageReport(self.name, state=State.HELD)
        events = 0
        with hold:
            for _ in range(tools.settings.batches_per_turn):
                hold.renew()
                tools.probe("sequence.before")
                moved = tools.log.sequence(hold.lease, limit)
                tools.probe("sequence.after")
                events += moved
                if moved < limit:
                    return StageReport(self.name, events)
                if stop.is_set():
                    break
        return StageReport(self.name, events, state=State.BUSY)

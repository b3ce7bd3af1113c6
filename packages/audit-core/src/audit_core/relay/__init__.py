"""The relay moves events from the outbox to the log and on to the sinks.

Read :mod:`~audit_core.relay.sequence`, :mod:`~audit_core.relay.summarize`, :mod:`~audit_core.relay.deliver`:
the three stages of :class:`Relay`. What is decided is in :mod:`~audit_core.relay.batch` and
:mod:`~audit_core.relay.backoff`, which do no I/O. :class:`Worker` runs a relay until it is told to stop.
"""

from audit_core.relay.park import Retried
from audit_core.relay.probe import CRASH_POINTS
from audit_core.relay.relay import Relay
from audit_core.relay.report import Report, StageReport, State
from audit_core.relay.settings import RelaySettings
from audit_core.relay.stage import RelayHooks
from audit_core.relay.worker import Worker

__all__ = [
    "CRASH_POINTS",
    "Relay",
    "RelayHooks",
    "RelaySettings",
    "Report",
    "Retried",
    "StageReport",
    "State",
    "Worker",
]

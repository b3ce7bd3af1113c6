"""After a commit: plugins are told, and with ``RELAY = "inline"`` the events go on to the sinks at once, in this process.
For the other relays see :mod:`.nudge` and :mod:`.notify`.

Without a sink there is nothing to hurry for: the timeline shows what is committed, numbered or not. So a request pays for
nothing but its own flush, and the log is numbered by ``manage.py audit relay`` whenever that runs.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from audit_core.event import RecordedEvent
from audit_core.plugins.manager import get_plugin_manager
from audit_django import backends
from audit_django.capture.transactions import after_commit
from audit_django.conf import get_settings
from audit_django.relay.notify import notify
from audit_django.relay.nudge import nudge

logger = logging.getLogger("audit.relay")

INLINE_BUDGET_SECONDS = 5.0
"""How long a request waits for the sinks when there is much to catch up with; the rest goes with the next commits."""


def install() -> None:
    """Listen to commits. Doing it again changes nothing."""
    for listener in (tell_plugins, deliver, nudge, notify):
        if listener not in after_commit:
            after_commit.append(listener)


def tell_plugins(using: str, events: Sequence[RecordedEvent]) -> None:
    """Call ``audit_event_recorded`` for each event."""
    for recorded in events:
        get_plugin_manager().event_recorded(recorded)


def deliver(using: str, events: Sequence[RecordedEvent]) -> None:
    """Run the relay once. Whatever fails is logged and tried again after the next commit: the events are kept."""
    settings = get_settings()
    if settings.relay != "inline" or using not in settings.databases:
        return
    try:
        if backends.sinks():
            from audit_django.relay import get_relay

            get_relay(using).run_once(budget_seconds=INLINE_BUDGET_SECONDS)
    except Exception:
        # The business transaction is committed: the request must not fail for what comes after it.
        logger.exception("The events of this transaction are kept, but were not delivered yet.")

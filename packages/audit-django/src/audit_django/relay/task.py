"""What the relay's task does, whatever queue it came from."""

from __future__ import annotations

import time

from audit_django.conf import get_settings
from audit_django.relay import get_relay
from audit_django.relay.nudge import nudge

BUDGET_SECONDS = 10.0
"""How long one task may keep a worker from other tasks; what is left then goes with a task of its own."""


def run(using: str | None = None) -> None:
    """Relay the events of one database alias, or of each that ``DATABASES`` names.

    What fails is logged and tried again by a later task: see :meth:`~audit_core.relay.Relay.run_once`.
    """
    for alias in get_settings().databases if using is None else [using]:
        started = time.monotonic()
        get_relay(alias).run_once(budget_seconds=BUDGET_SECONDS, patient=True)
        if time.monotonic() - started >= BUDGET_SECONDS:
            nudge(alias)

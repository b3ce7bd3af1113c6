"""What every stage of the relay works with."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from audit_core.event import RecordedEvent
from audit_core.log import Log
from audit_core.relay.backoff import retry_delay_seconds
from audit_core.relay.lease import Hold
from audit_core.relay.probe import Probe
from audit_core.relay.report import StageReport
from audit_core.relay.settings import RelaySettings
from audit_core.relay.tail import Tail


class RelayHooks(Protocol):
    """What the relay tells; :class:`audit_core.plugins.manager.PluginManager` is one. Neither may raise."""

    def batch_delivered(self, sink: str, events: Sequence[RecordedEvent]) -> None:
        """``sink`` has these events, and the cursor is past them."""

    def delivery_failed(
        self, sink: str, events: Sequence[RecordedEvent], error: Exception, attempt: int, final: bool
    ) -> None:
        """``sink`` did not take these events. ``final``: they are parked; else they are tried again later."""


class NoHooks:
    """Tells nobody."""

    def batch_delivered(self, sink: str, events: Sequence[RecordedEvent]) -> None:
        """Nothing."""

    def delivery_failed(
        self, sink: str, events: Sequence[RecordedEvent], error: Exception, attempt: int, final: bool
    ) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The log and all that comes from outside: settings, time, chance, and who is told.

    ``readable`` is the name of the cursor up to which the sinks may read.
    """

    log: Log
    tail: Tail
    readable: str
    settings: RelaySettings
    hooks: RelayHooks
    owner: str
    monotonic: Callable[[], float]
    random: Callable[[], float]
    probe: Probe

    def hold(self, name: str, ttl_seconds: float | None = None) -> Hold | None:
        """The lease on ``name`` under a name that only this call knows.

        Threads that share a relay, and a forked child, must not be given each other's lease as their own.
        """
        owner = f"{self.owner}:{secrets.token_hex(6)}"
        ttl_seconds = ttl_seconds or self.settings.lease_seconds
        hold = Hold.take(self.log, name, owner, ttl_seconds, self.monotonic)
        if hold is not None:
            self.probe("lease.taken")
        return hold

    def delay_seconds(self, failures: int, error: BaseException) -> float:
        """How long to wait after this many failures in a row."""
        return retry_delay_seconds(
            failures,
            base_seconds=self.settings.backoff_base_seconds,
            cap_seconds=self.settings.backoff_cap_seconds,
            random=self.random,
            retry_after_seconds=getattr(error, "retry_after_seconds", None),
        )


class Stage(Protocol):
    """One part of the relay, with a cursor and a lease of its own."""

    name: str

    def turn(self, stop: threading.Event, *, patient: bool = False) -> StageReport:
        """Do some batches; end early when ``stop`` is set. ``patient``: somebody comes again soon, so what is better done
        with more of it may wait.

        Raises :class:`~audit_core.errors.LeaseLost`, and what the log raises.
        """

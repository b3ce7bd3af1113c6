"""The worker: the relay as a process of its own, until it is told to stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

from audit_core.log import SEQUENCER, SUMMARIES
from audit_core.relay.backoff import idle_delay_seconds
from audit_core.relay.relay import Relay
from audit_core.relay.report import Report

logger = logging.getLogger("audit.relay")


def _nothing() -> None:
    """What a log without connections has to release."""


def _ignore(report: Report) -> None:
    """What is done with a report when nobody asked for it."""


class Worker:
    """Runs ``relay`` in one thread for the log and one for each sink, so that a slow sink delays no other.

    ``sinks`` are those that this worker serves: all, unless some are given.

    ``release_connections`` is called in each of these threads before it waits for what is out of order, and
    when it ends: close there what the thread opened, or give it back to its pool. A thread that only waits for
    events keeps its connection, because to connect anew costs more than the look. Unless it is one of a pool,
    which may have fewer than there are threads: ``release_pooled_connections`` is called in each thread after
    every pass. ``on_report`` is given the report of every pass, from those threads.
    """

    def __init__(
        self,
        relay: Relay,
        *,
        sinks: Collection[str] | None = None,
        release_connections: Callable[[], None] = _nothing,
        release_pooled_connections: Callable[[], None] = _nothing,
        on_report: Callable[[Report], None] = _ignore,
    ) -> None:
        self._relay = relay
        self._sinks = relay.sinks if sinks is None else sinks
        self._release_connections = release_connections
        self._release_pooled_connections = release_pooled_connections
        self._on_report = on_report
        self._lanes: list[_Lane] = []
        self._failure: BaseException | None = None

    def wake(self) -> None:
        """Look at once, because something was committed: from any thread."""
        for lane in self._lanes:
            lane.wake.set()

    def run(self, stop: threading.Event) -> bool:
        """Work until ``stop`` is set (by a signal handler, say), then finish the batches under way.

        Returns whether all of them ended within ``stop_seconds``. One that did not is left behind: its cursor
        has not moved, its lease expires, and another worker does the batch again.
        """
        settings = self._relay.settings
        self._failure = None
        self._lanes = [_Lane("log", (SEQUENCER, SUMMARIES)), *(_Lane(s, (s,)) for s in self._sinks)]
        threads = [
            # Daemons, because a sink that never returns must not keep the process alive.
            threading.Thread(
                target=self._work, args=(lane, stop), name=f"audit-relay-{lane.name}", daemon=True
            )
            for lane in self._lanes
        ]
        for thread in threads:
            thread.start()
        try:
            stop.wait()
        finally:
            stop.set()
            self.wake()
            deadline = time.monotonic() + settings.stop_seconds
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))
        late = [thread.name for thread in threads if thread.is_alive()]
        if late:
            logger.warning(
                "Stopped without waiting for %s: after %g s a batch was still under way. It is done again.",
                ", ".join(late),
                settings.stop_seconds,
            )
        if self._failure is not None:
            raise self._failure
        return not late

    def _work(self, lane: _Lane, stop: threading.Event) -> None:
        try:
            self._loop(lane, stop)
        except BaseException as error:  # noqa: BLE001 - handed to run(), which raises it
            self._failure = error
            stop.set()
        finally:
            self._release_connections()

    def _loop(self, lane: _Lane, stop: threading.Event) -> None:
        settings = self._relay.settings
        delay_seconds = 0.0
        while not stop.is_set():
            lane.wake.clear()  # before the look: what comes during it is looked for again
            report = self._relay.run_once(stop, only=lane.stages, patient=True)
            self._release_pooled_connections()
            self._on_report(report)
            if report.moved and lane.name == "log":
                self._wake_others(lane)
            if report.out_of_order and not report.moved:
                self._release_connections()
                stop.wait(settings.idle_max_seconds)  # deaf to what is committed: it is not the time for it
                continue
            delay_seconds = idle_delay_seconds(
                delay_seconds,
                moved=report.moved,
                min_seconds=settings.idle_min_seconds,
                max_seconds=settings.idle_max_seconds,
            )
            if delay_seconds and not stop.is_set():
                lane.wake.wait(delay_seconds)

    def _wake_others(self, lane: _Lane) -> None:
        for other in self._lanes:
            if other is not lane:
                other.wake.set()


class _Lane:
    """The stages that share a thread."""

    def __init__(self, name: str, stages: Collection[str]) -> None:
        self.name = name
        self.stages = stages
        self.wake = threading.Event()

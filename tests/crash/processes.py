"""Real processes: forked by a supervisor that has no thread and no connection, and reaped by it."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.crash.steps import Fate

Body = Callable[[threading.Event], None]
"""What a child does until the event is set, by SIGTERM."""


@dataclass
class Child:
    """A process of ours."""

    pid: int
    role: str
    fate: Fate | None = None
    due: float = float("inf")  # on the monotonic clock: when it is continued if it is stopped, else killed
    stopped: bool = False
    status: int | None = None  # how it ended: minus a signal, or an exit code

    def send(self, number: signal.Signals) -> None:
        """Send a signal; it is ours until it is reaped, so no other process can have its pid."""
        if self.status is None:
            os.kill(self.pid, number)


class Processes:
    """The children. Leaving the ``with`` block kills them all; so does the death of the supervisor."""

    def __init__(self) -> None:
        self.alive: list[Child] = []

    def __enter__(self) -> Processes:
        # Blocked, a SIGCHLD that comes before the wait is not lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        self._lifeline, self._supervisor = os.pipe()
        return self

    def __exit__(self, *error: object) -> None:
        for child in self.alive:
            child.send(signal.SIGKILL)
        for child in self.alive:
            os.waitpid(child.pid, 0)
        os.close(self._lifeline)
        os.close(self._supervisor)

    def fork(self, role: str, body: Body, fate: Fate | None = None, due: float = float("inf")) -> Child:
        """Start a child."""
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                self._become(body)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        child = Child(pid, role, fate, due)
        self.alive.append(child)
        return child

    def wait(self, seconds: float) -> list[Child]:
        """The children that ended or stopped, after at most ``seconds``."""
        changed = self._changed()
        if not changed and seconds > 0:
            signal.sigtimedwait({signal.SIGCHLD}, seconds)
            changed = self._changed()
        return changed

    def end(self, children: list[Child], number: signal.Signals, seconds: float) -> bool:
        """Send a signal to these and wait until they are gone; whether all are, in time."""
        for child in children:
            child.send(number)
        deadline = time.monotonic() + seconds
        while any(child.status is None for child in children) and time.monotonic() < deadline:
            self.wait(deadline - time.monotonic())
        return all(child.status is not None for child in children)

    def _changed(self) -> list[Child]:
        changed = []
        for child in tuple(self.alive):
            pid, status = os.waitpid(child.pid, os.WNOHANG | os.WUNTRACED)
            if not pid:
                continue
            if os.WIFSTOPPED(status):
                child.stopped = True
            else:
                child.status = os.waitstatus_to_exitcode(status)
                self.alive.remove(child)
            changed.append(child)
        return changed

    def _become(self, body: Body) -> None:
        os.close(self._supervisor)
        # Told by a thread and not by a handler, which would set the event where somebody may hold the event's lock.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=self._die_with_supervisor, daemon=True).start()
        stop = threading.Event()
        threading.Thread(target=lambda: signal.sigwait({signal.SIGTERM}) and stop.set(), daemon=True).start()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor ends us
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        body(stop)

    def _die_with_supervisor(self) -> None:
        with suppress(OSError):
            os.read(self._lifeline, 1)  # returns when the last writing end is closed
        os.kill(os.getpid(), signal.SIGKILL)

"""After a commit: with ``RELAY = "celery"`` or ``"tasks"`` a task is queued that relays the events, by a thread of this process.

A request only leaves a note for that thread. It talks to no broker, so a broker that is slow, down or a black hole costs it
nothing, and a thousand commits queue a handful of tasks.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable, Generator, Sequence

from django.db import connections
from django.utils.module_loading import import_string

from audit_core.event import RecordedEvent
from audit_django.conf import get_settings

logger = logging.getLogger("audit.relay")

PUBLISHERS = {
    "celery": "audit_django.relay.celery.publish",
    "tasks": "audit_django.relay.django_tasks.publish",
}
"""What queues the task for one alias, by the value of ``RELAY``."""

PAUSE_SECONDS = 0.5
"""The least time between two tasks of one process; the second covers every commit in between."""

EXIT_SECONDS = 1.0
"""How long a process that ends waits for its last task to be queued: a script that commits once may end before its thread has
even imported the client. A broker that does not answer must not hold the end up for longer."""


class Nudger:
    """Calls ``publish`` with each alias that was nudged, in one thread, which starts with the first nudge.

    ``pause_seconds`` is the least time between two rounds. What ``publish`` raises is logged once until it works again.
    """

    def __init__(self, publish: Callable[[str], None], *, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._publish = publish
        self._pause_seconds = pause_seconds
        self.forget()

    def forget(self) -> None:
        """Begin anew, in a forked child: it has neither its parent's thread nor its parent's nudges to look after."""
        self._changed = threading.Condition()
        self._wanted: set[str] = set()
        self._thread: threading.Thread | None = None
        self._publishing = self._hurry = self._failing = False

    def nudge(self, using: str) -> None:
        """Ask for one call with this alias, soon. Raises ``RuntimeError`` when the thread cannot be started."""
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="audit-nudge", daemon=True)
                thread.start()
                self._thread = thread
            if using not in self._wanted:
                self._wanted.add(using)
                self._changed.notify_all()

    def flush(self, timeout_seconds: float) -> bool:
        """Leave out the pause, and wait until every nudge has been passed on; whether that was in time."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            try:
                return self._changed.wait_for(
                    lambda: not (self._wanted or self._publishing), timeout=timeout_seconds
                )
            finally:
                self._hurry = False

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted)
                # Emptied before the calls: who commits during one is not covered by it.
                wanted, self._wanted = self._wanted, set()
                self._publishing = True
            for using in wanted:
                self._try(using)
            connections.close_all()  # a queue may be a table, and a task may be run on the spot
            with self._changed:
                self._publishing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._hurry, timeout=self._pause_seconds)

    def _try(self, using: str) -> None:
        try:
            self._publish(using)
        except Exception as error:  # noqa: BLE001 - the next nudge needs this thread
            if not self._failing:
                # Neither the message nor the traceback: they may tell the broker's address and its password.
                logger.error(
                    "The relay's task cannot be queued (%s). Nothing is lost: the events wait in the outbox for the next task or "
                    "`manage.py audit relay`. This is not said again until it has worked.",
                    " from ".join(type(cause).__name__ for cause in _causes(error)),
                )
            self._failing = True
        else:
            self._failing = False


def _causes(error: BaseException | None) -> Generator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _publish(using: str) -> None:
    import_string(PUBLISHERS[get_settings().relay])(using)


nudger = Nudger(_publish)
"""The one of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=nudger.forget)
atexit.register(nudger.flush, EXIT_SECONDS)


def nudge(using: str, events: Sequence[RecordedEvent] = ()) -> None:
    """Have a task relay the events of this alias soon, if ``RELAY`` says so. Never raises."""
    settings = get_settings()
    if settings.relay not in PUBLISHERS or using not in settings.databases:
        return
    try:
        nudger.nudge(using)
    except RuntimeError:  # no more threads: the request must not fail for what comes after its commit
        logger.exception("The relay's task was not queued. Nothing is lost: it comes with the next commit.")

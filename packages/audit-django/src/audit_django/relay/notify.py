"""``RELAY_NOTIFY``: on PostgreSQL a commit wakes ``manage.py audit relay`` at once, by LISTEN and NOTIFY.

Polling goes on beside it, so nothing depends on a notification: one that is left out or lost costs a pause of the worker, no
event.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from django.db import Error, NotSupportedError, connections

from audit_core.event import RecordedEvent
from audit_core.relay.backoff import retry_delay_seconds
from audit_core.relay.report import words_of
from audit_django.conf import get_settings

logger = logging.getLogger("audit.relay")

CHANNEL = "audit_outbox"
NOTIFY_PAUSE_SECONDS = 0.02
"""The least time between two notifications of one process. The worker's polling, quick after it was woken, finds the rest."""
LOOK_SECONDS = 0.2
"""How soon a listener notices that it shall stop."""
HEAR_SECONDS = 2.0
"""How long a listener waits for the first notification, which it has had sent to itself."""
BACKOFF_BASE_SECONDS, BACKOFF_CAP_SECONDS = 0.5, 30.0

_sent: dict[str, float] = {}  # alias -> when, on the monotonic clock
_failing: set[str] = set()  # the aliases whose last notification failed


def notify(using: str, events: Sequence[RecordedEvent] = ()) -> None:
    """Wake the listeners of this alias. Never raises.

    After the COMMIT and in autocommit, never in the business transaction: a transaction that notifies holds a lock on the whole
    database while it commits.
    """
    settings = get_settings()
    if not settings.relay_notify or using not in settings.databases:
        return
    connection = connections[using]
    if connection.vendor != "postgresql" or connection.in_atomic_block or not connection.autocommit:
        return
    now = time.monotonic()
    if now - _sent.get(using, float("-inf")) < NOTIFY_PAUSE_SECONDS:
        return
    _sent[using] = now
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])
    except (
        Exception
    ):  # the business transaction is committed: the request must not fail for what comes after it
        if using not in _failing:
            logger.exception(
                "The relay's worker could not be notified; it finds the events by polling. This is not said again until it has "
                "worked."
            )
        _failing.add(using)
    else:
        _failing.discard(using)


def can_listen(using: str) -> bool:
    """Whether this alias is PostgreSQL, through psycopg 3."""
    if connections[using].vendor != "postgresql":
        return False
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    return is_psycopg3


def listen(using: str, wake: Callable[[], None], stop: threading.Event) -> threading.Thread:
    """Start a thread that calls ``wake`` after commits on this alias, until ``stop`` is set. For a worker's process.

    It holds one connection, which must be a session of its own: PgBouncer in transaction mode loses the LISTEN, which is said in
    the log, and only polling is left. Then, and when the server goes away, the thread connects again, with growing pauses, and
    wakes once it hears.
    """
    thread = threading.Thread(
        target=_listen, args=(using, wake, stop), name=f"audit-listen-{using}", daemon=True
    )
    thread.start()
    return thread


def _hears(connection: Any, stop: threading.Event) -> bool:
    """Whether this session is given what another one notifies. Not its own: a pooler passes that on even in transaction mode."""
    token = secrets.token_hex(8)
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, token])
    finally:
        other.close()
    deadline = time.monotonic() + HEAR_SECONDS
    with connection.wrap_database_errors:
        while not stop.is_set() and time.monotonic() < deadline:
            for notification in connection.connection.notifies(timeout=LOOK_SECONDS, stop_after=1):
                if notification.payload == token:
                    return True
    return False


def _listen(using: str, wake: Callable[[], None], stop: threading.Event) -> None:
    connection: Any = connections[using]  # of this thread
    failures = 0
    try:
        while not stop.is_set():
            try:
                connection.set_autocommit(True)
                with connection.cursor() as cursor:
                    cursor.execute(f"LISTEN {CHANNEL}")
                if not _hears(connection, stop) and not stop.is_set():
                    raise NotSupportedError(
                        "no notification comes through. If a pooler in transaction mode is in between, connect the worker "
                        "directly to the server, or through a pool in session mode."
                    )
                failures = 0
                wake()  # for what was committed while nobody listened
                with connection.wrap_database_errors:
                    while not stop.is_set():
                        for _ in connection.connection.notifies(timeout=LOOK_SECONDS, stop_after=1):
                            wake()
            except Error as error:
                failures += 1
                if failures == 1:
                    logger.warning(
                        "Commits do not wake the worker at present; polling goes on, and listening is tried again: %s",
                        words_of(error),
                    )
                connection.close()
                stop.wait(
                    retry_delay_seconds(
                        failures,
                        base_seconds=BACKOFF_BASE_SECONDS,
                        cap_seconds=BACKOFF_CAP_SECONDS,
                        random=random.random,
                    )
                )
    finally:
        connection.close()

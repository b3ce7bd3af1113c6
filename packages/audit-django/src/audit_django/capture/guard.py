"""What happens when an event cannot be made or written.

``required`` (the default): the business write fails too, with an error that says why. ``best_effort``: the write goes through,
the loss is logged and counted, and the count is recorded with the next event that can be written.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from django.db import DatabaseError, connections
from django.db.utils import OperationalError, ProgrammingError

from audit_core.errors import AuditError
from audit_core.event import Category, RecordedEvent
from audit_core.privacy.frames import clear_called
from audit_django.capture import round_trips

logger = logging.getLogger("audit.capture")


class EventNotWritten(AuditError, DatabaseError):
    """The audit tables refused the events of a transaction, so the transaction was rolled back.

    It is a ``DatabaseError``, so whatever handles a failed write of the database handles this one.
    """


@contextmanager
def writing(alias: str) -> Generator[None]:
    """Turn the database's refusal of our INSERT into an error that says what it means.

    What a COMMIT that was sent along is refused for passes as it is: a constraint that is checked last is not about the event.
    """
    try:
        yield
    except DatabaseError as error:
        if round_trips.is_over(connections[alias]):
            raise
        raise _not_written(alias, error) from error


def _not_written(alias: str, error: DatabaseError) -> EventNotWritten:
    text = f"The audit event could not be written to database {alias!r}, so the change was not saved either: {error}"
    if isinstance(error, OperationalError | ProgrammingError):
        text += f". If the audit tables are missing, run `manage.py migrate audit_django --database {alias}`."
    return EventNotWritten(text)


@contextmanager
def recording(alias: str, label: str, *, required: bool) -> Generator[None]:
    """Around the making of an event, after the business write was made.

    When it fails and the event is required, the open transaction can only be rolled back, even if the caller catches the error.
    The functions that the error has passed forget their variables, in which sensitive values stand in the clear.
    """
    try:
        yield
    except Exception as error:
        clear_called(error, "audit_django")
        if not required and not isinstance(error, DatabaseError):
            count_loss(alias, label, error)
            return
        connection = connections[alias]
        if connection.in_atomic_block:
            connection.needs_rollback = True
        raise


_lock = threading.Lock()
_losses: dict[str, Counter[str]] = {}


def count_loss(alias: str, label: str, error: Exception) -> None:
    """One event of ``label`` is lost for good."""
    logger.error(
        "An audit event of %s was lost (best_effort): %s", label, type(error).__name__, exc_info=error
    )
    with _lock:
        _losses.setdefault(alias, Counter())[label] += 1


def lost(events: Sequence[RecordedEvent], alias: str, error: Exception) -> None:
    """These events could not be written."""
    for recorded in events:
        if recorded.event.action == "events_lost":  # the count that could not be recorded is still to be
            with _lock:
                _losses.setdefault(alias, Counter()).update(recorded.event.extra["lost"])
        else:
            target = recorded.event.target
            count_loss(alias, target.type if target else recorded.event.action, error)


def losses(alias: str) -> dict[str, int]:
    """How many events of each model or action this process has lost and not recorded yet."""
    with _lock:
        return dict(_losses.get(alias, ()))


def losses_to_record(alias: str) -> list[RecordedEvent]:
    """The event that says what was lost since the last one; nothing when nothing was."""
    with _lock:
        counted = _losses.pop(alias, None)
    if not counted:
        return []
    from audit_django.recording import get_recorder

    extra = {"lost": dict(counted), "count": counted.total()}
    return [get_recorder().build("events_lost", category=Category.SYSTEM, extra=extra)]


def forget_losses() -> None:
    """Start counting at zero."""
    with _lock:
        _losses.clear()

"""Seeing one sensitive value, on the record."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import DEFAULT_DB_ALIAS, connections, transaction

from audit_core.diff import Change
from audit_core.event import Category, Event, Outcome, RecordedEvent
from audit_core.privacy import Secret, is_sealed
from audit_core.privacy.errors import SealError
from audit_core.privacy.sealing import unseal
from audit_django.conf import get_settings
from audit_django.models import AuditEvent
from audit_django.privacy.keyring import DjangoKeyring
from audit_django.recording import record

PERMISSION = "audit_django.unmask"


class UnmaskedInTransaction(SealError):
    """A transaction is open that could still take the record of the unmasking back."""


def unmask_change(
    change: Change | Mapping[str, Any],
    side: str,
    *,
    event: RecordedEvent | AuditEvent | Event,
    user: Any,
    reason: str | None = None,
    using: str | None = None,
) -> Any:
    """The value of ``change`` ``"before"`` or ``"after"``, as the plain JSON that was sealed.

    ``change`` is one of ``event.diff``, or its JSON form; ``event`` was read from the trail: what a client sends is not to be
    believed. That ``user`` has seen the value is itself an event (category ``access``, action ``unmask``, of the same target),
    and committed before the value is given out: no record, no value. ``using`` is the database of the event: that of the row,
    if ``event`` is one, else ``"default"``.

    Raises :class:`UnmaskedInTransaction` when a transaction is open on ``using``, for it could still be rolled back when the
    value has been seen; :class:`~django.core.exceptions.PermissionDenied` when ``user`` lacks the permission
    ``audit_django.unmask`` or may not see the event's tenant, which is recorded as a failure; and a
    :class:`~audit_core.privacy.errors.SealError` that says why a value cannot be seen. A value that is not sealed is given as it
    is, and that is not recorded.
    """
    if isinstance(event, AuditEvent):
        using = using or event._state.db
    using = using or DEFAULT_DB_ALIAS
    fact = event if isinstance(event, Event) else event.event
    field = change["field"] if isinstance(change, Mapping) else change.field
    if field not in fact.diff:
        raise ValueError(f"Event {fact.id} did not change {field!r}: pass the event that the change is from.")
    attempt: dict[str, Any] = {
        "category": Category.ACCESS,
        "actor": user,
        "tenant": fact.tenant,
        "reason": reason,
        "extra": {"field": field, "side": side, "event": str(fact.id)},
        "using": using,
    }
    refusal = _refusal(fact, user)
    value = None
    with _committed(using):
        if refusal is not None:
            record("unmask", fact.target, outcome=Outcome.FAILURE, **attempt)
        else:
            if _holds_seal(getattr(fact.diff[field], side, None)):
                record("unmask", fact.target, **attempt)
            # No variable holds it, so that no page about an error below shows it.
            value = Secret(unseal(fact, field, side, DjangoKeyring(using)))
    if value is None:
        raise PermissionDenied(refusal)
    return value.reveal()


@contextmanager
def _committed(using: str) -> Generator[None]:
    """A transaction that has been committed when the block is left."""
    with ExitStack() as stack:
        try:
            stack.enter_context(transaction.atomic(using=using, durable=True))
        except RuntimeError:
            raise UnmaskedInTransaction(_OUTSIDE.format(using)) from None
        if not connections[using].commit_on_exit:
            raise UnmaskedInTransaction(_OUTSIDE.format(using))
        yield


_OUTSIDE = (
    "A transaction is open on {!r}, and rolling it back would leave no record of who has seen the value. Call unmask_change() "
    "outside of atomic(), in autocommit mode; with ATOMIC_REQUESTS the view needs @transaction.non_atomic_requests."
)


def _holds_seal(value: Any) -> bool:
    return is_sealed(value) or (isinstance(value, Mapping) and is_sealed(value.get("repr")))


def _refusal(fact: Event, user: Any) -> str | None:
    if not user.has_perm(PERMISSION):
        return f"To see a sensitive value takes the permission {PERMISSION}."
    tenants = get_settings().tenants_of(user)
    if tenants is not None and fact.tenant not in tenants:
        return "The event belongs to a tenant that is not among those of this user."
    return None

"""Seeing one sensitive value, on the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import DEFAULT_DB_ALIAS

from audit_core.diff import Change
from audit_core.event import Category, Event, RecordedEvent
from audit_core.privacy import Secret
from audit_core.privacy.sealing import unseal
from audit_django.capture.transactions import joined
from audit_django.conf import get_settings
from audit_django.models import AuditEvent
from audit_django.privacy.keyring import DjangoKeyring
from audit_django.recording import record

PERMISSION = "audit_django.unmask"


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

    ``change`` is one of ``event.diff``, or its JSON form. That ``user`` has seen the value is itself an event (category
    ``access``, action ``unmask``, of the same target), written before the value is given out: no record, no value. It is in the
    transaction that is open on ``using``, or committed if none is. ``using`` is the database of the event: that of the row, if
    ``event`` is one, else ``"default"``.

    Raises :class:`~django.core.exceptions.PermissionDenied` when ``user`` lacks the permission ``audit_django.unmask`` or may
    not see the event's tenant, and a :class:`~audit_core.privacy.errors.SealError` that says why a value cannot be seen. A
    value that is not sealed is given as it is.
    """
    if not user.has_perm(PERMISSION):
        raise PermissionDenied(f"To see a sensitive value takes the permission {PERMISSION}.")
    if isinstance(event, AuditEvent):
        using = using or event._state.db
    fact = event if isinstance(event, Event) else event.event
    tenants = get_settings().tenants_of(user)
    if tenants is not None and fact.tenant not in tenants:
        raise PermissionDenied("The event belongs to a tenant that is not among those of this user.")
    field = change["field"] if isinstance(change, Mapping) else change.field
    if field not in fact.diff:
        raise ValueError(f"Event {fact.id} did not change {field!r}: pass the event that the change is from.")
    using = using or DEFAULT_DB_ALIAS
    with joined(using) as state:
        # No variable holds it, so that no page about an error below shows it.
        value = Secret(unseal(fact, field, side, DjangoKeyring(using)))
        if value.reveal() == getattr(fact.diff[field], side):
            return value.reveal()
        record(
            "unmask",
            fact.target,
            category=Category.ACCESS,
            actor=user,
            tenant=fact.tenant,
            reason=reason,
            extra={"field": field, "side": side, "event": str(fact.id)},
            using=using,
        )
        state.flush()
    return value.reveal()

"""Recording in Django: the recorder with Django's users, and the functions that applications call."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, models, router

from audit_core.context import audit_context, capture_off, current
from audit_core.event import Category, Outcome, RecordedEvent, Target
from audit_core.plugins.manager import get_plugin_manager
from audit_core.recorder import Recorder
from audit_django import registry
from audit_django.context.actor import as_actor, resolve_actor
from audit_django.labels import label_of


@lru_cache(maxsize=1)
def get_recorder() -> Recorder:
    """The recorder of this process."""
    return Recorder(get_plugin_manager(), as_actor=as_actor, resolve_actor=resolve_actor)


def record(
    action: str,
    target: models.Model | type[models.Model] | Target | None = None,
    *,
    category: str = Category.CUSTOM,
    outcome: str = Outcome.SUCCESS,
    actor: Any = None,
    tenant: str | None = None,
    reason: str | None = None,
    extra: Mapping[str, Any] | None = None,
    using: str | None = None,
) -> RecordedEvent:
    """Record something that is no change of a row: ``record("approved", policy, reason="four eyes")``.

    ``target`` is an object, a model (for what was done to many), a :class:`~audit_core.event.Target` or nothing. The event
    belongs to the transaction that is open on ``using`` (the target's database when not given); without one it is committed at
    once. Raises :class:`~audit_core.errors.EncodeError` for a value in ``extra`` that has no JSON form.
    """
    from audit_django.capture.transactions import joined

    alias = using or _alias_of(target)
    recorded = get_recorder().build(
        action,
        category=category,
        outcome=outcome,
        target=target_of(target),
        actor=actor,
        tenant=tenant,
        reason=reason,
        extra=extra,
    )
    with joined(alias) as state:
        state.record(recorded, required=True)
    return recorded


def target_of(subject: models.Model | type[models.Model] | Target | None) -> Target | None:
    """The target that an object or a model is."""
    if subject is None or isinstance(subject, Target):
        return subject
    model = subject if isinstance(subject, type) else type(subject)
    known = registry.tracked(model) or registry.describe(model)
    if isinstance(subject, type):
        return known.target(None, None)
    return known.target(subject.pk, label_of(subject))


def _alias_of(target: Any) -> str:
    if isinstance(target, models.Model):
        return target._state.db or router.db_for_write(type(target), instance=target)
    if isinstance(target, type):
        return router.db_for_write(target)
    return DEFAULT_DB_ALIAS


class Disabled:
    """How capture was switched off: ``skipped`` counts the writes that were not recorded."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.skipped = 0


@contextmanager
def disabled(*, reason: str, using: str = DEFAULT_DB_ALIAS) -> Generator[Disabled]:
    """Switch capture off inside the block or the decorated function.

    That it was off is itself an event: by whom, why, how long, and how many writes were not recorded.
    """
    mark = Disabled(reason)
    started = time.monotonic()
    try:
        with capture_off(mark):
            yield mark
    finally:
        record(
            "capture_disabled",
            category=Category.SYSTEM,
            reason=reason,
            extra={"seconds": round(time.monotonic() - started, 3), "skipped": mark.skipped},
            using=using,
        )


def capture_is_off() -> bool:
    """Whether writes are not recorded here; counts the write that asks."""
    mark = current().disabled
    if mark is None:
        return False
    mark.skipped += 1
    return True


__all__ = ["audit_context", "disabled", "get_recorder", "record", "target_of"]

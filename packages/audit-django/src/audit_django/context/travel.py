"""What travels with a task: who caused it, on whose behalf, for which tenant and why, in plain values that any broker takes.

Whoever can write to the broker can name any actor, as they can run any task: the header is believed as the broker is. It has no
secret, no session, no address, and of an actor only what identifies: id, type, username and label.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections

from audit_core.codec import safe_text
from audit_core.context import current
from audit_core.event import Actor
from audit_django.context.actor import current_actor

HEADER = "audit_context"
MAX_CHARACTERS = 500
"""Of one text. Longer ones are cut by who sends, and not believed by who receives."""

_ACTOR_FIELDS = ("id", "type", "username", "repr")
_TEXTS = ("tenant", "reason", "request_id", "traceparent")


def departure() -> dict[str, Any]:
    """What a task that is queued here takes along; empty when nobody and nothing is known.

    Raises what looking up the actor or the tenant raises.
    """
    try:
        return _departure()
    except SynchronousOnlyOperation:
        # `task.delay()` in an async view, which blocks on the broker anyway: the user is loaded where one may wait.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(copy_context().run, _departure_in_thread).result()


def _departure_in_thread() -> dict[str, Any]:
    try:
        return _departure()
    finally:
        connections.close_all()  # those of this thread


def _departure() -> dict[str, Any]:
    from audit_django.recording import get_recorder

    scope = current()
    actors = {"actor": current_actor(), "on_behalf_of": get_recorder().actor(scope.on_behalf_of)}
    values: dict[str, Any] = {
        name: {field: _cut(text) for field in _ACTOR_FIELDS if (text := getattr(actor, field)) is not None}
        for name, actor in actors.items()
        if actor is not None
    }
    texts = (
        scope.tenant() if callable(scope.tenant) else scope.tenant,
        scope.reason,
        scope.context.request_id,
        scope.context.traceparent,
    )
    values.update({name: _cut(text) for name, text in zip(_TEXTS, texts, strict=True) if text is not None})
    return values


def _cut(value: object) -> str:
    text = safe_text(str(value))
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1]}…"


def arrival(header: object) -> dict[str, Any]:
    """The values for :func:`~audit_core.context.audit_context` in a header. What :func:`departure` did not write is left out.

    Every value is there, ``None`` if the header does not tell it: a task begins with nothing of what the worker itself is.
    """
    given = header if isinstance(header, Mapping) else {}
    values: dict[str, Any] = {name: _believed(given.get(name)) for name in _TEXTS}
    return {**values, "actor": _actor(given.get("actor")), "on_behalf_of": _actor(given.get("on_behalf_of"))}


def _actor(given: object) -> Actor | None:
    if not isinstance(given, Mapping):
        return None
    named = {field: text for field in _ACTOR_FIELDS if (text := _believed(given.get(field))) is not None}
    return Actor(**named) if named else None


def _believed(value: object) -> str | None:
    return value if isinstance(value, str) and len(value) <= MAX_CHARACTERS else None

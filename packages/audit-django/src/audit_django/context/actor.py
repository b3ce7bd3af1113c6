"""Django's users as actors, and who acts where nobody was named."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from django.utils.functional import LazyObject, empty

from audit_core.context import current
from audit_core.errors import ConfigurationError
from audit_core.event import Actor
from audit_core.plugins.manager import get_plugin_manager
from audit_core.recorder import actor_from
from audit_django.conf import get_settings
from audit_django.labels import hidden
from audit_django.registry import secrets_of


def as_actor(source: Any) -> Actor | None:
    """The actor that a user, a name, a mapping or an object with ``id``, ``username`` … is. Runs no query on a loaded user.

    Raises ``ValueError`` for a mapping that names nobody: it would be recorded as if the system had done it.
    """
    from django.contrib.auth.base_user import AbstractBaseUser  # a model: only once apps are loaded
    from django.contrib.auth.models import AnonymousUser

    if isinstance(source, LazyObject):
        if source._wrapped is empty:
            source._setup()
        source = source._wrapped
    if isinstance(source, AnonymousUser):
        return Actor(type="anonymous")
    if not isinstance(source, AbstractBaseUser):
        return _from_other(source)
    username = source.get_username()
    email = getattr(source, source.get_email_field_name(), None)
    full_name = source.get_full_name() if hasattr(source, "get_full_name") else ""
    label = full_name or str(source)
    secrets = secrets_of(source)
    return Actor(
        id=None if source.pk is None else str(source.pk),
        username=None if username in secrets else username,
        email=None if email in secrets else email or None,
        repr=hidden(label, source),
    )


def _from_other(source: Any) -> Actor | None:
    actor = actor_from(None if isinstance(source, str) and not source else source)
    if actor is None and isinstance(source, Mapping) and source:
        names = ", ".join(sorted(map(repr, source)))
        raise ValueError(f"An actor needs 'id', 'username', 'email' or 'repr', but has only {names}.")
    if actor is not None and actor.username and hasattr(source, "get_username"):
        # A user that is no model, as the one that a JWT describes: its text is that of its class.
        return replace(actor, repr=actor.username)
    return actor


def resolve_actor() -> Any:
    """What the setting ``ACTOR_RESOLVER`` answers, if it is set.

    What it raises goes through, so that a required event is not recorded as nobody's. Raises
    :class:`~audit_core.errors.ConfigurationError` when it is a coroutine function, which nothing here could wait for.
    """
    resolver = get_settings().resolver("actor_resolver")
    answer = resolver() if resolver else None
    if inspect.iscoroutine(answer):
        answer.close()
        raise ConfigurationError(
            "AUDIT['ACTOR_RESOLVER'] is a coroutine function. Write it with a plain `def`."
        )
    return answer


def actor_or(fallback: Callable[[], Actor]) -> Callable[[], Actor]:
    """An actor for :func:`~audit_core.context.audit_context`: whom the application names when asked, else ``fallback``."""
    return lambda: as_actor(_named_by_application()) or fallback()


def current_actor() -> Actor | None:
    """The actor that an event recorded here would have."""
    from audit_django.recording import get_recorder

    recorder = get_recorder()
    actor = recorder.actor(current().actor)
    return actor if actor is not None else recorder.actor(_named_by_application())


def _named_by_application() -> Any:
    named = get_plugin_manager().resolve_actor()
    return named if named is not None else resolve_actor()

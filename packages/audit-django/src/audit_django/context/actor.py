"""Django's users as actors."""

from __future__ import annotations

from typing import Any

from django.utils.functional import LazyObject, empty

from audit_core.event import Actor
from audit_core.recorder import actor_from
from audit_django.conf import get_settings


def as_actor(source: Any) -> Actor | None:
    """The actor that a user, a name, a mapping or an object with ``id``, ``username`` … is. Runs no query on a loaded user."""
    from django.contrib.auth.base_user import AbstractBaseUser  # a model: only once apps are loaded
    from django.contrib.auth.models import AnonymousUser

    if isinstance(source, LazyObject):
        if source._wrapped is empty:
            source._setup()
        source = source._wrapped
    if isinstance(source, AnonymousUser):
        return Actor(type="anonymous")
    if not isinstance(source, AbstractBaseUser):
        return actor_from(source)
    email = getattr(source, source.get_email_field_name(), None)
    full_name = source.get_full_name() if hasattr(source, "get_full_name") else ""
    return Actor(
        id=None if source.pk is None else str(source.pk),
        username=source.get_username(),
        email=email or None,
        repr=full_name or str(source),
    )


def resolve_actor() -> Any:
    """What the setting ``ACTOR_RESOLVER`` answers, if it is set."""
    resolver = get_settings().resolver("actor_resolver")
    return resolver() if resolver else None

"""Logins, logouts and failed logins.

Django has a signal for a login with a session. Who asks for a token logs in too, without one.
"""

from __future__ import annotations

import functools
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.http import HttpRequest

from audit_core.context import audit_context
from audit_core.event import Actor, Category, Outcome
from audit_django import registry
from audit_django.context.imports import when_imported
from audit_django.context.middleware import request_context
from audit_django.recording import record

MAX_USERNAME_CHARACTERS = 150


def install() -> None:
    """Connect to ``django.contrib.auth`` and to the libraries that give out tokens. Doing it again changes nothing."""
    user_logged_in.connect(_logged_in, dispatch_uid="audit_django")
    user_logged_out.connect(_logged_out, dispatch_uid="audit_django")
    user_login_failed.connect(_login_failed, dispatch_uid="audit_django")
    when_imported("rest_framework.authtoken.serializers", _watch_rest_framework)
    when_imported("rest_framework_simplejwt.serializers", _watch_simple_jwt)


def _watch_rest_framework(module: Any) -> None:
    _watch(module.AuthTokenSerializer)


def _watch_simple_jwt(module: Any) -> None:
    _watch(module.TokenObtainSerializer)


def _watch(serializer: Any) -> None:
    """Record a login when this serializer, which checks who asks for a token, has found the user."""
    validate = serializer.validate
    if hasattr(validate, "__wrapped__"):
        return

    @functools.wraps(validate)
    def validate_and_record(self: Any, attrs: Any) -> Any:
        found = validate(self, attrs)
        user = self.user if hasattr(self, "user") else found["user"]
        _logged_in(type(user), self.context.get("request"), user)
        return found

    serializer.validate = validate_and_record


def _logged_in(sender: Any, request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    """A view may give out a token and a session, or send the signal for a token itself: that is one login."""
    request = _django_request(request)
    if request is not None:
        if getattr(request, "_audit_login", None) == user.pk:
            return
        request._audit_login = user.pk  # type: ignore[attr-defined]
    _record("login", request, user)


def _logged_out(sender: Any, request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    if user is not None and user.is_authenticated:
        _record("logout", request, user)


def _login_failed(
    sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any
) -> None:
    """The username is whatever somebody typed: kept as text, cut, never a user that it may name."""
    names = [value for key, value in credentials.items() if key in ("username", "email", "identifier")]
    username = str(names[0])[:MAX_USERNAME_CHARACTERS] if names and not _is_name_sensitive() else None
    _record("login_failed", request, Actor(type="anonymous"), {"username": username}, Outcome.FAILURE)


def _is_name_sensitive() -> bool:
    """Whether what users log in with is a sensitive field."""
    user: Any = get_user_model()
    return registry.is_sensitive(user._meta.get_field(user.USERNAME_FIELD))


def _record(
    action: str,
    request: HttpRequest | None,
    actor: Any,
    extra: dict[str, Any] | None = None,
    outcome: str = Outcome.SUCCESS,
) -> None:
    request = _django_request(request)
    # A view that logs somebody in without our middleware still knows the request.
    context = request_context(request) if request is not None else {}
    context.pop("actor", None)
    context.pop("request_id", None)
    with audit_context(**context):
        record(action, category=Category.AUTH, outcome=outcome, actor=actor, extra=extra)


def _django_request(request: Any) -> HttpRequest | None:
    """The request inside an API framework's own, which would authenticate, and so come here again, when asked for its user."""
    inner = getattr(request, "_request", request)
    return inner if isinstance(inner, HttpRequest) else None  # anything may be called a request

"""Logins, logouts and failed logins."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.http import HttpRequest

from audit_core.context import audit_context
from audit_core.event import Actor, Category, Outcome
from audit_django.context.middleware import request_context
from audit_django.recording import record

MAX_USERNAME_CHARACTERS = 150


def install() -> None:
    """Connect to the signals of ``django.contrib.auth``. Doing it again changes nothing."""
    user_logged_in.connect(_logged_in, dispatch_uid="audit_django")
    user_logged_out.connect(_logged_out, dispatch_uid="audit_django")
    user_login_failed.connect(_login_failed, dispatch_uid="audit_django")


def _logged_in(sender: Any, request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    _record("login", request, user)


def _logged_out(sender: Any, request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    if user is not None and user.is_authenticated:
        _record("logout", request, user)


def _login_failed(
    sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any
) -> None:
    """The username is whatever somebody typed: kept as text, cut, never a user that it may name."""
    names = [value for key, value in credentials.items() if key in ("username", "email", "identifier")]
    username = str(names[0])[:MAX_USERNAME_CHARACTERS] if names else None
    _record("login_failed", request, Actor(type="anonymous"), {"username": username}, Outcome.FAILURE)


def _record(
    action: str,
    request: HttpRequest | None,
    actor: Any,
    extra: dict[str, Any] | None = None,
    outcome: str = Outcome.SUCCESS,
) -> None:
    # A view that logs somebody in without our middleware still knows the request.
    context = request_context(request) if request is not None else {}
    context.pop("actor", None)
    context.pop("request_id", None)
    with audit_context(**context):
        record(action, category=Category.AUTH, outcome=outcome, actor=actor, extra=extra)

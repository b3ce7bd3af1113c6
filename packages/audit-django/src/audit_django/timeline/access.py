"""Who may read the timeline, and what they see when they may not, or when it cannot be read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from django.conf import global_settings, settings
from django.contrib.auth.views import redirect_to_login
from django.db import Error as DatabaseError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache

from audit_core.errors import ConfigurationError, RetryableError
from audit_core.query import InvalidQuery
from audit_django.conf import get_settings

PERMISSION = "audit_django.view_audit_log"
UNREADABLE = (RetryableError, DatabaseError, OSError)
"""What a storage raises that cannot be reached now."""
logger = logging.getLogger(__name__)
_unreachable_since: dict[str, datetime] = {}  # by the storage's name, as this process has seen it

Tenants = Sequence[str] | None


def for_readers(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Give ``view(request, tenants, …)`` only to those who may read: logged in and with :data:`PERMISSION`.

    ``tenants`` are those whose events the user may see. The answer is for this user alone and never cached.
    A storage that cannot be reached or used becomes a page that says so (status 503).
    """

    @wraps(view)
    @never_cache
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return to_login(request)
        if not request.user.has_perm(PERMISSION):
            return denied(request)
        name = get_settings().query
        try:
            response = view(request, get_settings().tenants_of(request.user), *args, **kwargs)
        except Http404:
            return message(
                request, 404, _("There is no such change"), _("It does not exist, or it is not yours to see.")
            )
        except InvalidQuery as problem:
            return message(request, 400, _("This cannot be answered"), str(problem))
        except (*UNREADABLE, ConfigurationError) as problem:
            logger.exception("The audit trail cannot be read from the storage %r.", name)
            return unreachable(request, name, needs_operator=isinstance(problem, ConfigurationError))
        _unreachable_since.pop(name, None)
        return response

    return guarded


def login_address() -> str:
    """Where people log in: the project's own page if ``LOGIN_URL`` names one, else the timeline's.

    A project with a login page of its own (single sign-on, a second factor) must not be entered beside it.
    """
    if settings.LOGIN_URL == global_settings.LOGIN_URL:
        return resolve_url("audit:login")
    return resolve_url(settings.LOGIN_URL)


def to_login(request: HttpRequest) -> HttpResponse:
    """To the login page and back to where the person was: to the page around, if it was a swap."""
    if request.headers.get("HX-Request") != "true":
        return redirect_to_login(request.get_full_path(), login_address())
    address = _login_and_back(request)
    if request.headers.get("HX-Target") == "audit-news":  # nobody asked: say it, and leave what is being read
        return render(request, "audit_django/parts/ended.html", {"address": address})
    return HttpResponse(status=401, headers={"HX-Redirect": address})


def _login_and_back(request: HttpRequest) -> str:
    current = request.headers.get("HX-Current-URL", "")
    if not url_has_allowed_host_and_scheme(current, {request.get_host()}, require_https=request.is_secure()):
        current = resolve_url("audit:timeline")
    back = urlsplit(current)._replace(scheme="", netloc="", fragment="").geturl()
    return redirect_to_login(back, login_address())["Location"]


def denied(request: HttpRequest) -> HttpResponse:
    """Logged in, but not allowed."""
    text = _(
        "Your account has no permission to see the audit trail. "
        "Ask an administrator of this site to give you “Can view the audit log”."
    )
    return message(request, 403, _("You may not see this page"), text)


def unreachable(request: HttpRequest, name: str, *, needs_operator: bool = False) -> HttpResponse:
    """The storage called ``name`` does not answer; ``needs_operator``: nor will it before somebody acts."""
    since = _unreachable_since.setdefault(name, timezone.now())
    context = {"storage": name, "since": timezone.localtime(since), "needs_operator": needs_operator}
    return render(request, "audit_django/unreachable.html", context, status=503)


def message(request: HttpRequest, status: int, title: str, text: str) -> HttpResponse:
    """A page with a message and the way back."""
    context = {"title": title, "text": text, "may_read": status != 403}
    return render(request, "audit_django/message.html", context, status=status)

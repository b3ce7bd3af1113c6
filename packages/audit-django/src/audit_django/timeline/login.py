"""Logging in and out, in the timeline's own clothes."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import views
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, resolve_url
from django.utils.http import urlencode

from audit_django.timeline.access import login_address


class LoginView(views.LoginView):
    """Django's login on a page of ours. Sends to the project's own where it has one (``LOGIN_URL``)."""

    template_name = "audit_django/login.html"
    next_page = "audit:timeline"
    redirect_authenticated_user = False

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        own, address = resolve_url("audit:login"), login_address()
        if address != own:
            return redirect(f"{address}?{urlencode({'next': self.get_success_url()})}")
        return super().dispatch(request, *args, **kwargs)


class LogoutView(views.LogoutView):
    """Django's logout, back to the login page."""

    next_page = "audit:login"

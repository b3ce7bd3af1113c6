"""``{% load audit %}{% audit_timeline policy %}``: the history of one object in any page."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from django import template
from django.db.models import Model
from django.urls import NoReverseMatch, reverse

from audit_core.errors import ConfigurationError
from audit_core.query import EventQuery
from audit_django.conf import get_settings
from audit_django.fields import pk_text
from audit_django.registry import history_types
from audit_django.timeline.access import PERMISSION, UNREADABLE
from audit_django.timeline.changes import shown_diff
from audit_django.timeline.filters import Filters
from audit_django.timeline.rows import by_day, rows
from audit_django.timeline.views import zone_name

register = template.Library()
logger = logging.getLogger(__name__)

LIMIT = 10


@register.inclusion_tag("audit_django/embed.html", takes_context=True)
def audit_timeline(context: template.Context, instance: Model, limit: int = LIMIT) -> dict[str, Any]:
    """The newest ``limit`` changes of ``instance`` (1 to 1,000), each with its diff.

    Renders nothing for a user without the permission ``audit_django.view_audit_log``, without a request in
    the context, and for an object that has not been saved. A storage that does not answer is said in one
    line: the page around it is not harmed.
    """
    user = getattr(context.get("request"), "user", None)
    if user is None or instance.pk is None or not user.has_perm(PERMISSION):
        return {"visible": False}
    model = type(instance)._meta.concrete_model or type(instance)
    query = EventQuery(
        target_types=history_types(model),
        target_id=pk_text(type(instance), instance.pk),
        tenants=get_settings().tenants_of(user),
        limit=limit,
    )
    try:
        page = get_settings().query_storage().search(query)
    except (*UNREADABLE, ConfigurationError):
        logger.exception("The history of %s %s cannot be read.", model._meta.label, instance.pk)
        return {"visible": True, "unreachable": True}
    base: str | None = None
    with suppress(NoReverseMatch):  # a project may have the history without the pages
        base = reverse("audit:timeline")
    found = rows(page.events, base=base)
    return {
        "visible": True,
        "days": by_day(found),
        "base": base,
        "all": base and base + Filters(model=model._meta.label, object=query.target_id or "").address(),
        "has_more": page.next is not None,
        "zone": zone_name(),
    }


@register.filter
def audit_diff(event: Any) -> Any:
    """The diff of an event, ready to be shown."""
    return shown_diff(event)

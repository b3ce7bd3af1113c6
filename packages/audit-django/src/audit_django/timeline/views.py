"""The pages. Each address gives a whole page; htmx takes the part of it that it swaps."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.text import capfirst

from audit_core.event import RecordedEvent
from audit_core.query import EventQuery, InvalidQuery, Page
from audit_core.summarizers import words
from audit_django.conf import get_settings
from audit_django.registry import tracked_models
from audit_django.timeline.access import Tenants, for_readers
from audit_django.timeline.chips import chips
from audit_django.timeline.detail import detail
from audit_django.timeline.filters import NAMES, Filters, translated
from audit_django.timeline.rows import actor_name, by_day, rows

PAGE_SIZE = 50
NEWS_LIMIT = 50  # more new changes than that are not counted
ACTORS_SEEN_IN = 1000  # newest events from which the recent actors are read


@for_readers
def timeline(request: HttpRequest, tenants: Tenants) -> HttpResponse:
    """The list of events that match the address's filters, newest first, one page of it."""
    filters, cursor = Filters.read(request.GET), request.GET.get("cursor") or None
    storage = get_settings().query_storage()
    error, page = None, Page()
    try:
        page = storage.search(filters.query(tenants, limit=PAGE_SIZE, cursor=cursor))
    except InvalidQuery as problem:
        error = translated(problem)
    head = page.newest or (storage.head() if not error and hasattr(storage, "head") else None)
    found = rows(page.events, filters)
    context = {
        "section": "timeline",
        "filters": filters,
        "chips": chips(filters, [item.event for item in found]),
        "days": by_day(found),
        "number": len(found),
        "older": filters.address(cursor=page.next) if page.next else None,
        "news": f"{reverse('audit:news')}{filters.address(after=head)}" if head and not cursor else None,
        "is_first_page": not cursor,
        "drops": [(str(NAMES[name]), filters.without(name).address()) for name in filters.active()],
        "error": error,
        "zone": zone_name(),
        "now": timezone.localtime(),
    }
    response = render(request, "audit_django/timeline.html", context, status=400 if error else 200)
    if request.headers.get("HX-Boosted") or request.headers.get("HX-Trigger") == "audit-search":
        response["HX-Push-Url" if request.headers.get("HX-Boosted") else "HX-Replace-Url"] = (
            request.path + filters.address(cursor=cursor or "")
        )
    return response


@for_readers
def news(request: HttpRequest, tenants: Tenants) -> HttpResponse:
    """How many events came after the cursor ``after``: asked every few seconds, shown as one quiet line."""
    filters = Filters.read(request.GET)
    try:
        query = filters.query(tenants, limit=NEWS_LIMIT, cursor=request.GET.get("after", ""), newer=True)
        number = len(get_settings().query_storage().search(query).events)
    except InvalidQuery:
        number = 0
    context = {
        "number": number,
        "limit": NEWS_LIMIT,
        "address": reverse("audit:timeline") + filters.address(),
    }
    return render(request, "audit_django/parts/news.html", context)


@for_readers
def hints(request: HttpRequest, tenants: Tenants) -> HttpResponse:
    """Which one filter to drop when nothing matches: those without which something does."""
    filters, storage = Filters.read(request.GET), get_settings().query_storage()
    helping = []
    for name in filters.active():
        try:
            page = storage.search(filters.without(name).query(tenants, limit=1))
        except InvalidQuery:
            continue
        if page.events:
            helping.append((str(NAMES[name]), reverse("audit:timeline") + filters.without(name).address()))
    return render(request, "audit_django/parts/hints.html", {"helping": helping})


@for_readers
def event(request: HttpRequest, tenants: Tenants, event_id: UUID) -> HttpResponse:
    """One event: its diff, its context, and what else the same request did."""
    recorded = find(event_id, tenants)
    found = detail(recorded, get_settings().query_storage(), tenants)
    context = {**found, "section": "timeline", "zone": zone_name()}
    return render(request, "audit_django/event.html", context)


@for_readers
def event_json(request: HttpRequest, tenants: Tenants, event_id: UUID) -> HttpResponse:
    """One event as consumers of a stream read it."""
    options = {"indent": 2, "ensure_ascii": False}
    response = JsonResponse(find(event_id, tenants).to_dict(), json_dumps_params=options)
    response["X-Content-Type-Options"] = "nosniff"
    return response


@for_readers
def objects(request: HttpRequest, tenants: Tenants) -> HttpResponse:
    """The models that are audited, and a form that finds one object's history."""
    models = sorted(
        tracked_models(), key=lambda model: (model._meta.app_label, str(model._meta.verbose_name_plural))
    )
    apps = [
        (
            str(config.verbose_name),
            [(capfirst(str(model._meta.verbose_name_plural)), model._meta.label) for model in group],
        )
        for config, group in groupby(models, key=lambda model: model._meta.app_config)
    ]
    return render(request, "audit_django/objects.html", {"section": "objects", "apps": apps})


@for_readers
def actors(request: HttpRequest, tenants: Tenants) -> HttpResponse:
    """Who did the newest events: one query, however long the trail is."""
    page = get_settings().query_storage().search(EventQuery(tenants=tenants, limit=ACTORS_SEEN_IN))
    seen: dict[str, dict[str, Any]] = {}
    counts: Counter[str] = Counter()
    for recorded in page.events:
        actor = recorded.event.actor
        if actor is None or not actor.id:
            continue
        counts[actor.id] += 1
        if actor.id not in seen:  # the newest first: the name is the newest too
            seen[actor.id] = {
                "name": actor_name(actor),
                "type": words.text(actor.type),
                "note": actor.username if actor.username != actor.repr else actor.email,
                "address": Filters(actor=actor.id).address(),
                "moment": timezone.localtime(recorded.event.occurred_at),
            }
    found = [{**entry, "number": counts[id]} for id, entry in seen.items()]
    context = {"section": "actors", "actors": found, "looked_at": len(page.events), "zone": zone_name()}
    return render(request, "audit_django/actors.html", context)


def find(event_id: UUID, tenants: Tenants) -> RecordedEvent:
    """The event, if it is there and of these tenants. Raises ``Http404``."""
    try:
        recorded: RecordedEvent = get_settings().query_storage().get(event_id)
    except KeyError:
        raise Http404 from None
    if tenants is not None and recorded.event.tenant not in tenants:
        raise Http404
    return recorded


def zone_name() -> str:
    """The name of the zone that all times are shown in."""
    return timezone.get_current_timezone_name()

"""The detail of one event: its diff, its context in words, and what else the same request did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.dateformat import format as format_date
from django.utils.translation import gettext as _

from audit_core.event import Actor, RecordedEvent, Target
from audit_core.query import EventQuery, InvalidQuery
from audit_core.storages.contract import SearchableStorage
from audit_core.summarizers import words
from audit_django.timeline.agent import in_words
from audit_django.timeline.changes import shown_diff
from audit_django.timeline.filters import Filters
from audit_django.timeline.rows import actor_name, row, rows

NEIGHBORS = 10
REQUEST_LASTS = timedelta(hours=1)  # with what it started: the link to all of it asks without an end


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the context. ``note`` says more about the ``text``; ``code`` is for machines' words."""

    label: str
    text: str
    note: str = ""
    code: bool = False


def detail(
    recorded: RecordedEvent, storage: SearchableStorage, tenants: Sequence[str] | None
) -> dict[str, Any]:
    """What the template of the detail needs."""
    base, request_id = reverse("audit:timeline"), words.text(recorded.event.context.request_id)
    neighbors = _neighbors(recorded, request_id, storage, tenants) if request_id else []
    return {
        "row": row(recorded, Filters(), base),
        "diff": shown_diff(recorded.event),
        "facts": list(_facts(recorded)),
        "neighbors": rows(neighbors, base=base),
        "neighbors_address": base + Filters(request=request_id).address(),
    }


def _neighbors(
    recorded: RecordedEvent, request_id: str, storage: SearchableStorage, tenants: Sequence[str] | None
) -> list[RecordedEvent]:
    """What else the same request did, around the same time: so a storage without an index for requests need not look at all."""
    moment = recorded.event.occurred_at
    query = EventQuery(
        request_id=request_id,
        tenants=tenants,
        since=moment - REQUEST_LASTS,
        until=moment + REQUEST_LASTS,
        limit=NEIGHBORS + 1,
    )
    try:
        page = storage.search(query)
    except InvalidQuery:  # not even that: the event is shown without them
        return []
    return [other for other in page.events if other.id != recorded.id][:NEIGHBORS]


def _facts(recorded: RecordedEvent) -> Iterator[Fact]:
    event, context = recorded.event, recorded.event.context
    moment = timezone.localtime(event.occurred_at)
    yield Fact(_("When"), f"{format_date(moment, 'l j F Y, H:i:s')}.{moment:%f}")
    if event.actor:
        yield Fact(_("Actor"), actor_name(event.actor), _about_actor(event.actor))
    if event.on_behalf_of:
        yield Fact(_("On behalf of"), actor_name(event.on_behalf_of), _about_actor(event.on_behalf_of))
    if event.target:
        yield _object(event.target)
    plain = (
        (_("Reason"), event.reason, False),
        (_("Tenant"), event.tenant, False),
        (_("Address"), context.ip, False),
        (_("Page"), " ".join(filter(None, map(words.text, (context.method, context.path)))), True),
        (_("Source"), context.source if context.source != "request" else None, True),
        (_("Request"), context.request_id, True),
    )
    for label, value, code in plain:
        if text := words.text(value):
            yield Fact(label, text, code=code)
    if agent := words.text(context.user_agent):
        yield Fact(_("Browser"), in_words(agent), agent if in_words(agent) != agent else "")
    if recorded.seq is not None:
        yield Fact(_("Number in the log"), f"{recorded.seq:,}")


def _about_actor(actor: Actor) -> str:
    name = actor_name(actor)
    notes = [words.text(note) for note in (actor.type, actor.username, actor.email) if note]
    if actor.id:
        notes.append(_("id %s") % words.text(actor.id))
    return ", ".join(dict.fromkeys(note for note in notes if note != name))


def _object(target: Target) -> Fact:
    kind = words.text(target.kind or target.type)
    key = _("id %s") % words.text(target.id) if target.id else ""
    label = words.text(target.repr)
    return Fact(_("Object"), label or key or kind, ", ".join(filter(None, (kind, key) if label else ())))

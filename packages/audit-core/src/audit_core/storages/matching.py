"""Whether an event is what a query asks for: the reference for stores, and for those that look at the events themselves."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date

from audit_core.event import Event, RecordedEvent
from audit_core.query import EventQuery
from audit_core.words import words_in, words_of


def matches(query: EventQuery, recorded: RecordedEvent) -> bool:
    """Whether an event passes every filter of ``query`` (its cursor and limit are no filters)."""
    return _matches_event(query, recorded.event) and (
        not query.text.strip() or _has_words(recorded, words_in(query.text))
    )


def is_within(
    recorded: RecordedEvent,
    *,
    since: date | None,
    until: date | None,
    tenants: Collection[str | None] | None,
) -> bool:
    """Whether :meth:`~audit_core.storages.contract.ReadableStorage.read` with these arguments gives the event."""
    event = recorded.event
    day = event.occurred_at.astimezone(UTC).date()
    return (
        (since is None or day >= since)
        and (until is None or day <= until)
        and (tenants is None or event.tenant in tenants)
    )


def _has_words(recorded: RecordedEvent, wanted: list[str]) -> bool:
    """Whether all occur, the last as the beginning of a word; nothing is found by what is no word."""
    if not wanted:
        return False
    *whole, last = wanted
    words = words_of(recorded)
    return set(whole) <= set(words) and any(word.startswith(last) for word in words)


def _matches_event(query: EventQuery, event: Event) -> bool:
    target, actor = event.target, event.actor
    return (
        (not query.target_types or (target is not None and target.type in query.target_types))
        and (query.target_id is None or (target is not None and target.id == query.target_id))
        and (query.actor_id is None or (actor is not None and actor.id == query.actor_id))
        and (not query.categories or event.category in query.categories)
        and (not query.actions or event.action in query.actions)
        and (query.outcome is None or event.outcome == query.outcome)
        and (query.field is None or query.field in event.diff)
        and (query.request_id is None or event.context.request_id == query.request_id)
        and (query.tenants is None or event.tenant in query.tenants)
        and (query.since is None or event.occurred_at >= query.since)
        and (query.until is None or event.occurred_at < query.until)
    )

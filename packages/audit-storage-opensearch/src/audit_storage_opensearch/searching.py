"""From an EventQuery to a search, and from its hits to a page.

Pages go on from the position of their last event (``search_after``), never from a number. No point in time is needed:
what is stored does not change, and what arrives later stands before the first page or at its own place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from audit_core.event import RecordedEvent
from audit_core.query import EventQuery, InvalidQuery, Page, decode_cursor, encode_cursor
from audit_core.words import words_in
from audit_storage_opensearch.documents import RETURNED, key, microseconds, recorded_of

_LONG = range(-(2**63), 2**63)
_UNNUMBERED = _LONG[-1]  # what OpenSearch sorts a missing number as here: newer than all that have one
_ALL_OF_IT: dict[str, Any] = {"match_all": {}}
_NOTHING: dict[str, Any] = {"match_none": {}}


def request(query: EventQuery) -> dict[str, Any]:
    """The body of the search that answers ``query``. Raises :class:`~audit_core.query.InvalidQuery`."""
    in_time = not query.is_history and not query.newer
    body: dict[str, Any] = {
        "query": condition(query),
        "sort": _sort(in_time=in_time, newest_first=not query.newer),
        "size": query.limit if query.newer else query.limit + 1,
        "_source": RETURNED,
        "track_total_hits": False,
    }
    if query.cursor is not None:
        body["search_after"] = _position(query.cursor, in_time=in_time)
    return body


def page(query: EventQuery, hits: Sequence[Mapping[str, Any]]) -> Page:
    """The answer to ``query`` that these hits are."""
    found = [recorded_of(hit) for hit in hits]
    if query.newer:
        found.sort(key=in_history if query.is_history else in_time, reverse=True)
    shown = found[: query.limit]
    more = not query.newer and len(found) > query.limit
    position = in_history if query.is_history else in_time
    newest = encode_cursor(*max(map(in_history, shown))) if shown else None
    return Page(
        events=shown,
        next=encode_cursor(*position(shown[-1])) if more else None,
        newest=newest or (query.cursor if query.newer else None),
    )


def in_history(recorded: RecordedEvent) -> tuple[int, str]:
    """Where an event stands in the order of recording."""
    return (_UNNUMBERED if recorded.seq is None else recorded.seq), str(recorded.id)


def in_time(recorded: RecordedEvent) -> tuple[int, int, str]:
    """Where an event stands in the order of time."""
    return (microseconds(recorded.event.occurred_at), *in_history(recorded))


def condition(query: EventQuery) -> dict[str, Any]:
    """The filters of ``query``; nothing is scored."""
    filters = [*_terms(query), *_period(query), *_words(query.text)]
    return {"bool": {"filter": filters}} if filters else _ALL_OF_IT


def _terms(query: EventQuery) -> list[dict[str, Any]]:
    one = {
        "target_id": query.target_id,
        "actor_id": query.actor_id,
        "outcome": query.outcome,
        "fields": query.field,
        "request_id": query.request_id,
    }
    any_of = {
        "target_type": query.target_types or None,
        "category": query.categories or None,
        "action": query.actions or None,
        "tenant": query.tenants,
    }
    return [
        *({"term": {name: key(value)}} for name, value in one.items() if value is not None),
        *({"terms": {name: [*map(key, values)]}} for name, values in any_of.items() if values is not None),
    ]


def _period(query: EventQuery) -> list[dict[str, Any]]:
    bounds = {"gte": query.since, "lt": query.until}
    given = {name: microseconds(moment) for name, moment in bounds.items() if moment is not None}
    return [{"range": {"occurred_us": given}}] if given else []


def _words(text: str) -> list[dict[str, Any]]:
    if not text.strip():
        return []
    words = words_in(text)
    if not words:
        return [_NOTHING]
    whole = [{"term": {"words": word}} for word in dict.fromkeys(words[:-1])]
    return [*whole, {"prefix": {"words": words[-1]}}]


def _sort(*, in_time: bool, newest_first: bool) -> list[dict[str, Any]]:
    order, missing = ("desc", "_first") if newest_first else ("asc", "_last")
    history: list[dict[str, Any]] = [{"seq": {"order": order, "missing": missing}}, {"id": order}]
    return [{"occurred_us": order}, *history] if in_time else history


def _position(cursor: str, *, in_time: bool) -> list[Any]:
    position = decode_cursor(cursor, *([int, int, str] if in_time else [int, str]))
    try:
        if all(number in _LONG for number in position[:-1]):
            return [*position[:-1], str(UUID(position[-1]))]
    except ValueError:
        pass
    raise InvalidQuery("This page address is damaged. Go back to the first page.", filter="cursor")

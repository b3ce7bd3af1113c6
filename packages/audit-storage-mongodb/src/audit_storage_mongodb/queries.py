"""From an EventQuery to what MongoDB is asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeAlias

from audit_core.codec import safe_text
from audit_core.event import format_timestamp
from audit_core.query import EventQuery, InvalidQuery, decode_cursor
from audit_core.words import words_in

Condition: TypeAlias = dict[str, Any]

_ORDER = r"(?:[0-9]{16}|~)\.[0-9a-f]{32}"
_POSITIONS = {
    "order": re.compile(_ORDER),
    "time_order": re.compile(rf"[0-9:.TZ-]{{27}} {_ORDER}"),
}


def sort_key(query: EventQuery) -> str:
    """The field in whose order the answer comes, the greatest first."""
    return "order" if query.is_history else "time_order"


def condition(query: EventQuery) -> Condition:
    """What a document must meet, the cursor included. Raises :class:`~audit_core.query.InvalidQuery`."""
    found = [
        *_any_of("target_type", query.target_types),
        *_equal("target_id", query.target_id),
        *_equal("actor_id", query.actor_id),
        *_any_of("category", query.categories),
        *_any_of("action", query.actions),
        *_equal("outcome", query.outcome),
        *_equal("fields", query.field),
        *_equal("request_id", query.request_id),
        *_any_of("tenant", query.tenants or ()),
        *_words(query.text),
        *_position(query),
    ]
    # A position begins with its time and goes on after it: it is above the time alone.
    if query.since is not None:
        found.append({"time_order": {"$gte": format_timestamp(query.since)}})
    if query.until is not None:
        found.append({"time_order": {"$lt": format_timestamp(query.until)}})
    return {"$and": found} if found else {}


def _equal(field: str, value: str | None) -> list[Condition]:
    return [] if value is None else [{field: safe_text(value)}]


def _any_of(field: str, values: Sequence[str]) -> list[Condition]:
    if not values:
        return []
    names = [safe_text(value) for value in values]
    return [{field: names[0] if len(names) == 1 else {"$in": names}}]


def _words(text: str) -> list[Condition]:
    """All words occur; the last may be the beginning of one, so that typing finds."""
    if not text.strip():
        return []
    words = words_in(text)
    if not words:
        return [{"words": {"$in": []}}]  # nothing is found by what is no word
    *whole, last = words
    # A word has no character that means something in a pattern. MongoDB reads the index where the words begin so.
    return [*({"words": word} for word in whole), {"words": {"$regex": f"^{last}"}}]


def _position(query: EventQuery) -> list[Condition]:
    if query.cursor is None:
        return []
    key = sort_key(query)
    (position,) = decode_cursor(query.cursor, str)
    if not _POSITIONS[key].fullmatch(position):
        raise InvalidQuery("This page address is damaged. Go back to the first page.", filter="cursor")
    return [{key: {"$gt" if query.newer else "$lt": position}}]

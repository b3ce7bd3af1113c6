"""From an event to its document, and back without losing a byte."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from audit_core.codec import leaf_hash, safe_text
from audit_core.event import RecordedEvent, format_timestamp
from audit_core.words import words_of

MOST_CHARACTERS = 512  # of a value that is asked for; Lucene's terms end at 32,766 bytes
RETURNED = ["text", "seq", "summary"]  # what an event is read from
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def key(value: str) -> str:
    """``value`` as it is indexed and asked for: one that is too long ends in its digest, so that it stays unique."""
    if value.isascii() and len(value) <= MOST_CHARACTERS and "\x00" not in value:
        return value  # nearly all are
    value = safe_text(value)
    if len(value) <= MOST_CHARACTERS:
        return value
    return f"{value[: MOST_CHARACTERS - 65]}#{hashlib.sha256(value.encode()).hexdigest()}"


def microseconds(moment: datetime) -> int:
    """``moment`` as microseconds since 1970, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def document(recorded: RecordedEvent) -> dict[str, Any]:
    """What is kept of an event. What it does not have is left out."""
    event = recorded.event
    actor, target, context = event.actor, event.target, event.context
    summary = None if recorded.summary is None else safe_text(recorded.summary)
    # Of the context, the database storage finds the address alone.
    words = words_of(recorded, context.path, context.user_agent, context.request_id, context.source)
    fields = {
        "id": str(recorded.id),
        "seq": recorded.seq,
        "occurred_us": microseconds(event.occurred_at),
        "occurred_at": format_timestamp(event.occurred_at),
        "category": key(event.category),
        "action": key(event.action),
        "outcome": key(event.outcome),
        "tenant": _key(event.tenant),
        "actor_id": actor and _key(actor.id),
        "actor": actor and actor.label and safe_text(actor.label),
        "target_type": target and key(target.type),
        "target_id": target and _key(target.id),
        "target": target and target.repr and safe_text(target.repr),
        "request_id": _key(context.request_id),
        "ip": context.ip,
        "fields": [*map(key, event.diff)] or None,
        "words": " ".join(words),
        "text": recorded.text,
        "summary": summary,
    }
    return {name: value for name, value in fields.items() if value is not None}


def recorded_of(hit: Mapping[str, Any]) -> RecordedEvent:
    """The event of a hit or of a document that was got. Its leaf hash is computed from the text that came back."""
    source = hit["_source"]
    text: str = source["text"]
    return RecordedEvent(
        id=UUID(hit["_id"]),
        text=text,
        leaf_hash=leaf_hash(text),
        seq=source.get("seq"),
        summary=source.get("summary"),
    )


def _key(value: str | None) -> str | None:
    return None if value is None else key(value)

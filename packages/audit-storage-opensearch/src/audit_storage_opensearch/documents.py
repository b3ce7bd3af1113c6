"""From an event to its document, and back without losing a byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from audit_core.codec import leaf_hash, safe_text
from audit_core.event import SCHEMA_VERSION, RecordedEvent
from audit_storage_opensearch.words import search_words

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
    """What is kept of an event. What it does not have is left out.

    It is made from the JSON of the text: an event is parsed here for nothing else, and its objects take twice as long.
    """
    data = json.loads(recorded.text)
    if data.get("schema_version") != SCHEMA_VERSION:
        data = recorded.event.to_dict()
    actor, target, context = data.get("actor", {}), data.get("target", {}), data.get("context", {})
    summary = None if recorded.summary is None else safe_text(recorded.summary)
    fields = {
        "id": str(recorded.id),
        "seq": recorded.seq,
        "occurred_us": microseconds(datetime.fromisoformat(data["occurred_at"])),
        "occurred_at": data["occurred_at"],
        "category": _key(data["category"]),
        "action": _key(data["action"]),
        "outcome": _key(data["outcome"]),
        "tenant": _key(data.get("tenant")),
        "actor_id": _key(actor.get("id")),
        "actor": actor.get("repr") or actor.get("username") or actor.get("email") or actor.get("id"),
        "target_type": _key(target.get("type")),
        "target_id": _key(target.get("id")),
        "target": target.get("repr"),
        "request_id": _key(context.get("request_id")),
        "ip": context.get("ip"),
        "fields": [*map(_key, data.get("diff", ()))] or None,
        "words": search_words(data, summary),
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

"""An event as a row: what is asked for in columns of its own, and the canonical text itself.

The same columns stand in JSON Lines and in Parquet. They are there to be asked; the event is read back from ``text``
alone. Tenant and date are not among them, because the key says both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias
from uuid import UUID

from audit_core.codec import leaf_hash, safe_text
from audit_core.event import RecordedEvent, format_timestamp
from audit_storage_s3.errors import DamagedObject

Row: TypeAlias = dict[str, Any]

COLUMNS = (
    "id",
    "seq",
    "occurred_at",
    "category",
    "action",
    "outcome",
    "actor_id",
    "actor",
    "target_type",
    "target_id",
    "target",
    "request_id",
    "fields",
    "summary",
    "leaf_hash",
    "text",
)


def row_of(recorded: RecordedEvent) -> Row:
    """The columns of an event, in the order of :data:`COLUMNS`; ``occurred_at`` as RFC 3339 text."""
    event = recorded.event
    actor, target = event.actor, event.target
    return {
        "id": str(recorded.id),
        "seq": recorded.seq,
        "occurred_at": format_timestamp(event.occurred_at),
        "category": str(event.category),
        "action": event.action,
        "outcome": str(event.outcome),
        "actor_id": None if actor is None else actor.id,
        "actor": None if actor is None else actor.label,
        "target_type": None if target is None else target.type,
        "target_id": None if target is None else target.id,
        "target": None if target is None else target.repr,
        "request_id": event.context.request_id,
        "fields": list(event.diff),
        "summary": None if recorded.summary is None else safe_text(recorded.summary),
        "leaf_hash": recorded.leaf_hash.hex(),
        "text": recorded.text,
    }


def recorded_of(row: Mapping[str, Any], key: str) -> RecordedEvent:
    """The event of a row. Raises :class:`~audit_storage_s3.errors.DamagedObject` when its text is not what was hashed."""
    try:
        recorded = RecordedEvent(
            UUID(row["id"]), row["text"], leaf_hash(row["text"]), seq=row["seq"], summary=row["summary"]
        )
        if recorded.leaf_hash.hex() == row["leaf_hash"] and recorded.event.id == recorded.id:
            return recorded
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedObject(
            f"{key} holds a row that is no event ({error}). {DamagedObject.REMEDY}"
        ) from error
    raise DamagedObject(
        f"{key} holds an event whose text does not match its hash: {row['id']}. {DamagedObject.REMEDY}"
    )

"""An event as a row: what is asked for in columns of its own, and the canonical text itself.

The same columns stand in JSON Lines and in Parquet. They are there to be asked; the event is read back from ``text``
alone. Tenant and date are not among them, because the key says both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias
from uuid import UUID

from audit_core.codec import leaf_hash, safe_text
from audit_core.event import SCHEMA_VERSION, RecordedEvent
from audit_storage_s3.errors import DamagedObject

Row: TypeAlias = dict[str, Any]
Data: TypeAlias = Mapping[str, Any]

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


def data_of(recorded: RecordedEvent) -> Data:
    """The JSON form of an event in the current schema version. Raises ``ValueError`` for text that is no event.

    It is not made into an :class:`~audit_core.event.Event`: the columns need none, and it takes four times as long.
    """
    data = json.loads(recorded.text)
    if isinstance(data, dict) and data.get("schema_version") == SCHEMA_VERSION:
        return data
    return recorded.event.to_dict()


def row_of(recorded: RecordedEvent, data: Data) -> Row:
    """The columns of an event with this JSON form, in the order of :data:`COLUMNS`.

    Raises ``ValueError``, ``KeyError``, ``TypeError`` or ``AttributeError`` for what a column cannot hold.
    """
    actor, target = data.get("actor", {}), data.get("target", {})
    if recorded.seq is not None and not 0 <= recorded.seq < 2**63:
        raise ValueError(f"{recorded.seq} is no number in a log")
    return {
        "id": str(recorded.id),
        "seq": recorded.seq,
        "occurred_at": data["occurred_at"],
        "category": safe_text(data["category"]),
        "action": safe_text(data["action"]),
        "outcome": safe_text(data["outcome"]),
        "actor_id": _text(actor.get("id")),
        # As Actor.label has it.
        "actor": _text(actor.get("repr") or actor.get("username") or actor.get("email") or actor.get("id")),
        "target_type": _text(target.get("type")),
        "target_id": _text(target.get("id")),
        "target": _text(target.get("repr")),
        "request_id": _text(data.get("context", {}).get("request_id")),
        "fields": [safe_text(name) for name in data.get("diff", ())],
        "summary": _text(recorded.summary),
        "leaf_hash": recorded.leaf_hash.hex(),
        "text": recorded.text,
    }


def _text(value: str | None) -> str | None:
    return None if value is None else safe_text(value)


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

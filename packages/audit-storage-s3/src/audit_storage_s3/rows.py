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
_TEXTS = COLUMNS[2:12]  # those that are taken from the event


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
    row = {
        "id": str(recorded.id),
        "seq": recorded.seq,
        "occurred_at": data["occurred_at"],
        "category": data["category"],
        "action": data["action"],
        "outcome": data["outcome"],
        "actor_id": actor.get("id"),
        # As Actor.label has it.
        "actor": actor.get("repr") or actor.get("username") or actor.get("email") or actor.get("id"),
        "target_type": target.get("type"),
        "target_id": target.get("id"),
        "target": target.get("repr"),
        "request_id": data.get("context", {}).get("request_id"),
        "fields": list(data.get("diff", ())),
        "summary": None if recorded.summary is None else safe_text(recorded.summary),
        "leaf_hash": recorded.leaf_hash.hex(),
        "text": recorded.text,
    }
    for name in _TEXTS:
        if row[name] is not None and type(row[name]) is not str:
            raise TypeError(f"{name} is {row[name]!r:.50}")
    if "\\u" in recorded.text:  # an escape: only there may NUL and lone surrogates be
        row |= {name: safe_text(row[name]) for name in _TEXTS if row[name] is not None}
        row["fields"] = [safe_text(name) for name in row["fields"]]
    return row


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

"""An event as items of the table, and back.

The item ``event`` holds the canonical text itself, seq and summary, and the attributes of
:mod:`audit_storage_dynamodb.keys`. DynamoDB takes no item above 400 KB [1]_: a longer text is cut into items
of its own beside it, ``part#DIGEST#00000`` and on, which are written first; their key names the digest of
what they hold, so no other content can ever take their place.

.. [1] https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
.. [2] https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-before-you-start.html
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from audit_core.codec import leaf_hash, safe_text
from audit_core.errors import RetryableError
from audit_core.event import RecordedEvent
from audit_storage_dynamodb.keys import filter_values, index_keys

Item: TypeAlias = "dict[str, dict[str, Any]]"
"""Attributes with their types, as the API takes them: ``{"seq": {"N": "7"}}``."""

HEAD = "event"
MAX_PART_BYTES = 350 * 1024  # the keys and filter values of an item take some 15 KB at most
TTL_REACH_SECONDS = 4 * 365 * 24 * 60 * 60
"""DynamoDB never removes what ended more than five years ago [2]_: what is brought in later ends later."""

BODY_ATTRIBUTES = ("event_id", "text", "summary", "seq", "parts", "digest", "text_bytes", "expires_at")
"""What is needed to give an event back."""


def key_of(event_id: UUID | str, item: str = HEAD) -> Item:
    """The primary key of an item."""
    return {"event_id": {"S": str(event_id)}, "item": {"S": item}}


def items_of(recorded: RecordedEvent, *, retention_seconds: int | None = None) -> tuple[Item, list[Item]]:
    """The item of an event, and its parts when it is too large for one."""
    head = key_of(recorded.id)
    strings = index_keys(recorded) | filter_values(recorded.event)
    head |= {name: {"S": value} for name, value in strings.items()}
    if recorded.seq is not None:
        head["seq"] = {"N": str(recorded.seq)}
    expiry: Item = {}
    if retention_seconds is not None:
        expires_at = int(recorded.event.occurred_at.timestamp()) + retention_seconds
        expires_at = max(expires_at, int(time.time()) - TTL_REACH_SECONDS)
        expiry = {"expires_at": {"N": str(expires_at)}}
    head |= expiry

    summary = None if recorded.summary is None else safe_text(recorded.summary)
    # Four bytes are the most for a character: what is short is not encoded to be counted.
    if (len(recorded.text) + len(summary or "")) * 4 > MAX_PART_BYTES:
        text, added = recorded.text.encode(), (summary or "").encode()
        if len(text) + len(added) > MAX_PART_BYTES:
            body = text + added
            digest = hashlib.sha256(body).hexdigest()
            pieces = [body[start : start + MAX_PART_BYTES] for start in range(0, len(body), MAX_PART_BYTES)]
            head |= {
                "parts": {"N": str(len(pieces))},
                "digest": {"S": digest},
                "text_bytes": {"N": str(len(text))},
            }
            if summary is not None:
                head["summary"] = {"S": ""}  # there is one, at the end of the parts
            parts = [
                key_of(recorded.id, f"part#{digest}#{number:05d}") | {"data": {"B": piece}} | expiry
                for number, piece in enumerate(pieces)
            ]
            return head, parts
    head["text"] = {"S": recorded.text}
    if summary is not None:
        head["summary"] = {"S": summary}
    return head, []


def part_prefix(head: Item) -> str:
    """What the sort keys of an event's parts begin with."""
    return f"part#{head['digest']['S']}#"


def recorded_of(head: Item, parts: Sequence[Mapping[str, Any]] = ()) -> RecordedEvent | None:
    """The event that these items hold; its leaf hash is computed again. ``None`` when DynamoDB is just
    removing it, because its time has come.

    Raises :class:`~audit_core.errors.RetryableError` when a part is missing, because a prune removes the parts
    first, or is not what was written.
    """
    seq = int(head["seq"]["N"]) if "seq" in head else None
    summary = head["summary"]["S"] if "summary" in head else None
    if "parts" not in head:
        text = head["text"]["S"]
    else:
        body = b"".join(bytes(part["data"]["B"]) for part in parts)
        if hashlib.sha256(body).hexdigest() != head["digest"]["S"]:
            if "expires_at" in head and int(head["expires_at"]["N"]) < time.time():
                return None
            raise RetryableError(
                f"Event {head['event_id']['S']} is damaged: {len(parts)} of its {head['parts']['N']} parts are "
                f"there, or somebody changed them. It may just be being removed: ask again. If a prune was "
                f"interrupted, run it again; otherwise restore the item from a backup."
            )
        length = int(head["text_bytes"]["N"])
        text = body[:length].decode()
        if summary is not None:
            summary = body[length:].decode()
    return RecordedEvent(UUID(head["event_id"]["S"]), text, leaf_hash(text), seq=seq, summary=summary)

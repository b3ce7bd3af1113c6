"""The key design: where an event is, and in which order each index lists it.

========== ============================ ======================== ==========================================
index      partition key                sort key                 what it answers
========== ============================ ======================== ==========================================
(table)    ``event_id``                 ``item``                 get, and that an id is stored once
history    ``target``                   ``number``               the history of one object
by_time    ``shard``                    ``at``                   everything, newest first; pruning
by_tenant  ``tenant_shard``             ``at``                   one tenant's events, any day of them
by_actor   ``actor_shard``              ``at``                   what somebody did
========== ============================ ======================== ==========================================

The table itself is keyed by the event's id, so its writes spread over all partitions. A listing by time has
one hot end, today, and DynamoDB gives one partition 1,000 write units a second [1]_: its key is split into
:data:`SHARDS` by a hash of the id, and a reader merges them. A day is a range of the sort key and not a part
of the partition key: today's keys would be as hot, and a reader would have to look into every empty day. The
history of one object is not split: nobody changes one object a thousand times a second.

An index may hold one key twice, and a page needs a total order, so every sort key ends with the event's id.

.. [1] https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Sequence
from uuid import UUID

from audit_core.codec import safe_text
from audit_core.event import Event, RecordedEvent, format_timestamp

SHARDS = 4  # 4,000 events a second; read as long as the table lives, so it may grow and never shrink
HISTORY = "history"
BY_TIME = "by_time"
BY_TENANT = "by_tenant"
BY_ACTOR = "by_actor"

INDEX_KEYS = {
    HISTORY: ("target", "number"),
    BY_TIME: ("shard", "at"),
    BY_TENANT: ("tenant_shard", "at"),
    BY_ACTOR: ("actor_shard", "at"),
}
"""The partition key and the sort key of each index."""

FIRST, LAST = "!", "~~"  # before and after every sort key
MAX_TEXT_BYTES = 1000  # a partition key ends at 2,048 bytes, a sort key at 1,024

_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_NUMBER = rf"(?:\d{{19}}#|~){_ID}"
_NUMBERED = re.compile(_NUMBER)
_TIMED = re.compile(rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{6}}Z#{_NUMBER}")


def number_of(recorded: RecordedEvent) -> str:
    """The place of an event in its target's history: the order of recording, never a clock.

    What has no seq yet comes after all that has one, in the order of its UUIDv7.
    """
    return f"~{recorded.id}" if recorded.seq is None else f"{recorded.seq:019d}#{recorded.id}"


def moment_of(recorded: RecordedEvent) -> str:
    """The place of an event in time, ties broken by the order of recording."""
    return f"{format_timestamp(recorded.event.occurred_at)}#{number_of(recorded)}"


def is_place(text: str, *, in_history: bool) -> bool:
    """Whether ``text`` can be a sort key of the history (of a listing by time)."""
    return bool((_NUMBERED if in_history else _TIMED).fullmatch(text))


def just_before(place: str) -> str:
    """An upper bound that takes in every place before this one, and not this one: all end with an id."""
    return f"{place[:-1]}{chr(ord(place[-1]) - 1)}~"


def just_after(place: str) -> str:
    """A lower bound that takes in every place after this one, and not this one."""
    return f"{place}!"


def index_keys(recorded: RecordedEvent) -> dict[str, str]:
    """The key attributes of an event for every index that lists it."""
    event, shard = recorded.event, shard_of(recorded.id)
    keys = {"shard": str(shard), "at": moment_of(recorded)}
    if event.target is not None and event.target.id is not None:
        keys |= {"target": target_key(event.target.type, event.target.id), "number": number_of(recorded)}
    if event.tenant is not None:
        keys["tenant_shard"] = sharded(event.tenant, shard)
    if event.actor is not None and event.actor.id is not None:
        keys["actor_shard"] = sharded(event.actor.id, shard)
    return keys


def filter_values(event: Event) -> dict[str, str]:
    """The attributes besides the keys by which an index can be filtered."""
    values = {
        "category": event.category,
        "action": event.action,
        "outcome": event.outcome,
        "target_type": event.target.type if event.target else None,
        "tenant": event.tenant,
        "actor_id": event.actor.id if event.actor else None,
        "request_id": event.context.request_id,
    }
    return {name: fitting(value) for name, value in values.items() if value is not None}


def shard_of(event_id: UUID) -> int:
    """Which shard of a listing an event is in."""
    return zlib.crc32(event_id.bytes) % SHARDS


def sharded(value: str, shard: int) -> str:
    """The partition key of one shard of a tenant's or an actor's listing."""
    return f"{fitting(value)}#{shard}"


def all_shards(value: str) -> Sequence[str]:
    """The partition keys of a tenant's or an actor's whole listing."""
    return [sharded(value, shard) for shard in range(SHARDS)]


def target_key(type_: str, id_: str) -> str:
    """The partition key of one object's history."""
    return fitting(f"{type_}#{id_}")


def fitting(value: str) -> str:
    """``value``, or for one that is too long for a key its beginning and its digest.

    Two values may share it only if their SHA-256 does; a reader compares the events themselves anyway.
    """
    text = safe_text(value)
    raw = text.encode()
    if len(raw) <= MAX_TEXT_BYTES:
        return text
    return f"{text[:200]}…sha256:{hashlib.sha256(raw).hexdigest()}"

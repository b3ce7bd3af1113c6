"""The collections and their indexes.

Each index begins with what is asked for and ends in the order of the answer, so that a page is read from it without
sorting and from where the one before ended. ``words``, ``fields`` and ``request_id`` have no order behind them: of a
rare one all documents are few, and a common one is soon found in the order of time. MongoDB tries both and goes on
with the better.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from pymongo import ASCENDING, IndexModel
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from audit_storage_mongodb.documents import Document
from audit_storage_mongodb.errors import NAMESPACE_EXISTS, NOT_IMPLEMENTED

Key: TypeAlias = tuple[str, ...]

INDEXES: Mapping[str, Key] = {
    "audit_time": ("time_order",),
    "audit_history": ("target_type", "target_id", "order"),
    "audit_type": ("target_type", "time_order"),
    "audit_actor": ("actor_id", "time_order"),
    "audit_tenant": ("tenant", "time_order"),
    "audit_action": ("action", "time_order"),
    "audit_request": ("request_id",),
    "audit_fields": ("fields",),
    "audit_words": ("words",),
}
RETENTION: Key = ("occurred_at",)
SECONDS_A_DAY = 24 * 60 * 60
_SPECIAL = ("unique", "sparse", "partialFilterExpression", "collation", "hidden", "expireAfterSeconds")


def create(events: Collection[Document], chunks: Collection[Document], retention_days: int | None) -> None:
    """Create what is missing; what is there is left as it is, but for the time after which events are removed.

    A server without TTL indexes goes without: :func:`problems` says so.
    """
    for collection in (events, chunks):
        try:
            # Not asked before whether it exists: that takes a permission on the whole database.
            collection.database.create_collection(collection.name, check_exists=False)
        except OperationFailure as error:
            if error.code != NAMESPACE_EXISTS:
                raise
    there = _plain_keys(events)
    missing = [_model(name, key) for name, key in INDEXES.items() if key not in there]
    if missing:
        events.create_indexes(missing)
    if retention_days is not None:
        try:
            for collection, days in _retained(events, chunks, retention_days):
                _expire(collection, days * SECONDS_A_DAY)
        except OperationFailure as error:
            if error.code != NOT_IMPLEMENTED:
                raise


def problems(
    events: Collection[Document], chunks: Collection[Document], retention_days: int | None
) -> list[str]:
    """What is missing or in the way, in words."""
    remedy = "Run `audit setup`."
    for collection in (events, chunks):
        if not collection.index_information():  # every collection that exists has one on _id
            return [f"The collection {collection.full_name} is missing. {remedy}"]
    there = _plain_keys(events)
    found = [
        f"{events.full_name} has no index on {', '.join(key)}: searches that need it read the whole collection. {remedy}"
        for key in INDEXES.values()
        if key not in there
    ]
    found += [
        f"The unique index {name} of {events.full_name} can keep events out. Drop it: events are unique by _id alone."
        for name in other_unique_indexes(events)
    ]
    for collection, days in _retained(events, chunks, retention_days):
        found += _retention_problems(collection, days)
    return found


def other_unique_indexes(collection: Collection[Document]) -> list[str]:
    """The names of the unique indexes on anything but ``_id``."""
    return [
        name
        for name, index in collection.index_information().items()
        if index.get("unique") and _key(index) != ("_id",)
    ]


def _retained(
    events: Collection[Document], chunks: Collection[Document], days: int | None
) -> Iterator[tuple[Collection[Document], Any]]:
    # The two are emptied at different times: an event must not be there without its chunks.
    yield events, days
    yield chunks, None if days is None else days + 1


def _retention_problems(collection: Collection[Document], days: int | None) -> list[str]:
    name, seconds = collection.full_name, _expiry(collection)
    if days is None:
        if seconds is None:
            return []
        return [
            f"A TTL index removes what is in {name} after {seconds:,} s, but retention_days is not set: set it or drop that."
        ]
    if seconds == days * SECONDS_A_DAY:
        return []
    state = "No TTL index removes" if seconds is None else f"A TTL index removes after {seconds:,} s, not"
    return [
        f"{state} after {days} days what is in {name}. Run `audit setup`. If it stays so, the server has no TTL indexes: "
        f"remove old events by prune() from a scheduled job, and take retention_days out of the OPTIONS."
    ]


def _expire(collection: Collection[Document], seconds: int) -> None:
    if not any(_key(index) == RETENTION for index in collection.index_information().values()):
        collection.create_indexes([_model("audit_retention", RETENTION, expireAfterSeconds=seconds)])
    elif _expiry(collection) != seconds:
        index = {"keyPattern": dict.fromkeys(RETENTION, ASCENDING), "expireAfterSeconds": seconds}
        collection.database.command("collMod", collection.name, index=index)


def _expiry(collection: Collection[Document]) -> int | None:
    for index in collection.index_information().values():
        if _key(index) == RETENTION and "expireAfterSeconds" in index:
            return int(index["expireAfterSeconds"])
    return None


def _model(name: str, key: Key, **options: Any) -> IndexModel:
    return IndexModel([(field, ASCENDING) for field in key], name=name, **options)


def _key(index: Mapping[str, Any]) -> Key:
    return tuple(field for field, _ in index["key"])


def _plain_keys(collection: Collection[Document]) -> set[Key]:
    """The keys of the indexes that hold every document in order, whatever they are called."""
    return {
        _key(index)
        for index in collection.index_information().values()
        if not any(index.get(option) for option in _SPECIAL)
        and not any(isinstance(direction, str) for _, direction in index["key"])  # hashed, text
    }

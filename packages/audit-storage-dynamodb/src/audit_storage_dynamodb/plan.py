"""Which index answers a query, which parts of it are read, and what DynamoDB filters there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from audit_core.event import format_timestamp
from audit_core.query import EventQuery, InvalidQuery, decode_cursor
from audit_core.words import words_in
from audit_storage_dynamodb.keys import (
    BY_ACTOR,
    BY_TENANT,
    BY_TIME,
    FIRST,
    HISTORY,
    INDEX_KEYS,
    LAST,
    SHARDS,
    all_shards,
    fitting,
    is_place,
    just_after,
    just_before,
    target_key,
)

MAX_TENANTS = 10  # that are read side by side; more are filtered out of everything
MAX_OPERANDS = 50  # of one IN; DynamoDB takes 100, and 300 operators in one expression


@dataclass(slots=True)
class Plan:
    """What to read: ``partitions`` of ``index``, from ``low`` to ``high``.

    ``conditions`` are filters that DynamoDB applies as it reads; they never leave out an event that matches,
    but they may let others through.
    """

    index: str
    partitions: Sequence[str]
    low: str
    high: str
    conditions: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def narrow(self, attribute: str, wanted: Sequence[str]) -> None:
        """Let through what has one of these values. A list that is too long is left to the reader."""
        if not 0 < len(wanted) <= MAX_OPERANDS:
            return
        number = len(self.names)
        self.names[f"#f{number}"] = attribute
        operands = {f":f{number}_{n}": {"S": fitting(value)} for n, value in enumerate(wanted)}
        self.values |= operands
        self.conditions.append(f"#f{number} IN ({','.join(operands)})")

    def within(self, attribute: str, low: str | None, high: str | None) -> None:
        """Let through what lies from ``low`` up to ``high``."""
        for sign, value in ((">=", low), ("<", high)):
            if value is not None:
                number = len(self.names)
                self.names[f"#f{number}"] = attribute
                self.values[f":f{number}"] = {"S": value}
                self.conditions.append(f"#f{number} {sign} :f{number}")

    def request(self, partition: str) -> dict[str, Any]:
        """The arguments of the Query that reads ``partition``."""
        hash_key, sort_key = INDEX_KEYS[self.index]
        names = {"#h": hash_key, "#s": sort_key, "#id": "event_id", **self.names}
        values = {
            ":h": {"S": partition},
            ":low": {"S": self.low},
            ":high": {"S": self.high},
            **self.values,
        }
        request = {
            "IndexName": self.index,
            "KeyConditionExpression": "#h = :h AND #s BETWEEN :low AND :high",
            "ProjectionExpression": "#id,#s",
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
        }
        if self.conditions:
            request["FilterExpression"] = " AND ".join(self.conditions)
        return request


def plan_of(query: EventQuery) -> Plan | None:
    """How to answer ``query``; ``None`` when nothing can match.

    Raises :class:`~audit_core.query.InvalidQuery` for a damaged cursor.
    """
    after = _place(query)
    if query.tenants is not None and not query.tenants:
        return None
    if query.text.strip() and not words_in(query.text):
        return None
    since = None if query.since is None else format_timestamp(query.since)
    until = None if query.until is None else format_timestamp(query.until)
    index, partitions = _partitions(query)
    low, high = (FIRST, LAST) if query.is_history else (since or FIRST, until or LAST)
    if after is not None:
        low, high = (
            (max(low, just_after(after)), high) if query.newer else (low, min(high, just_before(after)))
        )
    if low > high:
        return None

    plan = Plan(index, partitions, low, high)
    plan.narrow("category", query.categories)
    plan.narrow("action", query.actions)
    plan.narrow("outcome", [query.outcome] if query.outcome is not None else [])
    plan.narrow("request_id", [query.request_id] if query.request_id is not None else [])
    if index == HISTORY:
        plan.within("at", since, until)
    else:
        plan.narrow("target_type", query.target_types)
    if index != BY_ACTOR:
        plan.narrow("actor_id", [query.actor_id] if query.actor_id is not None else [])
    if index != BY_TENANT:
        plan.narrow("tenant", query.tenants or [])
    return plan


def _partitions(query: EventQuery) -> tuple[str, list[str]]:
    if query.target_id is not None:
        index, keys = HISTORY, [target_key(type_, query.target_id) for type_ in query.target_types]
    elif query.actor_id is not None:
        index, keys = BY_ACTOR, [*all_shards(query.actor_id)]
    elif query.tenants is not None and len(query.tenants) <= MAX_TENANTS:
        index, keys = BY_TENANT, [key for tenant in query.tenants for key in all_shards(tenant)]
    else:
        index, keys = BY_TIME, [str(shard) for shard in range(SHARDS)]
    return index, [*dict.fromkeys(keys)]  # different values may share a key, and each is read once


def _place(query: EventQuery) -> str | None:
    if query.cursor is None:
        return None
    (place,) = decode_cursor(query.cursor, str)
    if not is_place(place, in_history=query.is_history):
        raise InvalidQuery("This page address is damaged. Go back to the first page.", filter="cursor")
    return str(place)

"""Answering a query: the entries of an index, merged in order, and the events that they stand for."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any
from uuid import UUID

from audit_core.event import RecordedEvent
from audit_core.query import EventQuery, Page, encode_cursor
from audit_core.storages.matching import matches
from audit_storage_dynamodb import batches
from audit_storage_dynamodb.items import BODY_ATTRIBUTES, Item, key_of, part_prefix, recorded_of
from audit_storage_dynamodb.keys import INDEX_KEYS
from audit_storage_dynamodb.plan import Plan

MAX_REQUESTS = 100  # for one page: a second or two
MAX_ENTRIES = 5000  # of one request; a response ends at 1 MB anyway
GROWTH = 4  # each further request of a shard reads so many times more: a filter that matches little is slow


class Search:
    """One query, answered once."""

    def __init__(self, client: Any, table: str, query: EventQuery, plan: Plan) -> None:
        self._client = client
        self._table = table
        self._query = query
        self._plan = plan
        self._requests = 0
        self._sort_key = INDEX_KEYS[plan.index][1]

    def page(self) -> Page:
        """The page that was asked for.

        It is shorter than asked for, perhaps empty, and says where to go on, when :data:`MAX_REQUESTS` requests
        were not enough to fill it.
        """
        query = self._query
        wanted = query.limit if query.newer else query.limit + 1  # one more says whether there is a next page
        read_on = bool(
            query.text.strip() or query.field
        )  # only the events themselves tell whether they match
        found: list[tuple[str, RecordedEvent]] = []
        waiting: list[tuple[str, str]] = []
        reached = None
        for place, event_id in self._entries(wanted):
            reached = place
            if event_id is not None:
                waiting.append((place, event_id))
            if len(waiting) == (batches.MAX_KEYS if read_on else min(wanted - len(found), batches.MAX_KEYS)):
                found += self._matching(waiting)
                waiting = []
            if len(found) >= wanted or self._requests >= MAX_REQUESTS:
                break
        else:
            reached = None  # everything was read
        found += self._matching(waiting)
        if query.newer:
            return self._newer(found, reached)
        if len(found) > query.limit:
            reached = found[query.limit - 1][0]
        return Page(
            events=[recorded for _, recorded in found[: query.limit]],
            next=None if reached is None else encode_cursor(reached),
            newest=encode_cursor(found[0][0]) if found else None,
        )

    def _newer(self, found: list[tuple[str, RecordedEvent]], reached: str | None) -> Page:
        if found and (reached is None or len(found) > self._query.limit):
            found = found[: self._query.limit]
            reached = found[-1][0]
        newest = self._query.cursor if reached is None else encode_cursor(reached)
        return Page(events=[recorded for _, recorded in reversed(found)], newest=newest)

    def _entries(self, wanted: int) -> Iterator[tuple[str, str | None]]:
        """The places of the index in order, each with its event's id, or without one where everything up to
        there was filtered out.
        """
        shards = len(self._plan.partitions)
        # Twice a shard's fair part is enough for most pages.
        size = wanted if shards == 1 else -(-2 * wanted // shards)
        streams = [self._partition(partition, size) for partition in self._plan.partitions]
        return heapq.merge(*streams, key=itemgetter(0), reverse=not self._query.newer)

    def _partition(self, partition: str, size: int) -> Iterator[tuple[str, str | None]]:
        request = self._plan.request(partition) | {"ScanIndexForward": self._query.newer}
        while True:
            self._requests += 1
            response = self._client.query(TableName=self._table, Limit=size, **request)
            for item in response["Items"]:
                yield item[self._sort_key]["S"], item["event_id"]["S"]
            start = response.get("LastEvaluatedKey")
            if start is None:
                return
            yield start[self._sort_key]["S"], None
            request["ExclusiveStartKey"] = start
            size = min(size * GROWTH, MAX_ENTRIES)

    def _matching(self, entries: Sequence[tuple[str, str]]) -> list[tuple[str, RecordedEvent]]:
        if not entries:
            return []
        self._requests += 1
        events = read(self._client, self._table, [event_id for _, event_id in entries])
        return [
            (place, recorded)
            for place, event_id in entries
            if (recorded := events.get(event_id)) is not None and matches(self._query, recorded)
        ]


def read(client: Any, table: str, event_ids: Sequence[str]) -> dict[str, RecordedEvent]:
    """The events with these ids that exist, read consistently."""
    found: dict[str, RecordedEvent] = {}
    for head in batches.get(client, table, [key_of(event_id) for event_id in event_ids], BODY_ATTRIBUTES):
        recorded = recorded_of(head, _parts(client, table, head) if "parts" in head else ())
        if recorded is not None:
            found[str(recorded.id)] = recorded
    return found


def get(client: Any, table: str, event_id: UUID) -> RecordedEvent:
    """The event of this id. Raises ``KeyError`` when it is not there."""
    return read(client, table, [str(event_id)])[str(event_id)]


def _parts(client: Any, table: str, head: Item) -> list[Item]:
    pages = client.get_paginator("query").paginate(
        TableName=table,
        ConsistentRead=True,
        KeyConditionExpression="event_id = :id AND begins_with(#item, :part)",
        ExpressionAttributeNames={"#item": "item"},
        ExpressionAttributeValues={":id": head["event_id"], ":part": {"S": part_prefix(head)}},
    )
    return [part for page in pages for part in page["Items"]]

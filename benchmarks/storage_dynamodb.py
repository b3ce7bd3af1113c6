"""The DynamoDB storage against the bare client, in the same run: ``python benchmarks/storage_dynamodb.py 5000``.

Writes N events through ``storage.write`` in batches of 500, and the same items by BatchWriteItem, in rounds
that take turns; then reads the first page and a late one of an object's, a tenant's and everybody's history,
and asks the client for the same page. A second number fills the table up to so many events before it is read
(by transactions, which DynamoDB Local is quick at). AUDIT_TEST_DYNAMODB names the server.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from audit_core.event import RecordedEvent
from audit_core.query import EventQuery
from audit_core.testing import make_event
from audit_storage_dynamodb.items import BODY_ATTRIBUTES, items_of, key_of
from audit_storage_dynamodb.keys import INDEX_KEYS
from audit_storage_dynamodb.plan import plan_of
from audit_storage_dynamodb.storage import DynamoDBStorage

BATCH = 500
PAGE = 20
READS = 15
START = datetime(2026, 3, 3, tzinfo=UTC)


def events_of(first: int, count: int) -> list[RecordedEvent]:
    """Events of some 900 bytes; every second one is of one object."""
    diff = {f"field_{n}": ("before " * 3, "after " * 4) for n in range(3)}
    return [
        make_event(
            diff=diff,
            target=f"policies.Policy:{1 if n % 2 else n}",
            tenant=("acme", "globex")[n % 3 == 0],
            occurred_at=START + timedelta(seconds=n),
            seq=n + 1,
            summary="Alice changed three fields of policy P-1.",
        )
        for n in range(first, first + count)
    ]


def write_bare(client: Any, table: str, events: list[RecordedEvent]) -> None:
    """The same items by BatchWriteItem: nothing is checked, and what is there is overwritten."""
    items = [items_of(event)[0] for event in events]
    for start in range(0, len(items), 25):
        requests = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
        while requests:
            response = client.batch_write_item(RequestItems={table: requests})
            requests = response["UnprocessedItems"].get(table, [])


def fill(client: Any, table: str, first: int, end: int) -> None:
    """Add the events from ``first`` up to ``end``."""
    for start in range(first, end, 100):
        puts = [
            {"Put": {"TableName": table, "Item": items_of(event)[0]}}
            for event in events_of(start, min(100, end - start))
        ]
        client.transact_write_items(TransactItems=puts)


def page_bare(client: Any, table: str, query: EventQuery) -> None:
    """The requests that a page cannot do without, and nothing else."""
    plan = plan_of(query)
    assert plan is not None
    places = []
    for partition in plan.partitions:
        response = client.query(
            TableName=table, ScanIndexForward=False, Limit=query.limit, **plan.request(partition)
        )
        places += [
            (item[INDEX_KEYS[plan.index][1]]["S"], item["event_id"]["S"]) for item in response["Items"]
        ]
    keys = [key_of(event_id) for _, event_id in sorted(places, reverse=True)[: query.limit]]
    names = {f"#{n}": name for n, name in enumerate(BODY_ATTRIBUTES)}
    how = {"ProjectionExpression": ",".join(names), "ExpressionAttributeNames": names, "ConsistentRead": True}
    client.batch_get_item(RequestItems={table: {"Keys": keys, **how}})


def seconds(call: Callable[[], object]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main(count: int, total: int) -> None:
    """Print the rates, their ratio, the memory and the pages."""
    storages = [
        DynamoDBStorage(
            f"benchmark-{uuid4()}",
            endpoint_url=os.environ["AUDIT_TEST_DYNAMODB"],
            point_in_time_recovery=False,
        )
        for _ in range(2)
    ]
    for storage in storages:
        storage.setup()
    ours, bare = storages
    client = bare._client.get()
    spent: dict[str, list[float]] = {"ours": [], "bare": []}
    try:
        for n in range(0, count, BATCH):
            events = events_of(n, min(BATCH, count - n))
            rounds: list[tuple[str, Callable[[], object]]] = [
                ("ours", lambda events=events: ours.write(events)),  # type: ignore[misc]
                ("bare", lambda events=events: write_bare(client, bare.table, events)),  # type: ignore[misc]
            ]
            for name, call in rounds if n // BATCH % 2 else reversed(rounds):
                spent[name].append(seconds(call))
            if n // BATCH == 1:
                early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rates = {name: count / sum(times) for name, times in spent.items()}
        ratios = [b / o for o, b in zip(spent["ours"], spent["bare"], strict=True)]
        late = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"write: {rates['ours']:,.0f} events/s, bare BatchWriteItem {rates['bare']:,.0f} events/s")
        print(
            f"ratio {rates['ours'] / rates['bare']:.2f}, median of the rounds {statistics.median(ratios):.2f}"
        )
        print(f"peak memory: {early / 1024:.0f} MB after two batches, {late / 1024:.0f} MB at the end")
        fill(client, ours.table, count, total)
        read(ours, min(1000, max(count, total) // 2 // PAGE))
    finally:
        for storage in storages:
            storage._client.get().delete_table(TableName=storage.table)
            storage.close()


def read(storage: DynamoDBStorage, last_page: int) -> None:
    """Print p50 of a page, of the bare requests for it, and the quotient."""
    client = storage._client.get()
    for name, filters in {
        "object": {"target_types": ["policies.Policy"], "target_id": "1"},
        "tenant": {"tenants": ["acme"]},
        "all": {},
    }.items():
        late: str | None = None
        for _ in range(last_page - 1):
            late = storage.search(EventQuery(limit=PAGE, cursor=late, **filters)).next or late
        for page, cursor in ((1, None), (last_page, late)):
            query = EventQuery(limit=PAGE, cursor=cursor, **filters)
            times = [
                (
                    seconds(lambda query=query: storage.search(query)),  # type: ignore[misc]
                    seconds(lambda query=query: page_bare(client, storage.table, query)),  # type: ignore[misc]
                )
                for _ in range(READS)
            ]
            mine, theirs = (statistics.median(column) * 1000 for column in zip(*times, strict=True))
            print(
                f"{name:7} page {page:>5}: p50 {mine:6.1f} ms, bare {theirs:6.1f} ms, x {mine / theirs:.2f}"
            )


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    main(*[*numbers, *[5000, 0][len(numbers) :]])

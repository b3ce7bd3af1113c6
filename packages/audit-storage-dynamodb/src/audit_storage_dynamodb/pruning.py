"""Removing what is old, now. A retention removes it by itself, without a request (see ``retention_days``)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from audit_core.event import format_timestamp
from audit_storage_dynamodb import batches
from audit_storage_dynamodb.items import Item, key_of
from audit_storage_dynamodb.keys import BY_TIME, SHARDS


def prune(client: Any, table: str, before: datetime, *, dry_run: bool) -> int:
    """Remove the events that occurred before this moment; return how many. Run it again after a crash."""
    count = 0
    for shard in range(SHARDS):
        pages = client.get_paginator("query").paginate(
            TableName=table,
            IndexName=BY_TIME,
            KeyConditionExpression="#shard = :shard AND #at < :before",
            ProjectionExpression="event_id,parts",
            ExpressionAttributeNames={"#shard": "shard", "#at": "at"},
            ExpressionAttributeValues={
                ":shard": {"S": str(shard)},
                ":before": {"S": format_timestamp(before)},
            },
        )
        for page in pages:
            count += len(page["Items"])
            if not dry_run:
                _remove(client, table, page["Items"])
    return count


def _remove(client: Any, table: str, entries: list[Item]) -> None:
    for entry in entries:
        if "parts" in entry:
            # Before the event itself: a crash in between leaves something that the next prune finds.
            batches.delete(client, table, _part_keys(client, table, entry["event_id"]["S"]))
    batches.delete(client, table, [key_of(entry["event_id"]["S"]) for entry in entries])


def _part_keys(client: Any, table: str, event_id: str) -> list[Item]:
    pages = client.get_paginator("query").paginate(
        TableName=table,
        ConsistentRead=True,
        KeyConditionExpression="event_id = :id AND begins_with(#item, :part)",
        ProjectionExpression="event_id,#item",
        ExpressionAttributeNames={"#item": "item"},
        ExpressionAttributeValues={":id": {"S": event_id}, ":part": {"S": "part#"}},
    )
    return [key for page in pages for key in page["Items"]]

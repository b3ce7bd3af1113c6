"""Batches at DynamoDB's limits, and what it hands back from them.

botocore retries a request that failed. A batch that was served in part is a success to it: what is left over
(UnprocessedItems, UnprocessedKeys, a statement that was throttled) comes again from here, after a wait, as
the API reference asks.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from audit_core.errors import RetryableError
from audit_core.relay.backoff import retry_delay_seconds
from audit_storage_dynamodb.errors import REFUSED, of_code
from audit_storage_dynamodb.items import Item

MAX_STATEMENTS = 25  # of BatchExecuteStatement and BatchWriteItem
MAX_KEYS = 100  # of BatchGetItem
MAX_REQUEST_BYTES = 4 * 1024 * 1024  # a request ends at 16 MB, and JSON writes four bytes of UTF-8 as twelve
MAX_THROTTLED = 6  # batches in a row; some two seconds, then the relay waits instead
THROTTLED_BASE_SECONDS = 0.1

_DUPLICATE = "DuplicateItem"
_T = TypeVar("_T")


def insert(client: Any, table: str, items: Iterable[Item]) -> dict[str, str]:
    """Add the items whose key is not there yet, and leave alone those that are; return why others were
    refused for good, by their event's id.

    BatchWriteItem would overwrite. PartiQL's INSERT is the conditional write that comes in batches: 25 a
    call, the same write units, and each statement has a result of its own.
    """
    refused: dict[str, str] = {}

    def send(batch: Sequence[Item]) -> list[Item]:
        statements = [
            {"Statement": _insert_statement(table, item), "Parameters": list(item.values())} for item in batch
        ]
        response = client.batch_execute_statement(Statements=statements)
        left = []
        for item, result in zip(batch, response["Responses"], strict=True):
            error = result.get("Error")
            if error is None or error["Code"] == _DUPLICATE:
                continue
            if error["Code"] in REFUSED:
                refused[item["event_id"]["S"]] = error.get("Message", error["Code"])
            elif error["Code"] in ("AccessDenied", "ResourceNotFound"):
                raise of_code(table, error["Code"], error.get("Message", ""))
            else:
                left.append(item)
        return left

    for batch in _sized(items):
        until_served(table, batch, send)
    return refused


def _insert_statement(table: str, item: Item) -> str:
    values = ",".join(f"'{name}':?" for name in item)
    return f'INSERT INTO "{table}" VALUE {{{values}}}'


def delete(client: Any, table: str, keys: Sequence[Item]) -> None:
    """Remove the items with these keys."""

    def send(batch: Sequence[Item]) -> list[Item]:
        requests = [{"DeleteRequest": {"Key": key}} for key in batch]
        left = client.batch_write_item(RequestItems={table: requests})["UnprocessedItems"].get(table, [])
        return [request["DeleteRequest"]["Key"] for request in left]

    for start in range(0, len(keys), MAX_STATEMENTS):
        until_served(table, keys[start : start + MAX_STATEMENTS], send)


def get(client: Any, table: str, keys: Sequence[Item], attributes: Sequence[str]) -> list[Item]:
    """The items with these keys that exist, in any order, read consistently."""
    found: list[Item] = []
    names = {f"#{number}": name for number, name in enumerate(attributes)}
    how = {
        "ConsistentRead": True,
        "ProjectionExpression": ",".join(names),
        "ExpressionAttributeNames": names,
    }

    def send(batch: Sequence[Item]) -> list[Item]:
        response = client.batch_get_item(RequestItems={table: {"Keys": list(batch), **how}})
        found.extend(response["Responses"].get(table, []))
        return list(response["UnprocessedKeys"].get(table, {}).get("Keys", []))

    for start in range(0, len(keys), MAX_KEYS):
        until_served(table, keys[start : start + MAX_KEYS], send)
    return found


def until_served(table: str, batch: Sequence[_T], send: Callable[[Sequence[_T]], list[_T]]) -> None:
    """Call ``send`` with what it returned the last time, until nothing is left over.

    Waits longer after each time that something was, at random (full jitter). Raises
    :class:`~audit_core.errors.RetryableError` when too much of it is not enough.
    """
    batch = send(batch)
    for throttled in range(1, MAX_THROTTLED):
        if not batch:
            return
        time.sleep(
            retry_delay_seconds(
                throttled, base_seconds=THROTTLED_BASE_SECONDS, cap_seconds=1.0, random=random.random
            )
        )
        batch = send(batch)
    if batch:
        raise RetryableError(
            f"DynamoDB throttles the table {table!r} or is in trouble: it handed {len(batch)} item(s) of a batch "
            f"back {MAX_THROTTLED} times. If it goes on, raise the table's capacity or its maximum on-demand "
            f"throughput."
        )


def _sized(items: Iterable[Item]) -> Iterator[list[Item]]:
    """``items`` in batches, no request larger than DynamoDB takes."""
    batch: list[Item] = []
    size_bytes = 0
    for item in items:
        item_bytes = _size_bytes(item)
        if batch and (len(batch) == MAX_STATEMENTS or size_bytes + item_bytes > MAX_REQUEST_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(item)
        size_bytes += item_bytes
    if batch:
        yield batch


def _size_bytes(item: Item) -> int:
    return sum(4 * len(value) for attribute in item.values() for value in attribute.values())

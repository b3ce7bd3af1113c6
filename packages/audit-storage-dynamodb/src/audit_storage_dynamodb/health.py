"""What ``check()`` says."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from audit_core.errors import AuditError
from audit_storage_dynamodb import batches
from audit_storage_dynamodb.errors import explained
from audit_storage_dynamodb.keys import INDEX_KEYS
from audit_storage_dynamodb.table import PROBE, problems, recovery_status, ttl_status

MAX_SKEW_SECONDS = 60  # a signature is refused at five minutes


def check(client: Any, table: str, *, retention: bool, point_in_time_recovery: bool) -> list[str]:
    """What is wrong with the server, the credentials and the table, each in a sentence.

    It reads, and writes one item that is always the same, to learn whether it may; it does not try to delete,
    because only ``prune()`` needs that.
    """
    found = [*_transport(client.meta.endpoint_url)]
    try:
        with explained(table):
            response = client.describe_table(TableName=table)
    except AuditError as error:
        return [*found, str(error)]
    found += _clock(response)
    if wrong := problems(table, response["Table"]):
        return found + wrong

    attempts: list[Callable[[], object]] = [
        lambda: batches.insert(client, table, [PROBE]),
        lambda: batches.get(client, table, [PROBE], ["event_id"]),
        *(_query(client, table, index) for index in INDEX_KEYS),
    ]
    for attempt in attempts:
        found += _said(table, attempt)
    if retention:
        found += _said(table, lambda: _retention(client, table))
    if point_in_time_recovery:
        found += _said(table, lambda: _recovery(client, table))
    return list(dict.fromkeys(found))


def _said(table: str, attempt: Callable[[], object]) -> list[str]:
    try:
        with explained(table):
            result = attempt()
    except AuditError as error:
        return [str(error)]
    return [result] if isinstance(result, str) else []


def _query(client: Any, table: str, index: str) -> Callable[[], object]:
    def query() -> None:
        client.query(
            TableName=table,
            IndexName=index,
            Limit=1,
            KeyConditionExpression="#h = :h",
            ExpressionAttributeNames={"#h": INDEX_KEYS[index][0]},
            ExpressionAttributeValues={":h": {"S": "check"}},
        )

    return query


def _retention(client: Any, table: str) -> str | None:
    status = ttl_status(client, table)
    if status in ("ENABLED", "ENABLING"):
        return None
    return (
        f"Events are written with an end, but the table {table!r} does not remove what has ended: its time to "
        f"live is {status}. Run setup, or switch it on for the attribute expires_at."
    )


def _recovery(client: Any, table: str) -> str | None:
    match recovery_status(client, table):
        case "ENABLED":
            return None
        case None:
            return (
                "The server does not know point-in-time recovery: it is DynamoDB Local or another emulator. Set "
                "point_in_time_recovery to False for it."
            )
    return (
        f"Point-in-time recovery is off for the table {table!r}, so what is deleted or overwritten is lost. "
        f"Run setup, or set point_in_time_recovery to False if you keep other backups."
    )


def _transport(endpoint_url: str) -> list[str]:
    url = urlsplit(endpoint_url)
    if url.scheme == "https" or _is_loopback(url.hostname or ""):
        return []
    return [f"Events go to {url.hostname} unencrypted: use https in `endpoint_url`."]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _clock(response: dict[str, Any]) -> list[str]:
    date = response["ResponseMetadata"]["HTTPHeaders"].get("date")
    if date is None:
        return []
    skew_seconds = (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()
    if abs(skew_seconds) <= MAX_SKEW_SECONDS:
        return []
    return [
        f"The clock of this machine is {abs(skew_seconds):.0f} s {'ahead of' if skew_seconds > 0 else 'behind'} "
        f"DynamoDB's, which refuses requests from five minutes on. Synchronize it (NTP)."
    ]

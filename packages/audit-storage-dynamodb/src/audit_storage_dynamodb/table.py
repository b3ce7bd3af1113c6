"""The table: what it should be, how it is made, and what is wrong with one that is there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from audit_core.errors import ConfigurationError, RetryableError
from audit_storage_dynamodb import batches
from audit_storage_dynamodb.items import Item, key_of
from audit_storage_dynamodb.keys import INDEX_KEYS

TABLE_KEY = ("event_id", "item")
TTL_ATTRIBUTE = "expires_at"
FILTER_ATTRIBUTES = [
    *("category", "action", "outcome", "target_type", "tenant", "actor_id", "request_id"),
    *("at", "parts"),
]
"""What an index holds besides the keys, to be filtered there. The text is kept once, in the table: an entry
of an index stays below 1 KB, which is one write unit."""

PROBE: Item = key_of("audit-storage-dynamodb", "check")
"""An item in no index, which ``check()`` writes again to learn whether it may."""

BUILD_SECONDS = 600  # that setup() waits for a table or an index
_POLL_SECONDS = 1.0


def definition(table: str) -> dict[str, Any]:
    """The arguments of CreateTable."""
    attributes = sorted({*TABLE_KEY, *(name for keys in INDEX_KEYS.values() for name in keys)})
    return {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in attributes],
        "KeySchema": _key_schema(TABLE_KEY),
        "GlobalSecondaryIndexes": [_index(name) for name in INDEX_KEYS],
    }


def _key_schema(keys: tuple[str, str]) -> list[dict[str, str]]:
    return [
        {"AttributeName": keys[0], "KeyType": "HASH"},
        {"AttributeName": keys[1], "KeyType": "RANGE"},
    ]


def _index(name: str) -> dict[str, Any]:
    keys = INDEX_KEYS[name]
    projected = [attribute for attribute in FILTER_ATTRIBUTES if attribute not in keys]
    return {
        "IndexName": name,
        "KeySchema": _key_schema(keys),
        "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": projected},
    }


def problems(table: str, description: Mapping[str, Any]) -> list[str]:
    """What is wrong with the table that DescribeTable describes so."""
    found = []
    if not _same_keys(table, description, TABLE_KEY):
        found.append(
            f"The table {table!r} has other keys than event_id and item: it is not ours. Name another one in "
            f"the option `table`, and run setup."
        )
    indexes = {index["IndexName"]: index for index in description.get("GlobalSecondaryIndexes", ())}
    for name, keys in INDEX_KEYS.items():
        index = indexes.get(name)
        if index is None:
            found.append(f"The table {table!r} has no index {name!r}: run setup (`audit setup`).")
        elif not _same_keys(table, {**description, **index}, keys) or not _projects(index):
            found.append(
                f"The index {name!r} of the table {table!r} has other keys or attributes than this version "
                f"needs: delete the index, and run setup. No event is lost by that."
            )
        elif index.get("IndexStatus", "ACTIVE") not in ("ACTIVE", "UPDATING"):
            found.append(
                f"The index {name!r} of the table {table!r} is {index['IndexStatus']}: searches that need it "
                f"fail until DynamoDB has built it."
            )
    return found


def _same_keys(table: str, described: Mapping[str, Any], keys: tuple[str, str]) -> bool:
    types = {item["AttributeName"]: item["AttributeType"] for item in described["AttributeDefinitions"]}
    return described["KeySchema"] == _key_schema(keys) and all(types.get(name) == "S" for name in keys)


def _projects(index: Mapping[str, Any]) -> bool:
    projection = index["Projection"]
    expected = _index(index["IndexName"])["Projection"]["NonKeyAttributes"]
    return projection["ProjectionType"] == "ALL" or set(expected) <= {*projection.get("NonKeyAttributes", ())}


def create(client: Any, table: str, *, point_in_time_recovery: bool) -> None:
    """Make the table and what it lacks. What is there stays as it is.

    Raises :class:`~audit_core.errors.ConfigurationError` when there is a table of another shape, and
    :class:`~audit_core.errors.RetryableError` when an index takes DynamoDB longer than
    :data:`BUILD_SECONDS`.
    """
    try:
        client.describe_table(TableName=table)
    except client.exceptions.ResourceNotFoundException:
        with suppress(client.exceptions.ResourceInUseException):  # somebody else makes it at this moment
            client.create_table(**definition(table))
    description = _built(client, table)
    if not _same_keys(table, description, TABLE_KEY):
        raise ConfigurationError(problems(table, description)[0])
    there = {index["IndexName"] for index in description.get("GlobalSecondaryIndexes", ())}
    for name in INDEX_KEYS:  # DynamoDB builds one at a time
        if name not in there:
            client.update_table(
                TableName=table,
                AttributeDefinitions=definition(table)["AttributeDefinitions"],
                GlobalSecondaryIndexUpdates=[{"Create": _index(name)}],
            )
            description = _built(client, table)
    if wrong := problems(table, description):
        raise ConfigurationError(wrong[0])
    if ttl_status(client, table) not in ("ENABLED", "ENABLING"):
        client.update_time_to_live(
            TableName=table,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": TTL_ATTRIBUTE},
        )
    if point_in_time_recovery and recovery_status(client, table) == "DISABLED":
        client.update_continuous_backups(
            TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )
    batches.insert(client, table, [PROBE])


def _built(client: Any, table: str) -> dict[str, Any]:
    deadline = time.monotonic() + BUILD_SECONDS
    while True:
        description: dict[str, Any] = client.describe_table(TableName=table)["Table"]
        indexes = description.get("GlobalSecondaryIndexes", ())
        states = [description["TableStatus"], *(index["IndexStatus"] for index in indexes)]
        if all(state == "ACTIVE" for state in states):
            return description
        if time.monotonic() > deadline:
            raise RetryableError(
                f"DynamoDB is still building the table {table!r} or one of its indexes. Run setup again later: it "
                f"goes on where it was."
            )
        time.sleep(_POLL_SECONDS)


def ttl_status(client: Any, table: str) -> str:
    """``ENABLED``, ``ENABLING``, ``DISABLING`` or ``DISABLED``; the name of another attribute that it is on
    for.
    """
    ttl = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    other = ttl.get("AttributeName", TTL_ATTRIBUTE)
    return str(ttl["TimeToLiveStatus"] if other == TTL_ATTRIBUTE else other)


def recovery_status(client: Any, table: str) -> str | None:
    """``ENABLED`` or ``DISABLED``; ``None`` where the server does not know point-in-time recovery."""
    try:
        backups = client.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "UnknownOperationException":
            return None
        raise
    return str(backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"])

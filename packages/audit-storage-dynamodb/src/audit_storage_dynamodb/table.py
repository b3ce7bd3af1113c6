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
_SERVED = ("ACTIVE", "UPDATING")


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
    if (status := description.get("TableStatus", "ACTIVE")) not in _SERVED:
        found.append(
            f"The table {table!r} is {status}: DynamoDB does not serve it until it is ACTIVE. Wait, or restore the "
            f"table or its key."
        )
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
        elif index.get("IndexStatus", "ACTIVE") not in _SERVED:
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

    Raises :class:`~audit_core.errors.ConfigurationError` when there is a table of another shape, with another
    time to live or not in service, and :class:`~audit_core.errors.RetryableError` when DynamoDB takes longer than
    :data:`BUILD_SECONDS`.
    """
    if _description(client, table) is None:
        with suppress(client.exceptions.ResourceInUseException):  # somebody else makes it at this moment
            client.create_table(**definition(table))
    description = _built(client, table)
    if not _same_keys(table, description, TABLE_KEY):
        raise ConfigurationError(problems(table, description)[0])
    there = {index["IndexName"] for index in description.get("GlobalSecondaryIndexes", ())}
    for name in INDEX_KEYS:  # DynamoDB builds one at a time
        if name not in there:
            client.update_table(**_addition(name, table, description))
            description = _built(client, table)
    if wrong := problems(table, description):
        raise ConfigurationError(wrong[0])
    if point_in_time_recovery and recovery_status(client, table) == "DISABLED":
        _switch_on_recovery(client, table)
    batches.insert(client, table, [PROBE])
    _switch_on_ttl(client, table)


def _addition(name: str, table: str, description: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of UpdateTable that add an index to the table that is described."""
    index = _index(name)
    attributes = {item["AttributeName"]: item for item in description["AttributeDefinitions"]}
    attributes |= {key: {"AttributeName": key, "AttributeType": "S"} for key in INDEX_KEYS[name]}
    if description.get("BillingModeSummary", {}).get("BillingMode") != "PAY_PER_REQUEST":
        units = ("ReadCapacityUnits", "WriteCapacityUnits")
        index["ProvisionedThroughput"] = {unit: description["ProvisionedThroughput"][unit] for unit in units}
    return {
        "TableName": table,
        "AttributeDefinitions": list(attributes.values()),
        "GlobalSecondaryIndexUpdates": [{"Create": index}],
    }


def _description(client: Any, table: str) -> dict[str, Any] | None:
    try:
        description: dict[str, Any] = client.describe_table(TableName=table)["Table"]
    except client.exceptions.ResourceNotFoundException:
        return None
    return description


def _built(client: Any, table: str) -> dict[str, Any]:
    deadline = time.monotonic() + BUILD_SECONDS
    while True:
        description = _description(client, table)
        if description is not None:  # which it may be for a while after it was made
            if description["TableStatus"] not in (*_SERVED, "CREATING"):
                raise ConfigurationError(problems(table, description)[0])
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


def _switch_on_recovery(client: Any, table: str) -> None:
    deadline = time.monotonic() + BUILD_SECONDS
    while True:
        try:
            client.update_continuous_backups(
                TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
            )
        except (
            client.exceptions.ContinuousBackupsUnavailableException
        ):  # for a while after the table was made
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return


def _switch_on_ttl(client: Any, table: str) -> None:
    status = ttl_status(client, table)
    if status in ("ENABLED", "ENABLING"):
        return
    if status == "DISABLING":
        raise RetryableError(
            f"The time to live of the table {table!r} is just being switched off, which takes up to an hour. Run "
            f"setup again then."
        )
    if status != "DISABLED":
        raise ConfigurationError(
            f"The time to live of the table {table!r} is on for the attribute {status}, so that events would not "
            f"end at {TTL_ATTRIBUTE}. Switch it off, wait an hour, and run setup again."
        )
    client.update_time_to_live(
        TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": TTL_ATTRIBUTE}
    )


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

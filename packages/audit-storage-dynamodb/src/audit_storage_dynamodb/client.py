"""The boto3 client: one for each process, made when it is first needed."""

from __future__ import annotations

from functools import partial
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from audit_core.clients import PerProcess
from audit_core.errors import ConfigurationError

# A relay's lease outlasts a call only so far: better to fail and come back than to hang. "standard" retries
# what DynamoDB documents as retryable, with exponential backoff and jitter.
CONFIG = Config(
    connect_timeout=5,
    read_timeout=15,
    retries={"mode": "standard", "total_max_attempts": 4},
    tcp_keepalive=True,
    user_agent_extra="audit-storage-dynamodb",
)

NEVER_EMPTY = ("BatchExecuteStatement", "BatchGetItem", "BatchWriteItem", "DescribeTable", "Query")
"""What DynamoDB answers with something, whatever it is asked; every other call comes after one of these."""


class NoAnswer(BotoCoreError):  # type: ignore[misc]
    """A status of success with nothing of DynamoDB's in it."""

    fmt = "what answered {operation} is not DynamoDB, but a proxy or another server"


def client_of(region: str | None, endpoint_url: str | None) -> PerProcess[Any]:
    """Makes boto3's client, which is safe to use from several threads. Credentials come from boto3's own chain alone.

    Making it raises :class:`~audit_core.errors.ConfigurationError` for a region or an address that is none, and what
    botocore raises.
    """
    return PerProcess(partial(_make, region, endpoint_url), lambda client: client.close())


def _make(region: str | None, endpoint_url: str | None) -> Any:
    try:
        client = boto3.session.Session().client(
            "dynamodb", region_name=region, endpoint_url=endpoint_url, config=CONFIG
        )
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"No client for DynamoDB can be made: {error}. Correct the options `region` and `endpoint_url`, "
            f"or where boto3 has them from (AWS_DEFAULT_REGION, AWS_ENDPOINT_URL)."
        ) from error
    for operation in NEVER_EMPTY:
        client.meta.events.register(f"after-call.dynamodb.{operation}", _require_answer)
    return client


def _require_answer(parsed: dict[str, Any], model: Any, **_: Any) -> None:
    """To botocore a page of HTML with status 200 is an answer in which every member is missing."""
    if not parsed.keys() - {"ResponseMetadata"}:
        raise NoAnswer(operation=model.name)

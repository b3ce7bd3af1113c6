"""The boto3 client: one for each process, made when it is first needed."""

from __future__ import annotations

import os
import threading
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

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


class Connection:
    """Makes the client, once for each process: a child of a fork must not share its parent's connections.

    Credentials come from boto3's own chain and from nowhere else.
    """

    def __init__(self, region: str | None, endpoint_url: str | None) -> None:
        self._region = region
        self._endpoint_url = endpoint_url
        self._made: tuple[int, Any] | None = None  # by which process, and the client
        self._locks: dict[int, threading.Lock] = {}

    def client(self) -> Any:
        """The client of this process; botocore's clients are safe to use from several threads.

        Raises :class:`~audit_core.errors.ConfigurationError` for a region or an address that is none, and what
        botocore raises.
        """
        made = self._made
        if made is None or made[0] != os.getpid():
            with self._lock:
                made = self._made
                if made is None or made[0] != os.getpid():
                    made = self._made = os.getpid(), self._make()
        return made[1]

    def close(self) -> None:
        """Give up the connections; the next use makes new ones."""
        with self._lock:
            made, self._made = self._made, None
            if made is not None and made[0] == os.getpid():
                made[1].close()

    @property
    def _lock(self) -> threading.Lock:
        # One of its own for each process: what a thread of the parent held at the fork is never given back.
        return self._locks.setdefault(os.getpid(), threading.Lock())

    def _make(self) -> Any:
        try:
            client = boto3.session.Session().client(
                "dynamodb", region_name=self._region, endpoint_url=self._endpoint_url, config=CONFIG
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

"""The boto3 client: one for each process, made when it is first needed."""

from __future__ import annotations

import os
import threading
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError

# A relay's lease outlasts a call only so far: better to fail and come back than to hang. "standard" retries
# what DynamoDB documents as retryable, with exponential backoff and jitter.
CONFIG = Config(
    connect_timeout=5,
    read_timeout=15,
    retries={"mode": "standard", "total_max_attempts": 4},
    tcp_keepalive=True,
    user_agent_extra="audit-storage-dynamodb",
)


def _require_whole(http_response: Any, **_: Any) -> None:
    """Raise for an answer that was cut off: Python's HTTP client takes headers that end with the connection
    for complete, and botocore a broken body for an empty answer. Nothing found, nothing left over.
    """
    length, headers = len(http_response.content), http_response.headers
    if int(headers.get("content-length", length)) != length or not length:
        raise ConnectionClosedError(endpoint_url=http_response.url)


class Connection:
    """Makes the client, once for each process: a child of a fork must not share its parent's connections.

    Credentials come from boto3's own chain and from nowhere else.
    """

    def __init__(self, region: str | None, endpoint_url: str | None) -> None:
        self._region = region
        self._endpoint_url = endpoint_url
        self._lock = threading.Lock()
        self._client: Any = None
        self._pid = 0

    def client(self) -> Any:
        """The client of this process; botocore's clients are safe to use from several threads."""
        if self._client is None or self._pid != os.getpid():
            with self._lock:
                if self._client is None or self._pid != os.getpid():
                    session = boto3.session.Session()
                    client = session.client(
                        "dynamodb", region_name=self._region, endpoint_url=self._endpoint_url, config=CONFIG
                    )
                    client.meta.events.register("after-call.dynamodb", _require_whole)
                    self._client = client
                    self._pid = os.getpid()
        return self._client

    def close(self) -> None:
        """Give up the connections; the next use makes new ones."""
        with self._lock:
            if self._client is not None and self._pid == os.getpid():
                self._client.close()
            self._client = None

"""The stores of delivery.py: how each is reached, read back whole, and put into trouble at the client.

Each class is made in the worker with a tally, which puts it into trouble, and in the parent without.

- ``variable``: the environment variable that names the server.
- ``answer_bytes``: how much of what the server sends may pass before a cut leaves the worker without the answer to a write.
- ``events()``: all that is stored, in the storage's own words; ``documents()``: how many documents, items or rows there are.
- ``drop()``: remove everything.
"""

from __future__ import annotations

import io
import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from audit_core.event import RecordedEvent
from audit_core.query import EventQuery

THROTTLED = 0.02  # of the requests begin a spell of one to four that are throttled


class Tally:
    """Counts by name what happens in any process: a line in a file each, so that what a killed one counted stays."""

    def __init__(self, path: str) -> None:
        self.path = path
        open(path, "a").close()
        self._spell = 0

    def add(self, name: str) -> None:
        with open(self.path, "a") as file:
            file.write(f"{name}\n")

    def counts(self) -> Counter[str]:
        with open(self.path) as file:
            return Counter(file.read().splitlines())

    def throttles(self) -> bool:
        """Whether this request is throttled; in spells, so that some outlast the client's own retries."""
        if self._spell <= 0 and random.random() < THROTTLED:
            self._spell = random.randint(1, 4)
        self._spell -= 1
        if self._spell >= 0:
            self.add("throttled")
        return self._spell >= 0


def trouble_boto(client: Any, operation: str, tally: Tally, status: int, body: bytes) -> None:
    """Throttle a boto3 client below its own retries, and count its attempts that got no answer."""
    from botocore.awsrequest import AWSResponse
    from urllib3 import HTTPResponse

    def before_send(request: Any, **_: Any) -> Any:
        if tally.throttles():
            return AWSResponse(request.url, status, {}, HTTPResponse(io.BytesIO(body), preload_content=False))
        return None

    def needs_retry(caught_exception: Exception | None = None, **_: Any) -> None:
        if caught_exception is not None:
            tally.add("lost")

    client.meta.events.register(f"before-send.{operation}", before_send)
    client.meta.events.register(f"needs-retry.{operation}", needs_retry)


class S3:
    """503 SlowDown to a PUT."""

    variable = "AUDIT_TEST_S3"
    answer_bytes = len("HTTP/1.1 100 Continue\r\n\r\n") + 1  # the answer to a PUT comes after this one

    def __init__(self, address: str, name: str, trouble: Tally | None = None) -> None:
        from audit_storage_s3.storage import S3Storage

        os.environ["AWS_ACCESS_KEY_ID"] = os.environ["AUDIT_TEST_S3_ACCESS_KEY"]
        os.environ["AWS_SECRET_ACCESS_KEY"] = os.environ["AUDIT_TEST_S3_SECRET_KEY"]
        # In a bad run smaller objects: more requests that something can happen to.
        size = 1_000 if trouble else 10_000
        self.storage = S3Storage(
            "audit-delivery", prefix=name, endpoint_url=address, batch_size=size, flush_interval_seconds=2
        )
        self._bucket = self.storage.bucket
        if trouble:
            body = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
            trouble_boto(self._bucket.client, "s3.PutObject", trouble, 503, body)

    def events(self) -> Iterator[RecordedEvent]:
        return self.storage.read()

    def documents(self) -> int:
        bodies = (self._bucket.get(key).body for key in self._keys("events/"))
        return sum(1 for body in bodies for _ in self.storage.format.read(io.BytesIO(body)))

    def drop(self) -> None:
        self._bucket.delete({"Key": key} for key in self._keys(""))

    def _keys(self, folder: str) -> list[str]:
        return [key for key, _, _ in self._bucket.objects(self.storage.settings.prefix + folder)]


class DynamoDB:
    """A whole batch of statements throttled, or half of its statements while the others are served."""

    variable = "AUDIT_TEST_DYNAMODB"
    answer_bytes = 0

    def __init__(self, address: str, name: str, trouble: Tally | None = None) -> None:
        from audit_storage_dynamodb.storage import DynamoDBStorage

        os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
        self.storage = DynamoDBStorage(
            name, endpoint_url=address, region="eu-central-1", point_in_time_recovery=False
        )
        self._client = self.storage._client.get()
        if trouble:
            body = b'{"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}'
            trouble_boto(self._client, "dynamodb.BatchExecuteStatement", trouble, 400, body)
            execute = self._client.batch_execute_statement
            refusal = {"Error": {"Code": "ThrottlingError", "Message": "Rate of requests exceeds the limit."}}

            def execute_half(Statements: list[Any]) -> Any:  # noqa: N803 - boto3's name
                half = len(Statements) // 2 if trouble.throttles() else 0
                answers = execute(Statements=Statements[half:])["Responses"]
                return {"Responses": [refusal] * half + answers}

            self._client.batch_execute_statement = execute_half

    def events(self) -> Iterator[RecordedEvent]:
        from audit_storage_dynamodb.items import HEAD, recorded_of

        return (
            recorded_of(item) for page in self._scan() for item in page["Items"] if item["item"]["S"] == HEAD
        )

    def documents(self) -> int:
        return sum(page["Count"] for page in self._scan(Select="COUNT")) - 1  # setup() keeps an item there

    def drop(self) -> None:
        self._client.delete_table(TableName=self.storage.table)

    def _scan(self, **how: Any) -> Any:
        scan = self._client.get_paginator("scan")
        return scan.paginate(TableName=self.storage.table, ConsistentRead=True, **how)


class MongoDB:
    """Half of a bulk is written by a member that steps down; or all of it, and the majority does not confirm in time."""

    variable = "AUDIT_TEST_MONGODB"
    answer_bytes = 0

    def __init__(self, address: str, name: str, trouble: Tally | None = None) -> None:
        from pymongo import monitoring
        from pymongo.errors import BulkWriteError

        from audit_storage_mongodb.storage import MongoStorage

        class Listener(monitoring.CommandListener):
            def started(self, event: Any) -> None:
                """Nothing."""

            succeeded = started

            def failed(self, event: Any) -> None:
                if event.command_name == "insert" and "errtype" in event.failure:  # not of the server's
                    trouble.add("lost")

        if trouble:
            monitoring.register(Listener())
        self.storage = MongoStorage(address, database=name)
        self._collection = self.storage._events
        bulk_write = self._collection.bulk_write

        def write_half(requests: list[Any], *, ordered: bool) -> None:
            if not trouble.throttles():
                bulk_write(requests, ordered=ordered)
                return
            half = len(requests) // 2 if random.random() < 0.5 else 0
            with suppress(BulkWriteError):  # of those that were there already
                bulk_write(requests[half:], ordered=ordered)
            error = {"code": 189, "errmsg": "not primary"} if half else {"code": 64, "errmsg": "wtimeout"}
            raise BulkWriteError({"writeErrors" if half else "writeConcernErrors": [error]})

        if trouble:
            self._collection.bulk_write = write_half

    def events(self) -> Iterator[RecordedEvent]:
        from audit_storage_mongodb.documents import recorded_of

        return (recorded_of(document, {}) for document in self._collection.find())

    def documents(self) -> int:
        from pymongo import timeout

        with timeout(0):  # no limit: the test server reads slowly
            return sum(1 for _ in self._collection.find({}, {"_id": 1}))

    def drop(self) -> None:
        self.storage._client.drop_database(self._collection.database.name)


class OpenSearch:
    """429 to a whole bulk request, or to half of its documents while the others are written."""

    variable = "AUDIT_TEST_OPENSEARCH"
    answer_bytes = 0

    def __init__(self, address: str, name: str, trouble: Tally | None = None) -> None:
        import opensearchpy

        from audit_storage_opensearch.client import WholeAnswers
        from audit_storage_opensearch.storage import OpenSearchStorage

        error = {"type": "rejected_execution_exception", "reason": "rejected execution of primary operation"}

        class Troubled(WholeAnswers):
            def perform_request(self, method: str, url: str, params: Any, body: Any, **more: Any) -> Any:
                send = super().perform_request
                if url != "/_bulk" or trouble is None:
                    return send(method, url, params, body, **more)
                half = 0
                lines = body.splitlines(keepends=True)  # two for each document
                if trouble.throttles():
                    if random.random() < 0.5:
                        self._raise_error(
                            429, json.dumps({"error": error, "status": 429}), "application/json"
                        )
                    half = len(lines) // 4 * 2
                try:
                    status, headers, data = send(method, url, params, b"".join(lines[half:]), **more)
                except opensearchpy.exceptions.ConnectionError:
                    trouble.add("lost")
                    raise
                ids = [json.loads(line)["create"]["_id"] for line in lines[:half:2]]
                refused = [{"create": {"_id": id_, "status": 429, "error": error}} for id_ in ids]
                return status, headers, json.dumps({"items": refused + json.loads(data)["items"]})

        self.storage = OpenSearchStorage(
            address,
            index=name,
            retention_days=None,
            index_settings={"number_of_replicas": 0},
            client={"connection_class": Troubled},
        )
        self._client, self._name = self.storage._connection.client(), name

    def events(self) -> Iterator[RecordedEvent]:
        self._client.indices.refresh(index=self._name)
        page = self.storage.search(EventQuery(limit=1000))
        yield from page.events
        while page.next:
            page = self.storage.search(EventQuery(limit=1000, cursor=page.next))
            yield from page.events

    def documents(self) -> int:
        return self._client.count(index=self._name)["count"]

    def drop(self) -> None:
        for index in self._client.indices.get_alias(index=f"{self._name}*"):
            self._client.indices.delete(index=index)
        self._client.indices.delete_index_template(name=f"{self._name}*")


STORES = {"s3": S3, "dynamodb": DynamoDB, "mongodb": MongoDB, "opensearch": OpenSearch}

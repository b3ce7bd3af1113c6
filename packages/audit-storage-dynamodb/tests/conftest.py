"""Storages to test with, and faults that a real server cannot be asked for."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import botocore.session
import pytest
from botocore.exceptions import ClientError

from audit_storage_dynamodb.storage import DynamoDBStorage

_create_loader = cache(botocore.session.create_loader)


@pytest.fixture(autouse=True)
def models_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 reads megabytes of JSON for each session; a session that shares them is made in a tenth of the time."""
    monkeypatch.setattr("botocore.session.create_loader", _create_loader)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Made-up credentials and nothing of the machine's own."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def endpoint() -> str:
    """The address of DynamoDB Local."""
    address = os.environ.get("AUDIT_TEST_DYNAMODB")
    if not address:
        pytest.skip("needs DynamoDB Local: AUDIT_TEST_DYNAMODB=http://127.0.0.1:8000")
    return address


@pytest.fixture
def make_storage() -> Iterator[Callable[..., DynamoDBStorage]]:
    """Makes storages and closes them."""
    storages = []

    def make(table: str = "audit", **options: Any) -> DynamoDBStorage:
        storages.append(DynamoDBStorage(table, **options))
        return storages[-1]

    yield make
    for storage in storages:
        storage.close()


@pytest.fixture
def storage(endpoint: str, make_storage: Callable[..., DynamoDBStorage]) -> Iterator[DynamoDBStorage]:
    """An empty storage of its own table. DynamoDB Local knows no point-in-time recovery."""
    storage = make_storage(f"test-{uuid4()}", endpoint_url=endpoint, point_in_time_recovery=False)
    storage.setup()
    yield storage
    storage._client.get().delete_table(TableName=storage.table)


class Faults:
    """Looks at the requests of a storage, and answers them as a server in trouble would."""

    def client(self, storage: DynamoDBStorage) -> Any:
        return storage._client.get()

    @contextmanager
    def _hooked(self, storage: DynamoDBStorage, event: str, hook: Callable[..., Any]) -> Iterator[None]:
        events = self.client(storage).meta.events
        events.register_last(event, hook)
        try:
            yield
        finally:
            events.unregister(event, hook)

    @contextmanager
    def count(self, storage: DynamoDBStorage) -> Iterator[Counter[str]]:
        """How often each operation was called."""
        counter: Counter[str] = Counter()

        def before_call(model: Any, **_: Any) -> None:
            counter[model.name] += 1

        with self._hooked(storage, "before-call.dynamodb", before_call):
            yield counter

    @contextmanager
    def answer(self, storage: DynamoDBStorage, operation: str, answer: Callable[[], Any]) -> Iterator[None]:
        """``answer`` answers instead of the server: with a parsed response, a refusal, an exception to raise, or
        ``None`` to let the server do it.
        """

        def before_call(**_: Any) -> Any:
            result = answer()
            if isinstance(result, ClientError):
                return SimpleNamespace(status_code=400, headers={}, content=b"{}"), result.response
            if isinstance(result, Exception):
                raise result
            return (
                None
                if result is None
                else (SimpleNamespace(status_code=200, headers={}, content=b"{}"), result)
            )

        with self._hooked(storage, f"before-call.dynamodb.{operation}", before_call):
            yield

    @contextmanager
    def change_request(
        self, storage: DynamoDBStorage, operation: str, change: Callable[[dict[str, Any]], None]
    ) -> Iterator[None]:
        """``change`` sees, and may edit, the arguments of a call."""

        def provide(params: dict[str, Any], **_: Any) -> None:
            change(params)

        with self._hooked(storage, f"provide-client-params.dynamodb.{operation}", provide):
            yield

    @contextmanager
    def change_response(
        self, storage: DynamoDBStorage, operation: str, change: Callable[[dict[str, Any]], None]
    ) -> Iterator[None]:
        """``change`` edits what the server has answered."""

        def after_call(parsed: dict[str, Any], **_: Any) -> None:
            change(parsed)

        with self._hooked(storage, f"after-call.dynamodb.{operation}", after_call):
            yield

    def refusal(self, code: str, message: str = "as the server says") -> ClientError:
        return ClientError({"Error": {"Code": code, "Message": message}}, "Operation")


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Faults, without the waits after them."""
    monkeypatch.setattr("audit_storage_dynamodb.batches.THROTTLED_BASE_SECONDS", 0.001)
    return Faults()

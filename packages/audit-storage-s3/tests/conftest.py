"""A bucket on the server that AUDIT_TEST_S3 names, a prefix of its own for each test, and days to write into."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any

import botocore.session
import pytest

from audit_storage_s3.storage import S3Storage

_create_loader = cache(botocore.session.create_loader)


@pytest.fixture(autouse=True)
def models_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 reads megabytes of JSON for each session; a session that shares them is made in a tenth of the time."""
    monkeypatch.setattr("botocore.session.create_loader", _create_loader)


@pytest.fixture(scope="session")
def server() -> SimpleNamespace:
    """The address and the keys; skips without them."""
    missing = [
        name
        for name in ("AUDIT_TEST_S3", "AUDIT_TEST_S3_ACCESS_KEY", "AUDIT_TEST_S3_SECRET_KEY")
        if not os.environ.get(name)
    ]
    if missing:
        pytest.skip(f"needs an S3 server: {', '.join(missing)} not set")
    url = os.environ["AUDIT_TEST_S3"]
    return SimpleNamespace(
        url=url if "://" in url else f"http://{url}",
        access_key=os.environ["AUDIT_TEST_S3_ACCESS_KEY"],
        secret_key=os.environ["AUDIT_TEST_S3_SECRET_KEY"],
        bucket=f"audit-test-{uuid.uuid4().hex[:12]}",
        locked_bucket=f"audit-lock-{uuid.uuid4().hex[:12]}",
    )


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some credentials, and none of the machine's own."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)


@pytest.fixture
def make(
    server: SimpleNamespace, credentials: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., S3Storage]]:
    """Makes storages on the test's own prefix, and closes them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
    prefix = f"test/{uuid.uuid4().hex}"
    made: list[S3Storage] = []

    def make(**options: Any) -> S3Storage:
        bucket = server.locked_bucket if "object_lock" in options else server.bucket
        storage = S3Storage(**{"bucket": bucket, "prefix": prefix, "endpoint_url": server.url, **options})
        made.append(storage)
        return storage

    yield make
    for storage in made:
        storage.close()


@pytest.fixture
def storage(make: Callable[..., S3Storage]) -> S3Storage:
    """An empty storage."""
    storage = make()
    storage.setup()
    return storage


@pytest.fixture
def long_ago() -> datetime:
    """Noon of a day that is over, and may be compacted."""
    return datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=10)


@pytest.fixture
def keys() -> Callable[[S3Storage], list[str]]:
    """The keys of all events' objects in a storage, without its prefix."""

    def keys(storage: S3Storage) -> list[str]:
        prefix = storage.settings.prefix
        return [key[len(prefix) :] for key, _, _ in storage.bucket.objects(f"{prefix}events/")]

    return keys

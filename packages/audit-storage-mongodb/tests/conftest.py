"""The server that the integration tests talk to, and collections of their own in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from audit_storage_mongodb.storage import MongoStorage

VARIABLE = "AUDIT_TEST_MONGODB"
DATABASE = f"audit_test_{uuid4().hex[:8]}"


@pytest.fixture
def uri() -> str:
    if VARIABLE not in os.environ:
        pytest.skip(f"{VARIABLE} is not set: no server to talk to")
    return os.environ[VARIABLE]


@pytest.fixture
def make_storage(uri: str) -> Iterator[Callable[..., MongoStorage]]:
    """Storages on collections that nobody else uses, dropped at the end."""
    made = []

    def make(*, setup: bool = True, **options: Any) -> MongoStorage:
        defaults = {"uri": uri, "database": DATABASE, "collection": f"events_{uuid4().hex[:8]}"}
        storage = MongoStorage(**{**defaults, **options})
        made.append(storage)
        if setup:
            storage.setup()
        return storage

    yield make
    with MongoStorage(uri)._client as client:
        for storage in made:
            for collection in (storage._events, storage._chunks):
                client[DATABASE].drop_collection(collection.name)
            storage.close()


@pytest.fixture
def storage(make_storage: Callable[..., MongoStorage]) -> MongoStorage:
    """An empty storage, set up."""
    return make_storage()


@pytest.fixture
def is_mongodb(storage: MongoStorage) -> bool:
    """Whether the server is MongoDB itself, not one that speaks its protocol."""
    return "ferretdbVersion" not in storage._client.server_info()


@pytest.fixture
def offline() -> Iterator[Callable[..., MongoStorage]]:
    """Storages that connect to nothing, for what is decided before a connection."""
    made = []

    def make(uri: str = "mongodb://localhost:1/", **options: Any) -> MongoStorage:
        made.append(MongoStorage(uri, **options))
        return made[-1]

    yield make
    for storage in made:
        storage.close()

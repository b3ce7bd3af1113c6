"""The whole contract, in each format."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from audit_core.storages import CompactableStorage, PrunableStorage, ReadableStorage, VerifiableStorage
from audit_core.testing import StorageContract
from audit_storage_s3.storage import S3Storage

pytestmark = pytest.mark.integration


class Contract(StorageContract):
    options: dict[str, Any]

    def test_it_can_do_what_is_done_with_an_archive(self, storage: S3Storage) -> None:
        for ability in (PrunableStorage, ReadableStorage, CompactableStorage, VerifiableStorage):
            assert isinstance(storage, ability)

    @pytest.fixture
    def storage(self, make: Callable[..., S3Storage]) -> S3Storage:
        storage = make(**self.options)
        storage.setup()
        return storage


class TestJsonLines(Contract):
    options = {"format": "jsonl"}  # noqa: RUF012


class TestJsonLinesZstd(Contract):
    options = {"format": "jsonl", "compression": "zstd"}  # noqa: RUF012

    @pytest.fixture(autouse=True)
    def zstd(self) -> None:
        if sys.version_info < (3, 14):
            pytest.importorskip("backports.zstd")


class TestParquet(Contract):
    options = {"format": "parquet"}  # noqa: RUF012

    @pytest.fixture(autouse=True)
    def pyarrow(self) -> None:
        pytest.importorskip("pyarrow")

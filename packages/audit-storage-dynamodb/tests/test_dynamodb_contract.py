"""The contracts against DynamoDB Local: one table for each test."""

import pytest

from audit_core.testing import SearchContract, StorageContract

pytestmark = pytest.mark.integration


class TestDynamoDBStorage(StorageContract):
    @pytest.fixture
    def storage(self, storage):
        return storage


class TestDynamoDBSearch(SearchContract):
    @pytest.fixture
    def storage(self, storage):
        return storage

"""The contracts, against a real server."""

import pytest

from audit_core.testing import SearchContract, StorageContract

pytestmark = pytest.mark.integration


class TestContract(StorageContract):
    @pytest.fixture
    def storage(self, make_storage):
        return make_storage()


class TestSearch(SearchContract):
    @pytest.fixture
    def storage(self, make_storage):
        return make_storage()

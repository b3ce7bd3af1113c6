"""The contracts, whole, against the server."""

from __future__ import annotations

import pytest

from audit_core.testing import SearchContract, StorageContract

pytestmark = pytest.mark.integration


class TestStorage(StorageContract):
    @pytest.fixture
    def storage(self, make_storage):
        return make_storage()


class TestSearch(SearchContract):
    @pytest.fixture
    def storage(self, make_storage):
        return make_storage()

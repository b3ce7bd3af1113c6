import sqlite3
from uuid import UUID

import pytest
from audit_storage_example import ExampleStorage

from audit_core import RecordedEvent
from audit_core.codec import leaf_hash
from audit_core.testing import StorageContract


class TestExampleStorage(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path):
        storage = ExampleStorage(tmp_path / "audit.db")
        storage.setup()
        return storage

    def stored(self, storage):
        rows = sqlite3.connect(storage.path).execute("SELECT id, text, seq, summary FROM event")
        return [
            RecordedEvent(UUID(id), text, leaf_hash(text), seq=seq, summary=summary)
            for id, text, seq, summary in rows
        ]

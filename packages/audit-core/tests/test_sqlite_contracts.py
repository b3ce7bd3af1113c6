"""The contracts of outbox and log on SQLite."""

import pytest

from audit_core.sqlite import SqliteDatabase
from audit_core.testing import LogContract, LogEnvironment, OutboxContract


class SqliteEnvironment(LogEnvironment):
    concurrent_writers = False

    def __init__(self, path):
        self.database = SqliteDatabase(path)
        self.outbox, self.log = self.database.outbox, self.database.log

    def transaction(self):
        return self.database.transaction()

    def advance_clock(self, seconds):
        """Move the times in the table back instead: SQLite's clock is nobody's to turn."""
        back = f"{-seconds:+.3f} seconds"
        self.database.connection.execute(
            "UPDATE audit_cursor SET expires_at = strftime('%Y-%m-%dT%H:%M:%fZ', expires_at, :back), "
            "retry_at = strftime('%Y-%m-%dT%H:%M:%fZ', retry_at, :back)",
            {"back": back},
        )

    def close_thread(self):
        self.database.close()


class SqliteTests:
    @pytest.fixture
    def env(self, tmp_path):
        environment = SqliteEnvironment(tmp_path / "audit.db")
        yield environment
        environment.close_thread()


class TestSqliteOutbox(SqliteTests, OutboxContract):
    pass


class TestSqliteLog(SqliteTests, LogContract):
    pass

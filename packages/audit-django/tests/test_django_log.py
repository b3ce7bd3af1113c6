"""The core's contracts on Django's tables."""

import time
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction
from django.db.models import F
from django.utils import timezone

from audit_core.testing import LogContract, LogEnvironment, OutboxContract, SearchContract, StorageContract
from audit_django.log import DjangoLog
from audit_django.models import Cursor
from audit_django.outbox import DjangoOutbox
from audit_django.storages.database import DatabaseStorage


class DjangoEnvironment(LogEnvironment):
    concurrent_writers = connection.vendor != "sqlite"

    def __init__(self):
        self.outbox, self.log = DjangoOutbox(), DjangoLog()

    @contextmanager
    def transaction(self):
        with transaction.atomic():
            yield

    def advance_clock(self, seconds):
        """Move the times in the table back instead: the database's clock is nobody's to turn."""
        for name in ("expires_at", "retry_at"):
            Cursor.objects.exclude(**{name: None}).update(**{name: F(name) - timedelta(seconds=seconds)})

    def close_thread(self):
        connections.close_all()


@pytest.mark.django_db(transaction=True)
class TestDjangoOutbox(OutboxContract):
    @pytest.fixture
    def env(self):
        return DjangoEnvironment()


@pytest.mark.django_db(transaction=True)
class TestDjangoLog(LogContract):
    @pytest.fixture
    def env(self):
        return DjangoEnvironment()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1)], ids=["ahead", "back"])
def test_the_clock_of_the_machine_decides_nothing_45(monkeypatch, jump):
    log, hour = DjangoLog(), 3600
    lease = log.acquire("sink", "one", hour)
    failed = log.fail(log.acquire("failing", "one", hour), "down", hour)
    real, now = time.time, timezone.now
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + jump.total_seconds())
        patch.setattr(timezone, "now", lambda: now() + jump)
        assert log.acquire("sink", "two", hour) is None
        assert log.acquire("failing", "two", hour) is None
        assert log.acquire("sink", "one", hour) == lease
        assert log.release_expired() == []
        assert abs(log.now() - now()) < timedelta(hours=1)
    assert abs(failed.retry_at - now()) < timedelta(hours=2)


@pytest.mark.django_db(transaction=True)
class TestDatabaseStorage(StorageContract):
    @pytest.fixture
    def storage(self):
        return DatabaseStorage()

    def close_thread(self):
        connections.close_all()


@pytest.mark.django_db(transaction=True)
class TestDatabaseSearch(SearchContract):
    numbers_events = True

    @pytest.fixture
    def storage(self):
        return DatabaseStorage()

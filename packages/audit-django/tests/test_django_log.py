"""The core's contracts on Django's tables."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction
from django.db.models import F

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

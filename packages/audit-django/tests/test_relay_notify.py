"""PostgreSQL's LISTEN and NOTIFY between a commit and the worker."""

import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from testapp.models import Tag

from audit_django.relay import notify as notifying

WAIT = 30  # seconds, for what comes at once

postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="needs PostgreSQL: AUDIT_TEST_DATABASE=postgres"
)
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def notifies(settings, monkeypatch):
    settings.AUDIT = {"RELAY": "worker", "RELAY_NOTIFY": True}
    monkeypatch.setattr(notifying, "_sent", {})
    monkeypatch.setattr(notifying, "_failing", set())


class Listener:
    """A listener whose wakes can be waited for."""

    def __init__(self):
        self.wakes = threading.Semaphore(0)
        self.stop = threading.Event()

    def woken(self, timeout=WAIT):
        return self.wakes.acquire(timeout=timeout)

    def __enter__(self):
        self.thread = notifying.listen("default", self.wakes.release, self.stop)
        assert self.woken()  # it listens now
        return self

    def __exit__(self, *error):
        self.stop.set()
        self.thread.join(WAIT)
        assert not self.thread.is_alive()


def sql(queries):
    return [query["sql"].split("(")[0].split()[:2] for query in queries]


@postgresql
def test_a_commit_wakes_the_listener():
    with Listener() as listener:
        Tag.objects.create(name="x")
        assert listener.woken()


@postgresql
def test_the_notification_comes_after_the_commit_and_in_no_transaction():
    states = []

    def look(execute, sql, params, many, context):
        if "pg_notify" in sql:
            states.append((connection.in_atomic_block, connection.connection.info.transaction_status.name))
        return execute(sql, params, many, context)

    with CaptureQueriesContext(connection) as queries, connection.execute_wrapper(look), transaction.atomic():
        Tag.objects.create(name="x")
        Tag.objects.create(name="y")
    assert states == [(False, "IDLE")]
    assert sql(queries)[0] == ["BEGIN"]
    assert sql(queries)[-2:] == [["COMMIT"], ["SELECT", "pg_notify"]]


@postgresql
def test_a_rollback_notifies_nobody():
    with CaptureQueriesContext(connection) as queries:
        with pytest.raises(RuntimeError), transaction.atomic():
            Tag.objects.create(name="x")
            raise RuntimeError
        Tag.objects.filter(name="none").update(name="other")  # nothing changed, so no event
    assert not [query for query in queries if "pg_notify" in query["sql"]]


@postgresql
def test_no_notification_without_the_setting(settings):
    settings.AUDIT = {"RELAY": "worker"}
    with CaptureQueriesContext(connection) as queries:
        Tag.objects.create(name="x")
    assert sql(queries)[-1] == ["COMMIT"]


@postgresql
def test_commits_close_together_notify_once(monkeypatch):
    now = 100.0
    monkeypatch.setattr(notifying, "time", SimpleNamespace(monotonic=lambda: now))
    with CaptureQueriesContext(connection) as queries:
        for _ in range(5):
            Tag.objects.create(name="x")
        assert sum("pg_notify" in query["sql"] for query in queries) == 1
        now += 2 * notifying.NOTIFY_PAUSE_SECONDS
        Tag.objects.create(name="y")
        assert sum("pg_notify" in query["sql"] for query in queries) == 2


@postgresql
def test_a_failure_is_logged_once_and_costs_no_save(monkeypatch, caplog):
    monkeypatch.setattr(notifying, "NOTIFY_PAUSE_SECONDS", 0)

    def refuse(execute, sql, params, many, context):
        if "pg_notify" in sql:
            raise OSError("no")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        for _ in range(3):
            Tag.objects.create(name="x")
    assert len(caplog.records) == 1
    Tag.objects.create(name="x")
    with connection.execute_wrapper(refuse):
        Tag.objects.create(name="x")
    assert len(caplog.records) == 2
    assert Tag.objects.count() == 5


@postgresql
def test_inside_a_transaction_nothing_is_sent():
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        notifying.notify("default")
    connection.set_autocommit(False)
    try:
        notifying.notify("default")
        connection.rollback()
    finally:
        connection.set_autocommit(True)
    assert len(queries) == 0


@postgresql
def test_the_listener_outlives_its_connection(monkeypatch, caplog):
    monkeypatch.setattr(notifying, "BACKOFF_BASE_SECONDS", 0.01)
    with Listener() as listener:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query = 'LISTEN audit_outbox'"
            )
            assert cursor.fetchone() == (1,)
        assert listener.woken()  # for what was committed meanwhile
        Tag.objects.create(name="x")
        assert listener.woken()
    [record] = caplog.records
    assert "polling goes on" in record.getMessage()


@pytest.mark.skipif(connection.vendor == "postgresql", reason="is about the other databases")
def test_other_databases_know_no_notifications():
    with CaptureQueriesContext(connection) as queries:
        Tag.objects.create(name="x")
    assert sql(queries)[-1] == ["COMMIT"]
    assert not notifying.can_listen("default")


@postgresql
def test_postgresql_can_listen():
    assert notifying.can_listen("default")


@postgresql
def test_the_command_listens(settings, tmp_path):
    """Its polling would come a minute too late."""
    archive = tmp_path / "archive.jsonl"
    settings.AUDIT = {
        "RELAY": "worker",
        "RELAY_NOTIFY": True,
        "RELAY_OPTIONS": {"idle_min_seconds": 60, "idle_max_seconds": 60},
        "STORAGES": {
            "default": {"BACKEND": "database"},
            "archive": {"BACKEND": "jsonl", "OPTIONS": {"path": str(archive)}},
        },
    }
    archived = []

    def commit_then_stop():
        try:
            while not listening():
                time.sleep(0.05)
            time.sleep(0.5)  # what wakes it when it begins to listen is over
            Tag.objects.create(name="x")
            deadline = time.monotonic() + WAIT
            while not archived and time.monotonic() < deadline:
                if archive.exists():
                    archived.extend(archive.read_text().splitlines())
                time.sleep(0.05)
        finally:
            connections.close_all()
            os.kill(os.getpid(), signal.SIGTERM)

    def listening():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE query = %s", [f"LISTEN {notifying.CHANNEL}"]
            )
            return cursor.fetchone()[0]

    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    thread = threading.Thread(target=commit_then_stop)
    thread.start()
    try:
        call_command("audit", "relay")
    finally:
        thread.join(2 * WAIT)
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)
    assert len(archived) == 1

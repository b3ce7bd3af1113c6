"""What a monitor is told."""

from datetime import UTC, datetime, timedelta

import pytest
from commands import run
from django.contrib.auth.models import Permission, User
from django.db import transaction
from testapp.models import Tag

from audit_core.testing import make_event
from audit_django import health
from audit_django.log import DjangoLog
from audit_django.models import AuditEvent
from audit_django.outbox import DjangoOutbox

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "amqp://user:secret@broker"


class Broken:
    def write(self, events):
        raise OSError(SECRET)


@pytest.fixture(autouse=True)
def worker(settings, monkeypatch):
    monkeypatch.setattr(health, "_last", None)
    settings.AUDIT = {
        "RELAY": "worker",
        "STORAGES": {"default": {"BACKEND": "database"}, "archive": {"BACKEND": "memory"}},
    }


def test_all_is_well(client):
    Tag.objects.create(name="x")
    run("relay", "--once")
    answer = client.get("/audit/health/")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert "no-store" in answer["Cache-Control"]


def test_a_paused_sink_is_worth_a_look(client):
    Tag.objects.create(name="x")
    run("relay", "--once")
    DjangoLog().pause("archive")
    assert client.get("/audit/health/").json() == {"status": "degraded"}


def test_events_that_wait_too_long_are_an_alarm(client):
    with transaction.atomic():
        DjangoOutbox().append([make_event(occurred_at=datetime.now(UTC) - timedelta(minutes=5))])
    answer = client.get("/audit/health/")
    assert (answer.status_code, answer.json()) == (503, {"status": "failing"})


def test_without_a_sink_nothing_is_late(client, settings):
    settings.AUDIT = {}
    with transaction.atomic():
        DjangoOutbox().append([make_event(occurred_at=datetime.now(UTC) - timedelta(minutes=5))])
    assert client.get("/audit/health/").json() == {"status": "ok"}


def test_figures_are_for_who_may_see_the_trail_and_no_error_is_shown(client, settings):
    settings.AUDIT = {
        "RELAY": "worker",
        "STORAGES": {"default": {"BACKEND": "database"}, "down": {"BACKEND": f"{__name__}.Broken"}},
    }
    Tag.objects.create(name="x")
    run("relay", "--once")
    reader = User.objects.create_user("reader", password="x")
    client.force_login(reader)
    assert client.get("/audit/health/").json().keys() == {"status"}
    reader.user_permissions.add(Permission.objects.get(codename="view_audit_log"))
    answer = client.get("/audit/health/")
    [trail] = answer.json()["trails"]
    assert [one["name"] for one in trail["readers"]] == ["summaries", "down"]
    assert "secret" not in answer.content.decode()


def test_a_database_that_does_not_answer_is_an_alarm(client, monkeypatch):
    def fail(self):
        raise OSError(SECRET)

    monkeypatch.setattr(DjangoLog, "cursors", fail)
    answer = client.get("/audit/health/")
    assert (answer.status_code, answer.json()) == (503, {"status": "failing"})


def test_asking_often_costs_nothing(client, django_assert_num_queries):
    client.get("/audit/health/")
    with django_assert_num_queries(0):
        client.get("/audit/health/")


def test_only_reading_is_allowed(client):
    assert client.post("/audit/health/").status_code == 405
    assert AuditEvent.objects.count() == 0

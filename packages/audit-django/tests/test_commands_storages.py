"""``manage.py audit storages`` on Django's settings and tables."""

from datetime import UTC, datetime, timedelta

import pytest
from commands import run
from testapp.models import Tag

from audit_core.query import EventQuery
from audit_django import backends
from audit_django.models import AuditEvent, LogEntry

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


@pytest.fixture
def storages(settings):
    """The log itself, two storages in memory, and the tables of another database."""
    settings.AUDIT = {
        "RELAY": "worker",
        "STORAGES": {
            "default": {"BACKEND": "database"},
            "archive": {"BACKEND": "memory"},
            "copy": {"BACKEND": "memory"},
            "inquiry": {"BACKEND": "database", "OPTIONS": {"using": "other"}},
        },
    }


@pytest.fixture
def delivered(storages):
    """Three events in the log, and in the storages that are sinks."""
    for name in "abc":
        Tag.objects.create(name=name)
    run("relay", "--once")


def test_the_storages_of_the_settings_are_listed(storages):
    code, out, _ = run("storages", "list")
    assert code == 0
    by_name = {line.split()[0]: line.split()[1:] for line in out.splitlines()[1:]}
    assert by_name["default"] == ["yes", "–", "–", "–", "–"]
    assert by_name["archive"] == ["yes", "yes", "–", "–", "yes"]


def test_the_log_itself_cannot_be_pruned(storages):
    code, _, err = run("storages", "prune", "default", "--before", "2026-01-01", "--dry-run")
    assert (code, err) == (2, "Error: The storage 'default' cannot prune; these can: archive, copy.\n")


def test_pruning_is_on_the_record(delivered):
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
    code, out, _ = run("storages", "prune", "archive", "--before", tomorrow, "--reason", "moved", "--yes")
    assert (code, out) == (0, "archive: 3 events were removed, and that recorded.\n")
    assert len(backends.storage("archive")) == 0
    assert LogEntry.objects.count() == 3
    event = AuditEvent.objects.get(action="prune").event
    assert (event.category, event.reason, event.actor.type) == ("system", "moved", "operator")
    assert event.extra["storage"] == "archive"
    assert event.extra["events"] == 3


def test_the_events_come_back_into_the_tables_of_another_database(delivered):
    for _ in range(2):
        code, out, err = run("storages", "restore", "archive", "inquiry")
        assert (code, out, err) == (0, "archive: 3 events were restored into inquiry.\n", "")
    found = backends.storage("inquiry").search(EventQuery()).events
    assert [event.seq for event in found] == [3, 2, 1]
    assert LogEntry.objects.using("other").count() == 3


@pytest.mark.parametrize("databases", [["default"], ["default", "other"]])
def test_nothing_is_restored_into_a_log(delivered, settings, databases):
    settings.AUDIT = {**settings.AUDIT, "DATABASES": databases}
    for name in ("default", *(["inquiry"] if "other" in databases else [])):
        code, _, err = run("storages", "restore", "archive", name)
        assert code == 2
        assert f"The storage '{name}' is the log itself" in err
    assert not LogEntry.objects.using("other").exists()


def test_a_search_reads_what_people_read(delivered, settings):
    code, out, _ = run("search", "--type", "testapp.Tag")
    assert (code, len(out.splitlines())) == (0, 1 + 3)
    settings.AUDIT = {**settings.AUDIT, "QUERY": "inquiry"}
    assert run("search")[:2] == (0, "Nothing matches.\n")

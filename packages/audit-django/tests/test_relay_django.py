"""The relay on Django's tables: inline after a commit, and as a command."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import run
from database_work import statements
from django.db import connection, transaction
from testapp.models import Tag

from audit_core.plugins.manager import PluginManager, override_plugin_manager
from audit_core.plugins.markers import hookimpl
from audit_core.query import EventQuery
from audit_django import backends
from audit_django.models import AuditEvent, LogEntry, OutboxEntry, Summary
from audit_django.storages.database import DatabaseStorage

pytestmark = pytest.mark.django_db(transaction=True)

ARCHIVE = {"STORAGES": {"default": {"BACKEND": "database"}, "archive": {"BACKEND": "memory"}}}


def test_without_a_sink_a_request_pays_for_its_flush_alone():
    made = statements(lambda: Tag.objects.create(name="x"))
    assert made == ["BEGIN", "INSERT", "INSERT", "INSERT", "COMMIT"]
    assert OutboxEntry.objects.count() == 1
    assert LogEntry.objects.count() == 0


def test_what_is_not_numbered_yet_is_shown_in_its_order():
    for name in "abc":
        Tag.objects.create(name=name)
    run("relay", "--once")
    Tag.objects.create(name="d")
    page = DatabaseStorage().search(EventQuery())
    assert [(recorded.event.target.repr, recorded.seq) for recorded in page.events] == [
        ("d", None),
        ("c", 3),
        ("b", 2),
        ("a", 1),
    ]


def test_inline_delivers_after_the_commit(settings):
    settings.AUDIT = ARCHIVE
    archive = backends.storage("archive")
    with transaction.atomic():
        Tag.objects.create(name="x")
        assert archive.search(EventQuery()).events == []
    [recorded] = archive.search(EventQuery()).events
    assert (recorded.seq, recorded.summary) == (1, "The system created tag x.")
    assert OutboxEntry.objects.count() == 0
    assert Summary.objects.get().text == "The system created tag x."


def test_a_rolled_back_block_delivers_nothing(settings):
    settings.AUDIT = ARCHIVE
    with pytest.raises(RuntimeError), transaction.atomic():
        Tag.objects.create(name="x")
        raise RuntimeError
    assert backends.storage("archive").search(EventQuery()).events == []
    assert AuditEvent.objects.count() == 0


class Broken:
    def write(self, events):
        raise OSError("no route to host")


def test_a_sink_that_is_down_costs_no_request(settings):
    settings.AUDIT = {
        "STORAGES": {"default": {"BACKEND": "database"}, "down": {"BACKEND": f"{__name__}.Broken"}}
    }
    Tag.objects.create(name="x")
    Tag.objects.create(name="y")
    assert Tag.objects.count() == AuditEvent.objects.count() == 2
    assert run("relay", "--once")[2] == ""


def test_plugins_are_told_after_the_commit():
    told = []

    class Plugin:
        @hookimpl
        def audit_event_recorded(self, event):
            told.append((event.event.target.repr, connection.in_atomic_block))

    with (
        override_plugin_manager(PluginManager(entry_points=[], plugins={"mine": Plugin()})),
        transaction.atomic(),
    ):
        Tag.objects.create(name="x")
        with pytest.raises(RuntimeError), transaction.atomic():
            Tag.objects.create(name="lost")
            raise RuntimeError
        assert told == []
    assert told == [("x", False)]


def test_a_worker_process_relays_and_stops_when_told(tmp_path):
    """A real process, on the database of this test."""
    for name in "abc":
        Tag.objects.create(name=name)
    environment = {
        **os.environ,
        "AUDIT_TEST_WORKER_DATABASE": json.dumps(
            {
                k: v
                for k, v in connection.settings_dict.items()
                if k in ("NAME", "ENGINE", "USER", "PASSWORD", "HOST", "PORT")
            },
            default=str,
        ),
        "DJANGO_SETTINGS_MODULE": "django_settings",
        "PYTHONPATH": str(Path(__file__).parent),
    }
    worker = subprocess.Popen(
        [sys.executable, "-m", "django", "audit", "relay"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while LogEntry.objects.count() < 3 and time.monotonic() < deadline and worker.poll() is None:
            time.sleep(0.05)  # another process: nothing here can be waited for
        Tag.objects.create(name="d")
        while LogEntry.objects.count() < 4 and time.monotonic() < deadline and worker.poll() is None:
            time.sleep(0.05)
        worker.send_signal(signal.SIGTERM)
        out, err = worker.communicate(timeout=30)
    finally:
        worker.kill()
    assert (worker.returncode, err) == (0, "")
    first, *_, last = map(json.loads, out.splitlines())
    assert (first["state"], first["trails"]) == ("started", ["default"])
    assert (last["state"], last["signal"]) == ("stopped", signal.SIGTERM)
    assert LogEntry.objects.count() == 4

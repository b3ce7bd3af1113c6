"""Processes that die and processes that fork. Names of tests that end in a number are those of the traps."""

import os
import signal
import sys

import pytest
import worker_process
from commands import run
from django.db import connection, connections, transaction
from django.test import Client
from django.urls import path
from testapp.models import Tag

from audit_django import backends, disabled
from audit_django.capture.transactions import state_of
from audit_django.models import AuditEvent, LogEntry, OutboxEntry
from audit_django.relay import get_relay

pytestmark = pytest.mark.django_db(transaction=True)

forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

# The callback is the first: it runs just after the COMMIT, before everything else that waits for it.
DYING = """
import os, signal, sys
import django
django.setup()
from django.db import transaction
from testapp.models import Tag
with transaction.atomic():
    transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL))
    tag = Tag.objects.create(name="x")
    tag.name = "y"
    tag.save()
"""


def test_a_crash_just_after_the_commit_loses_nothing_5():
    with worker_process.start(DYING) as process:
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert Tag.objects.get().name == "y"
    assert list(AuditEvent.objects.order_by("number").values_list("action", flat=True)) == [
        "create",
        "update",
    ]
    assert OutboxEntry.objects.count() == 2
    run("relay", "--once")  # whoever comes next
    assert (OutboxEntry.objects.count(), LogEntry.objects.count()) == (0, 2)


FORKING = """
import os, sys
import django
django.setup()
from django.db import connection, connections, transaction
from testapp.models import Tag

def child(work):
    pid = os.fork()
    if not pid:
        try:
            work()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

def in_autocommit():
    Tag.objects.create(name="of a child in autocommit")

def in_a_block():
    with transaction.atomic():
        Tag.objects.create(name="of a child in a block")
        with transaction.atomic():
            Tag.objects.update(name="updated")

Tag.objects.create(name="of the parent")
connections.close_all()  # as servers do before they fork
child(in_autocommit)
child(in_a_block)
"""


@forking
def test_a_forked_child_records_its_own_events_58():
    """From the first: with the connection objects that the parent has made."""
    with worker_process.start(FORKING) as process:
        assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0
    rows = AuditEvent.objects.order_by("number")
    assert [(row.action, row.event.target.repr) for row in rows] == [
        ("create", "of the parent"),
        ("create", "of a child in autocommit"),
        ("create", "of a child in a block"),
        *[("update", "updated")] * 3,
    ]


@forking
def test_a_forked_child_has_a_relay_and_clients_of_its_own_58(settings):
    settings.AUDIT = {"STORAGES": {"default": {"BACKEND": "database"}, "archive": {"BACKEND": "memory"}}}
    relay, archive = get_relay("default"), backends.storage("archive")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = int(get_relay("default") is relay or backends.storage("archive") is archive)
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (get_relay("default"), backends.storage("archive")) == (relay, archive)


def test_a_thread_has_none_of_the_events_of_another_58():
    from concurrent.futures import ThreadPoolExecutor

    def look():
        try:
            return len(list(state_of(connection).pending.entries()))
        finally:
            connections.close_all()

    with transaction.atomic():
        Tag.objects.create(name="x")
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(look).result() == 0
        assert len(list(state_of(connection).pending.entries())) == 1


UPDATING = """
import resource, sys
import django
django.setup()
from django.db.models import Value
from django.db.models.functions import Concat
from testapp.models import Tag
Tag.objects.filter(name="T-0").update(name="first")  # everything is imported
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert Tag.objects.update(name=Concat("name", Value("x"))) == 100_000
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(peak if sys.platform == "darwin" else peak * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform == "win32", reason="this system does not tell how much memory a process took"
)
def test_a_hundred_thousand_rows_are_not_held_in_memory_16():
    with disabled(reason="test data"):
        Tag.objects.bulk_create((Tag(name=f"T-{n}") for n in range(100_000)), batch_size=5000)
    with worker_process.start(UPDATING) as process:
        out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    assert AuditEvent.objects.filter(action="update").count() == 100_001
    assert int(out) < 60_000_000  # the events alone would be more than 200


def fail(request):
    Tag.objects.create(name="x")
    raise RuntimeError("on purpose")


urlpatterns = [path("fail/", fail)]


@pytest.mark.parametrize("atomic", [False, True])
def test_a_request_that_fails_7(atomic, settings, monkeypatch):
    """With ``ATOMIC_REQUESTS`` it leaves neither the change nor its event, without it both."""
    settings.ROOT_URLCONF = __name__
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", atomic)
    assert Client(raise_request_exception=False).get("/fail/").status_code == 500
    assert Tag.objects.count() == AuditEvent.objects.count() == (0 if atomic else 1)


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_after_a_commit_the_relay_of_that_alias_runs_6(settings):
    settings.AUDIT = {"STORAGES": {"default": {"BACKEND": "database"}, "archive": {"BACKEND": "memory"}},
                      "DATABASES": ["default", "other"]}  # fmt: skip
    with transaction.atomic():
        Tag.objects.create(name="here, later")
        with transaction.atomic(using="other"):
            Tag.objects.using("other").create(name="there")
        assert LogEntry.objects.using("other").count() == 1
        assert LogEntry.objects.count() == 0
    assert LogEntry.objects.count() == 1

"""The thread that queues the relay's task: coalesced, apart from every request, and never a way to lose events."""

import logging
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from django.db import transaction
from testapp.models import Tag

from audit_django.models import AuditEvent, LogEntry
from audit_django.relay import nudge as nudging
from audit_django.relay import task
from audit_django.relay.nudge import Nudger

WAIT = 30  # seconds, for what comes at once


class Queue:
    """A task queue that keeps what was published, and can be made to hang or to fail."""

    def __init__(self):
        self.published = queue.SimpleQueue()
        self.threads = set()
        self.open = threading.Event()
        self.open.set()
        self.error = None

    def publish(self, using):
        self.threads.add(threading.current_thread())
        self.published.put(using)
        assert self.open.wait(WAIT)
        if self.error:
            raise self.error

    def next(self):
        return self.published.get(timeout=WAIT)


def test_commits_during_a_call_are_covered_by_one_more():
    tasks = Queue()
    nudger = Nudger(tasks.publish, pause_seconds=0)
    tasks.open.clear()
    nudger.nudge("default")
    assert tasks.next() == "default"
    for _ in range(1000):
        nudger.nudge("default")
    nudger.nudge("other")
    tasks.open.set()
    assert nudger.flush(WAIT)
    assert {tasks.next(), tasks.next()} == {"default", "other"}
    assert tasks.published.empty()


def test_commits_during_the_pause_are_covered_by_one_more():
    tasks = Queue()
    nudger = Nudger(tasks.publish, pause_seconds=3600)
    nudger.nudge("default")
    assert tasks.next() == "default"
    for _ in range(1000):
        nudger.nudge("default")
    assert tasks.published.empty()
    assert nudger.flush(WAIT)
    assert tasks.next() == "default"
    assert tasks.published.empty()


def test_only_its_own_thread_publishes():
    tasks = Queue()
    nudger = Nudger(tasks.publish, pause_seconds=0)
    requests = [threading.Thread(target=nudger.nudge, args=("default",)) for _ in range(20)]
    for request in requests:
        request.start()
    for request in requests:
        request.join(WAIT)
    assert nudger.flush(WAIT)
    [thread] = tasks.threads
    assert thread.name == "audit-nudge"
    assert thread.daemon


def test_flush_does_not_wait_for_a_black_hole():
    tasks = Queue()
    nudger = Nudger(tasks.publish, pause_seconds=0)
    tasks.open.clear()
    nudger.nudge("default")
    tasks.next()
    assert not nudger.flush(0.01)
    tasks.open.set()
    assert nudger.flush(WAIT)


def test_a_failure_is_logged_once_and_without_its_words(caplog):
    tasks = Queue()
    nudger = Nudger(tasks.publish, pause_seconds=0)

    def nudge():
        nudger.nudge("default")
        assert nudger.flush(WAIT)

    try:
        raise OSError("amqp://user:swordfish@broker:5672 refused")
    except OSError as error:
        tasks.error = RuntimeError("amqp://user:swordfish@broker:5672 is down")
        tasks.error.__cause__ = error
    for _ in range(3):
        nudge()
    [record] = caplog.records
    assert record.name == "audit.relay"
    assert "cannot be queued (RuntimeError from OSError). Nothing is lost" in record.getMessage()
    assert "swordfish" not in caplog.text
    assert "Traceback" not in caplog.text

    tasks.error = None
    nudge()
    tasks.error = ValueError()
    nudge()
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


def test_a_thread_that_cannot_be_started_is_tried_again(caplog, monkeypatch, settings):
    settings.AUDIT = {"RELAY": "celery"}
    tasks = Queue()
    nudger = Nudger(tasks.publish)
    monkeypatch.setattr(nudging, "nudger", nudger)

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", refuse)
        nudging.nudge("default")
    assert "Nothing is lost" in caplog.text
    nudging.nudge("default")
    assert tasks.next() == "default"


FORK = """
import os
import threading
import django
django.setup()
from audit_django.relay.nudge import nudger

def publish(using):
    os.write(1, f"{name} {using}\\n".encode())
    published.set()

nudger._publish = publish
nudger._pause_seconds = 3600
name = "parent"
published = threading.Event()
nudger.nudge("first")
published.wait(30)
nudger.nudge("second")  # waits out the pause, and is none of the child's business
child = os.fork()
if child == 0:
    name = "child"
    nudger.nudge("third")
    nudger.flush(30)
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_has_a_thread_of_its_own_and_the_last_nudge_goes_out_at_the_end():
    """A fork as gunicorn with preloading and Celery's own workers do it."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK]
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "django_settings",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
    }
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WAIT, check=False)
    assert (run.stdout, run.stderr) == ("parent first\nchild third\nparent second\n", "")


@pytest.fixture
def nudged(monkeypatch):
    """The aliases that a commit nudges."""
    aliases = []
    monkeypatch.setattr(nudging.nudger, "nudge", aliases.append)
    return aliases


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize("relay", ["celery", "tasks"])
def test_a_commit_nudges(nudged, settings, relay):
    settings.AUDIT = {"RELAY": relay}
    with transaction.atomic():
        Tag.objects.create(name="x")
        assert nudged == []
    assert nudged == ["default"]
    with pytest.raises(RuntimeError), transaction.atomic():
        Tag.objects.create(name="y")
        raise RuntimeError
    Tag.objects.using("other").create(name="of a database that is not relayed")
    assert nudged == ["default"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("relay", ["inline", "worker"])
def test_other_relays_are_not_nudged(nudged, settings, relay):
    settings.AUDIT = {"RELAY": relay}
    Tag.objects.create(name="x")
    assert nudged == []


@pytest.mark.django_db(transaction=True)
def test_the_task_relays_every_database_of_the_settings(nudged, settings):
    settings.AUDIT = {"RELAY": "celery"}
    Tag.objects.create(name="x")
    nudged.clear()
    task.run()
    assert LogEntry.objects.count() == AuditEvent.objects.count() == 1
    assert nudged == []  # nothing is left


@pytest.mark.django_db(transaction=True)
def test_a_task_whose_time_was_too_short_asks_for_another(nudged, settings, monkeypatch):
    settings.AUDIT = {"RELAY": "celery"}
    Tag.objects.create(name="x")
    nudged.clear()
    monkeypatch.setattr(task, "BUDGET_SECONDS", 1e-9)
    task.run("default")
    assert LogEntry.objects.count() == 0
    assert nudged == ["default"]

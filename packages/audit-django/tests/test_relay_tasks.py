"""The relay as a task of django.tasks, with the two backends that Django brings."""

import django
import pytest
from testapp.models import Tag

from audit_core.query import EventQuery
from audit_django import backends
from audit_django.models import LogEntry, OutboxEntry
from audit_django.relay.nudge import nudger

if django.VERSION >= (6, 0):
    from django.tasks.backends.dummy import DummyBackend
    from django.tasks.signals import task_enqueued

    from audit_django.relay import django_tasks
else:
    DummyBackend = object

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(django.VERSION < (6, 0), reason="django.tasks comes with Django 6.0"),
]

WAIT = 30  # seconds, for what comes at once


@pytest.fixture(autouse=True)
def relayed_by_tasks(settings):
    settings.AUDIT = {
        "RELAY": "tasks",
        "STORAGES": {"default": {"BACKEND": "database"}, "archive": {"BACKEND": "memory"}},
    }
    yield
    assert nudger.flush(WAIT)  # nothing of this test reaches the next one's database


@pytest.fixture
def enqueued():
    """The tasks that were put into a queue; a backend keeps them for the thread alone that put them there."""
    results = []

    def keep(task_result, **kwargs):
        results.append((task_result.task.module_path, *task_result.args))

    task_enqueued.connect(keep)
    yield results
    task_enqueued.disconnect(keep)


def test_a_commit_queues_the_task(settings, enqueued):
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}}
    Tag.objects.create(name="x")
    assert nudger.flush(WAIT)
    assert enqueued == [("audit_django.relay.django_tasks.relay", "default")]
    assert OutboxEntry.objects.count() == 1

    django_tasks.relay.call("default")
    assert OutboxEntry.objects.count() == 0


def test_the_task_delivers(settings):
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
    Tag.objects.create(name="x")
    assert nudger.flush(WAIT)
    [recorded] = backends.storage("archive").search(EventQuery()).events
    assert (recorded.seq, recorded.event.target.repr) == (1, "x")
    assert LogEntry.objects.count() == 1


class Broken(DummyBackend):
    def enqueue(self, task, args, kwargs):
        raise OSError("no")


def test_a_backend_that_fails_costs_no_request(settings, caplog):
    settings.TASKS = {"default": {"BACKEND": f"{__name__}.Broken"}}
    Tag.objects.create(name="x")
    assert nudger.flush(WAIT)
    Tag.objects.create(name="y")
    assert nudger.flush(WAIT)
    [record] = caplog.records
    assert "cannot be queued (OSError)" in record.getMessage()
    assert OutboxEntry.objects.count() == 2

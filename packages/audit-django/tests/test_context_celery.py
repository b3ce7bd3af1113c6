"""A Celery task carries the actor who caused it: real workers, real brokers, in processes as users have them."""

import json
import os
import subprocess
import sys

import pytest
from django.contrib.auth.models import User
from test_relay_celery import Process, Project

from audit_core.context import audit_context, current
from audit_core.event import Actor
from audit_django.context.travel import HEADER, MAX_CHARACTERS, arrival, departure
from audit_django.models import AuditEvent

pytest.importorskip("celery", reason="Celery is not installed")
pytestmark = pytest.mark.django_db(transaction=True)

CAUSE = """
import django
django.setup()
from django.contrib.auth.models import User
from audit_django import audit_context
from context_celery_project import *
alice = User.objects.get(username="alice")
with audit_context(
    actor=alice, on_behalf_of="bob", tenant="northwind", reason="yearly renewal", request_id="req-42",
    traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", ip="203.0.113.9", secret="swordfish",
):
    CALL
"""

FORGE = """
import django
django.setup()
from context_celery_project import *
for header in ["x", [1], {"actor": 7}, {"actor": {"id": "x" * 10_000}, "reason": {}}, {"version": 99}, None]:
    simple.apply_async(headers={"audit_context": header})
"""


class Caused(Project):
    """A project whose tasks are caused by Alice, in a process of its own."""

    def __init__(self, broker, folder):
        super().__init__(broker, 0, folder)
        self.environment |= {
            "DJANGO_SETTINGS_MODULE": "context_celery_project",
            "AUDIT_TEST_RESULTS": os.environ["AUDIT_TEST_REDIS"],
            "AUDIT_TEST_AUDIT": json.dumps({"RELAY": "worker"}),
        }

    def cause(self, call):
        self.run("-c", CAUSE.replace("CALL", call))

    def worker(self, *options):
        command = [sys.executable, "-m", "celery", "-A", "context_celery_project", "worker", "-l", "WARNING"]
        alone = [
            "--without-mingle",
            "--without-gossip",
            "-n",
            self.queue,
        ]  # beside other workers of this host
        return Process([*command, *alone, "-Q", self.queue, *(options or ("-P", "solo"))], self.environment)

    def work(self, number, *options):
        """Let a worker run until this many events are there; them, oldest first."""
        with self.worker(*options) as worker:
            worker.wait_until(lambda: len(self.worked()) >= number)
        assert "Signal handler" not in worker.output, worker.output
        events = self.worked()
        assert len(events) == number
        return events

    def worked(self):
        rows = AuditEvent.objects.filter(action="worked").order_by("number")
        return [json.loads(text) for text in rows.values_list("text", flat=True)]


@pytest.fixture
def project(request, tmp_path):
    """A project on a real broker, Redis unless the test says which, its results in Redis."""
    broker = getattr(request, "param", "AUDIT_TEST_REDIS")
    for variable in (broker, "AUDIT_TEST_REDIS"):
        if variable not in os.environ:
            pytest.skip(f"needs a server, named by {variable}")
    project = Caused(os.environ[broker], tmp_path)
    yield project
    project.remove_queue()


@pytest.fixture
def alice(db):
    return User.objects.create_user("alice", "alice@example.com", first_name="Alice", last_name="Ames")


def names(events):
    return [(event["extra"]["task"], event["context"]["source"], event["actor"]["repr"]) for event in events]


on_both_brokers = pytest.mark.parametrize(
    "project", ["AUDIT_TEST_REDIS", "AUDIT_TEST_RABBITMQ"], indirect=True
)


@pytest.mark.integration
@pytest.mark.slow
class TestWorkers:
    @on_both_brokers
    def test_what_travels_34(self, project, alice):
        project.cause("simple.delay()")
        [event] = project.work(1)
        assert event["actor"] == {
            "id": str(alice.pk),
            "type": "user",
            "username": "alice",
            "repr": "Alice Ames",
        }
        assert event["on_behalf_of"] == {"type": "user", "username": "bob", "repr": "bob"}
        assert (event["tenant"], event["reason"]) == ("northwind", "yearly renewal")
        assert event["context"] == {
            "request_id": "req-42",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "source": "task:simple",
        }
        assert event["extra"] == {"task": "simple"}

    @on_both_brokers
    def test_message_protocol_1_34(self, project, alice):
        project.environment["AUDIT_TEST_TASK_PROTOCOL"] = "1"
        project.cause("simple.delay()")
        assert names(project.work(1)) == [("simple", "task:simple", "Alice Ames")]

    def test_retries_and_what_handles_the_failure_34(self, project, alice):
        project.cause("failing.apply_async(link_error=audit_error.si())")
        assert names(project.work(4)) == [
            ("failing 0", "task:failing", "Alice Ames"),
            ("failing 1", "task:failing", "Alice Ames"),
            ("failing 2", "task:failing", "Alice Ames"),
            ("audit_error", "task:failing", "Alice Ames"),  # Celery calls it as a part of what failed
        ]

    def test_a_later_task_and_one_that_queues_another_34(self, project, alice):
        project.cause("simple.apply_async(countdown=0.5); nested.delay()")
        assert sorted(names(project.work(3))) == [
            ("nested", "task:nested", "Alice Ames"),
            ("simple", "task:simple", "Alice Ames"),
            ("simple", "task:simple", "Alice Ames"),
        ]

    @on_both_brokers
    def test_chains_groups_and_chords_34(self, project, alice):
        project.cause(
            "(simple.s() | body.s()).delay();"
            "group(member.s(), member.s()).delay();"
            "(group(member.s(), member.s()) | body.s()).delay();"
            "replaced.delay()"
        )
        events = names(project.work(10))
        assert {actor for _, _, actor in events} == {"Alice Ames"}
        assert sorted(task for task, _, _ in events) == [*["body"] * 3, *["member"] * 6, "simple"]

    def test_a_task_inside_a_task_gives_the_name_back_34(self, project, alice):
        project.cause("eager.delay()")
        assert names(project.work(2)) == [
            ("simple", "task:simple", "Alice Ames"),
            ("eager", "task:eager", "Alice Ames"),
        ]

    def test_a_second_delivery_34(self, project, alice):
        """The worker's process died; its message comes again, with what it carried."""
        project.cause("dies.delay()")
        [event] = project.work(1, "-c", "1")
        assert event["actor"]["username"] == "alice"

    @pytest.mark.parametrize("pool", ["prefork", "threads"])
    def test_nothing_stays_in_the_process_for_the_next_task_34(self, project, alice, pool):
        project.cause("simple.delay()")
        project.run("-m", "celery", "-A", "context_celery_project", "call", "body")
        events = project.work(2, "-P", pool, "-c", "1")
        body = next(event for event in events if event["extra"]["task"] == "body")
        assert body["actor"] == {"type": "task", "repr": "body"}
        assert body["context"] == {"source": "task:body"}
        assert "reason" not in body

    @on_both_brokers
    def test_a_header_that_is_none_breaks_no_task_34(self, project):
        project.run("-c", FORGE)
        for event in project.work(6):
            assert event["actor"] == {"type": "task", "repr": "simple"}
            assert event["context"] == {"source": "task:simple"}

    @on_both_brokers
    def test_long_texts_and_broken_ones_are_carried_34(self, project, alice):
        project.cause(
            "\n    with audit_context(reason='x' * 1_000_000, tenant='a\\ud800\\x00'): simple.delay()"
        )
        [event] = project.work(1)
        assert event["reason"] == "x" * (MAX_CHARACTERS - 1) + "…"
        assert event["tenant"] == "a\\ud800\\u0000"


class TestTravel:
    @pytest.fixture
    def sent(self):
        """Sends a task to a broker in memory; what it took along."""
        from celery import Celery
        from celery.signals import before_task_publish

        taken = []

        def take(headers, **kwargs):
            taken.append(headers.get(HEADER))

        before_task_publish.connect(take)  # after ours
        app = Celery(broker="memory://", set_as_current=False)
        yield lambda name: app.send_task(name) and taken.pop()
        before_task_publish.disconnect(take)

    def test_an_actor_that_cannot_be_named_keeps_no_task_from_being_sent_34(self, sent, caplog):
        with audit_context(actor=lambda: 1 / 0):
            assert sent("simple") is None
        assert "ZeroDivisionError" in caplog.text

    def test_the_relay_takes_nothing_along(self, sent):
        with audit_context(actor="alice"):
            assert sent("simple")["actor"]["username"] == "alice"
            assert sent("audit.relay") is None

    def test_arrival_names_everything(self):
        assert set(arrival(None).values()) == {None}

    def test_what_departs_arrives(self):
        with audit_context(actor={"id": 7, "email": "a@example.com"}, tenant=lambda: "northwind"):
            header = departure()
        assert header == {"actor": {"id": "7", "type": "user"}, "tenant": "northwind"}
        assert arrival(header)["actor"] == Actor(id="7")

    def test_nobody_takes_nothing_along(self):
        assert departure() == {}

    def test_a_user_that_nobody_has_loaded_yet_in_an_event_loop_34(self, alice):
        """`task.delay()` in an async view: the query cannot run in the loop's thread."""
        from asgiref.sync import async_to_sync
        from django.utils.functional import SimpleLazyObject

        async def view():
            with audit_context(actor=SimpleLazyObject(lambda: User.objects.get(username="alice"))):
                return departure()

        assert async_to_sync(view)()["actor"]["username"] == "alice"


class TestEager:
    """`apply()` and CELERY_TASK_ALWAYS_EAGER run in the context of who calls."""

    @pytest.fixture
    def task(self):
        from celery import Celery

        @Celery(set_as_current=False).task(name="eager.task")
        def scope(fail=False):
            if fail:
                raise ValueError("on purpose")
            actor = current().actor
            return current().context.source, actor() if callable(actor) else actor, current().reason

        return scope

    def test_the_actor_stays_and_the_source_is_the_task_34(self, task):
        with audit_context(actor="alice", reason="renewal", source="request"):
            assert task.apply().get() == ("task:eager.task", "alice", "renewal")
            assert current().context.source == "request"

    def test_nobody_caused_it_34(self, task):
        assert task.apply().get() == ("task:eager.task", Actor(type="task", repr="eager.task"), None)

    def test_nothing_stays_after_a_failure_31(self, task):
        task.apply(kwargs={"fail": True})
        assert current().context.source is None


USES = """
import sys
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "audit_django"], AUDIT={})
django.setup()
from audit_django import audit_context
assert not [name for name in sys.modules if name.partition(".")[0] in ("celery", "kombu", "rest_framework")], sys.modules
from audit_django.context import celery as ours
ours.install()
from celery import Celery
from celery.signals import before_task_publish, task_postrun, task_prerun
assert [len(s.receivers) for s in (before_task_publish, task_prerun, task_postrun)] == [1, 1, 1]
assert not [finder for finder in sys.meta_path if getattr(finder, "name", "") == "celery.signals"]
ours.install()
assert len(task_prerun.receivers) == 1
"""


def test_celery_is_not_imported_and_found_when_it_is_later_34():
    run = subprocess.run(
        [sys.executable, "-c", USES], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr

"""Management commands, the shell, migrations and Django's own tasks: the source, and who acts."""

import getpass
import sys

import django
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.module_loading import import_string
from testapp.models import Tag

from audit_core.context import audit_context, current
from audit_core.event import Actor
from audit_core.summarizers.grammar import GrammarSummarizer
from audit_django import record
from audit_django.middleware import AuditMiddleware
from audit_django.testing import captured_events

pytestmark = pytest.mark.django_db


class RenewPolicies(BaseCommand):
    def handle(self, *args, **options):
        Tag.objects.create(name="renewed")
        record("counted")


class Outer(BaseCommand):
    def handle(self, *args, **options):
        call_command(RenewPolicies())


class Failing(BaseCommand):
    def handle(self, *args, **options):
        raise CommandError("on purpose")


RenewPolicies.__module__ = "policies.management.commands.renew_policies"
Outer.__module__ = "policies.management.commands.outer"


@pytest.fixture(autouse=True)
def account(monkeypatch):
    """Who runs this on every machine."""
    monkeypatch.setattr(getpass, "getuser", lambda: "deploy")


def sentence(event):
    return GrammarSummarizer().summarize([event], "en")[0]


def test_a_command_tells_which_account_ran_it_23():
    with captured_events() as events:
        call_command(RenewPolicies())
    event = events.one("create")
    assert event.actor == Actor(type="command", username="deploy", repr="renew_policies")
    assert event.context.source == "command:renew_policies"
    assert sentence(event).startswith("The command `renew_policies` created tag renewed")


def test_who_is_named_stays_the_actor():
    with captured_events() as events, audit_context(actor="alice"):
        call_command(RenewPolicies())
    assert events.one("create").actor.username == "alice"
    assert events.one("create").context.source == "command:renew_policies"


def test_a_command_of_a_command_is_a_part_of_it():
    with captured_events() as events:
        call_command(Outer())
    assert events.one("create").context.source == "command:outer"
    assert events.one("create").actor.repr == "outer"


def test_nothing_stays_after_a_command_31():
    call_command(RenewPolicies())
    assert current().context.source is None
    with pytest.raises(CommandError):
        call_command(Failing())
    assert (current().actor, current().context.source) == (None, None)


def test_a_command_in_a_request_is_a_part_of_it():
    request = RequestFactory().get("/renew/")
    request.user = User.objects.create_user("alice")

    def view(request):
        call_command(RenewPolicies())
        return HttpResponse()

    with captured_events() as events:
        AuditMiddleware(view)(request)
    event = events.one("create")
    assert (event.actor.username, event.context.source, event.context.path) == ("alice", "request", "/renew/")


@pytest.mark.parametrize("error", [KeyError, OSError, ImportError])
def test_an_account_without_a_name(monkeypatch, error):
    """A container that runs under a number, and has no entry for it in passwd."""

    def getuser():
        raise error("uid not found: 1001")

    monkeypatch.setattr(getpass, "getuser", getuser)
    with captured_events() as events:
        call_command(RenewPolicies())
        call_command("shell", command="from audit_django import record; record('looked')")
    assert events.one("create").actor == Actor(type="command", repr="renew_policies")
    assert events.one("looked").actor == Actor(type="command", repr="shell")


def test_the_account_is_asked_for_once_and_only_to_record(monkeypatch):
    asked = []
    monkeypatch.setattr(getpass, "getuser", lambda: asked.append(1) or "deploy")
    call_command("diffsettings")
    assert asked == []
    call_command(Outer())  # two events
    assert asked == [1]


def test_in_a_shell_the_account_acts_23():
    with captured_events() as events:
        call_command("shell", command="from testapp.models import Tag; Tag.objects.create(name='x')")
    event = events.one("create")
    assert event.actor == Actor(type="os_user", username="deploy", repr="deploy")
    assert event.context.source == "shell"
    assert sentence(event).startswith("deploy created tag x")


def who():
    return "alice"


def test_who_the_application_names_runs_it(settings):
    settings.AUDIT = {"ACTOR_RESOLVER": f"{__name__}.who"}
    with captured_events() as events:
        call_command(RenewPolicies())
    assert (events.one("create").actor.username, events.one("create").context.source) == (
        "alice",
        "command:renew_policies",
    )


@pytest.mark.django_db(transaction=True)  # SQLite changes no schema inside a transaction
def test_a_migration(settings, tmp_path, monkeypatch):
    """What RunPython does to data."""
    migrations = tmp_path / "renewals" / "migrations"
    migrations.mkdir(parents=True)
    (tmp_path / "renewals" / "__init__.py").write_text("")
    (migrations / "__init__.py").write_text("")
    (migrations / "0001_initial.py").write_text(
        "from django.db import migrations\n"
        "from audit_django import record\n"
        "def renew(apps, schema_editor):\n"
        "    record('migrated')\n"
        "class Migration(migrations.Migration):\n"
        "    operations = [migrations.RunPython(renew)]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "renewals"]
    with captured_events() as events:
        call_command("migrate", "renewals", verbosity=0)
    event = events.one("migrated")
    assert event.context.source == "migration"
    assert event.actor == Actor(type="command", username="deploy", repr="migrate")
    for name in [name for name in sys.modules if name.partition(".")[0] == "renewals"]:
        del sys.modules[name]


@pytest.mark.skipif(django.VERSION < (6, 0), reason="django.tasks comes with Django 6.0")
class TestDjangosTasks:
    """The backend that Django brings for development runs a task at once, in the context of who queues it."""

    @pytest.fixture
    def work(self, settings):
        settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
        return import_string("django.tasks.task")(_work)

    def test_the_actor_stays_and_the_source_is_the_task(self, work):
        with captured_events() as events, audit_context(actor="alice", source="request"):
            work.enqueue()
            assert current().context.source == "request"
        event = events.one("worked")
        assert (event.actor.username, event.context.source) == ("alice", f"task:{__name__}._work")

    def test_nobody_queued_it(self, work):
        with captured_events() as events:
            work.enqueue()
        assert events.one("worked").actor == Actor(type="task", repr=f"{__name__}._work")

    def test_nothing_stays_after_a_failure_31(self, work):
        assert work.enqueue(fail=True).status == "FAILED"
        assert (current().actor, current().context.source) == (None, None)


def _work(fail=False):
    if fail:
        raise ValueError("on purpose")
    record("worked")

"""A user model of the project's own (trap 23). It is chosen once for all, so the project runs in a process of its own."""

import json
import os
import subprocess
import sys
import uuid

MODELS = """
import uuid
from django.contrib.auth.models import AbstractUser
from django.db import models

class Person(AbstractUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)

class Task(models.Model):
    name = models.CharField(max_length=10)
    owner = models.ForeignKey(Person, models.CASCADE, null=True)
"""

PROJECT = """
import json
from django.conf import settings
settings.configure(
    SECRET_KEY="only for tests", USE_TZ=True, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], AUTH_USER_MODEL="people.Person",
    AUDIT={"MODELS": "all"}, DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions", "people", "audit_django"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware", "audit_django.middleware.AuditMiddleware"],
)
import django
django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from audit_django.models import AuditEvent
from people.models import Task

def index(request):
    task = Task.objects.create(name="a", owner=request.user if request.user.is_authenticated else None)
    task.name = "b"
    task.save()
    return HttpResponse()

urlpatterns = [path("", index)]
call_command("migrate", run_syncdb=True, verbosity=0)
alice = get_user_model().objects.create_user("alice", password="secret")
client = Client()
client.get("/")
assert client.login(username="alice", password="secret")
client.get("/")
key = alice.pk
alice.delete()
rows = AuditEvent.objects.filter(target_type="people.Task") | AuditEvent.objects.filter(action="login")
events = [json.loads(row.text) for row in rows.order_by("number")]
print(json.dumps([str(key), events, AuditEvent.objects.filter(actor_id=key).count()]))
"""


def test_a_swapped_user_model_with_a_uuid_23(tmp_path):
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "__init__.py").write_text("")
    (tmp_path / "people" / "models.py").write_text(MODELS)
    run = subprocess.run(
        [sys.executable, "-c", PROJECT],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    key, events, found = json.loads(run.stdout)
    assert uuid.UUID(key)
    actors = [event.get("actor", {}) for event in events]
    told = [
        (event["action"], actor.get("type"), actor.get("id"))
        for event, actor in zip(events, actors, strict=True)
    ]
    assert told == [
        *[(action, "anonymous", None) for action in ("create", "update")],
        *[(action, "user", key) for action in ("login", "create", "update")],
        ("delete", None, None),
    ]
    assert events[3]["diff"]["owner"]["after"]["pk"] == key
    assert found >= 3

"""An application's own tests, run by Django's runner, one after the other and in parallel (trap 54)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection
from testapp.models import Customer, Policy, Tag

from audit_django.models import AuditEvent
from audit_django.testing import captured_events

FOLDER = Path(__file__).parent
FLUSHED = ["InATransaction", "Committed", "WithoutTheTrail", "WithTheTrail"]
RESTORED = ["SerializedRollback"]  # apart, as Django restores only where nobody else has flushed

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.slow
@pytest.mark.parametrize("models", ["registered", "all"])
@pytest.mark.parametrize(
    ("cases", "processes"), [(FLUSHED, 1), (FLUSHED, 2), (RESTORED, 1)], ids=["one", "parallel", "restored"]
)
def test_the_tests_of_an_application_54(cases, processes, models, tmp_path):
    """Every kind of test case, in a database of the runner's own and in copies that it makes for its processes."""
    settings = f"from django_settings import *\nAUDIT = {{'MODELS': {models!r}}}\n"
    if (
        connection.vendor == "sqlite"
    ):  # in memory, as Django does by default: it copies no file that has a WAL
        settings += "DATABASES = {name: {'ENGINE': 'django.db.backends.sqlite3'} for name in DATABASES}\n"
    (tmp_path / "application_settings.py").write_text(settings)
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "application_settings",
        "PYTHONPATH": f"{FOLDER}{os.pathsep}{tmp_path}",
    }
    labels = [f"application_tests.{case}" for case in cases]
    run = subprocess.run(
        [sys.executable, "-Wa", "-m", "django", "test", "--noinput", "--parallel", str(processes), *labels],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert ("Cloning test database" in run.stderr + run.stdout) == (processes > 1)


def test_a_database_that_is_put_back_has_the_events_that_it_had_54():
    """What ``serialized_rollback`` does, with rows in every table. That it was done is recorded, as ``loaddata`` is."""
    policy = Policy.objects.create(
        number="P", customer=Customer.objects.create(name="Jane", ssn="078-05-1120")
    )
    policy.tags.add(Tag.objects.create(name="a"))
    trail = list(AuditEvent.objects.order_by("number").values_list("number", "event_id", "text"))
    serialized = connection.creation.serialize_db_to_string()
    call_command("flush", interactive=False, verbosity=0, inhibit_post_migrate=True, reset_sequences=False)
    assert not AuditEvent.objects.exists()
    connection.creation.deserialize_db_from_string(serialized)
    assert [tag.name for tag in Policy.objects.get().tags.all()] == ["a"]
    assert set(trail) <= set(AuditEvent.objects.values_list("number", "event_id", "text"))
    with captured_events() as events:
        Policy.objects.update(number="Q")
    events.one("update", Policy)

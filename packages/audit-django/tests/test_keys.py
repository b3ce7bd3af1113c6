"""The data keys as an operator knows them: rotation, lists, exports, destruction."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from commands import run
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, connections
from testapp.models import Customer

from audit_core import audit_context
from audit_core.privacy.errors import KeyDestroyed
from audit_core.privacy.keyring import MemoryKeyring
from audit_core.privacy.keys import Scope, Secrets
from audit_core.privacy.sealing import unseal
from audit_core.privacy.table import BATCH, rotate
from audit_django.checks import check_databases
from audit_django.models import AuditEvent, DataKey
from audit_django.privacy.keyring import DjangoKeyring
from audit_django.privacy.table import DjangoKeyTable

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

OLD, NEW = "o" * 32, "n" * 32
OLD_ID, NEW_ID = Secrets([OLD, NEW]).ids
SSN = "078-05-1120"


@pytest.fixture(autouse=True)
def old(settings):
    settings.AUDIT = {"SENSITIVE_KEYS": [OLD]}


@pytest.fixture
def rotating(settings):
    """The settings with which keys are rotated."""

    def change():
        settings.AUDIT = {"SENSITIVE_KEYS": [NEW, OLD]}

    return change


def create(tenant=None):
    with audit_context(tenant=tenant):
        Customer.objects.create(name="Jane Doe", ssn=SSN)
    return events("create")[-1]


def events(action):
    return list(AuditEvent.objects.filter(action=action).order_by("number"))


def make_keys(count):
    secrets = Secrets([OLD])
    rows = [DataKey.of(secrets.new_key(Scope(f"tenant-{number}"))[1]) for number in range(count)]
    DataKey.objects.bulk_create(rows)


def wrapped_by():
    return sorted(DataKey.objects.values_list("wrapped_by", flat=True), key=str)


class TestRotation:
    def test_every_key_is_rewrapped_and_no_event_is_touched(self, rotating, settings):
        row = create("acme")
        create("beta")
        before = AuditEvent.objects.order_by("number").values_list("number", "text", "search")
        before = list(before)
        rotating()
        code, out, _ = run("rotate-keys")
        assert (code, wrapped_by()) == (0, [NEW_ID, NEW_ID])
        assert f"default: 2 data keys are wrapped with the secret {NEW_ID} now." in out
        assert (
            list(AuditEvent.objects.order_by("number").values_list("number", "text", "search")[:2]) == before
        )
        settings.AUDIT = {"SENSITIVE_KEYS": [NEW]}
        assert unseal(row.event, "ssn", "after", DjangoKeyring("default")) == SSN
        assert events("rotate_keys")[0].event.extra == {"rewrapped": 2, "secret": NEW_ID}

    def test_a_dry_run_says_how_many(self, rotating):
        create()
        rotating()
        code, out, _ = run("rotate-keys", "--dry-run", "--database", "default")
        assert (code, wrapped_by()) == (0, [OLD_ID])
        assert out == f"default: 1 data keys are wrapped with another secret than {NEW_ID}.\n"

    def test_done_twice_nothing_is_done(self, rotating):
        create()
        rotating()
        run("rotate-keys")
        first = list(DataKey.objects.values_list("wrapped", flat=True))
        code, out, _ = run("rotate-keys")
        assert code == 0
        assert "default: 0 data keys" in out
        assert list(DataKey.objects.values_list("wrapped", flat=True)) == first
        assert len(events("rotate_keys")) == 1

    def test_a_secret_that_is_not_there_stops_no_other_key(self, settings):
        create("acme")
        settings.AUDIT = {"SENSITIVE_KEYS": ["x" * 32]}
        create("beta")
        settings.AUDIT = {"SENSITIVE_KEYS": [NEW, "x" * 32]}
        code, out, _ = run("rotate-keys")
        assert (code, wrapped_by()) == (1, sorted([OLD_ID, NEW_ID]))
        assert f"wrapped with the secret {OLD_ID}, which SENSITIVE_KEYS does not have" in out

    def test_without_secrets_it_says_so(self, settings):
        settings.AUDIT = {}
        code, _, err = run("rotate-keys")
        assert code == 2
        assert "SENSITIVE_KEYS is empty" in err

    def test_a_key_that_is_destroyed_meanwhile_stays_destroyed(self, rotating):
        create()
        rotating()
        table = DjangoKeyTable("default")
        [key] = table.outdated(NEW_ID, None, 10)
        table.destroy([key.id])
        table.replace([table.secrets.rewrap(key)])
        assert wrapped_by() == [None]

    def test_writers_go_on_meanwhile(self, rotating):
        rows = [create("acme")]
        make_keys(BATCH)
        rotating()
        progress = []

        def write(count):
            progress.append(count)
            rows.extend([create("acme"), create(f"new {len(progress)}")])

        rotation = rotate(DjangoKeyTable("default"), write)
        assert (rotation.rewrapped, progress) == (BATCH + 1, [BATCH, 1])
        assert set(wrapped_by()) == {NEW_ID}
        assert [unseal(row.event, "ssn", "after", DjangoKeyring("default")) for row in rows] == [SSN] * 5

    def test_a_process_that_has_the_old_settings_is_found(self, rotating, monkeypatch):
        create()
        rotating()
        replace = DjangoKeyTable.replace

        def interrupted(table, keys):
            """Its clock is late, so its key is behind those that were looked at."""
            replace(table, keys)
            row = DataKey.of(Secrets([OLD]).new_key(Scope("acme"))[1])
            row.pk = uuid.UUID(int=1)
            row.save(force_insert=True)

        monkeypatch.setattr(DjangoKeyTable, "replace", interrupted)
        code, out, _ = run("rotate-keys", "--database", "default")
        assert (code, wrapped_by()) == (1, [OLD_ID, NEW_ID])
        assert "1 data keys were made with another secret meanwhile" in out
        assert "call it again" in out

    def test_killed_in_the_middle_it_goes_on(self, rotating):
        row = create("acme")
        make_keys(2 * BATCH)
        finished = worker("rotate_until_killed")
        assert finished.returncode == -signal.SIGKILL, finished.stderr
        done = wrapped_by().count(NEW_ID)
        assert done == BATCH
        rotating()
        progress = []
        rotation = rotate(DjangoKeyTable("default"), progress.append)
        assert (rotation.rewrapped, rotation.failures) == (BATCH + 1, [])
        assert progress == [BATCH, 1]
        assert set(wrapped_by()) == {NEW_ID}
        assert unseal(row.event, "ssn", "after", DjangoKeyring("default")) == SSN


def worker(function):
    """Call a function of this file in a process of its own, on the database of this test."""
    names = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT")
    database = {name: connection.settings_dict[name] for name in names if name in connection.settings_dict}
    here = Path(__file__)
    return subprocess.run(
        [sys.executable, "-c", f"import django; django.setup(); import {here.stem} as it; it.{function}()"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "django_settings",
            "PYTHONPATH": str(here.parent),
            "AUDIT_TEST_WORKER_DATABASE": json.dumps(database, default=str),
        },
    )


def rotate_until_killed():
    from django.test import override_settings

    with override_settings(AUDIT={"SENSITIVE_KEYS": [NEW, OLD]}):
        rotate(DjangoKeyTable("default"), lambda count: os.kill(os.getpid(), signal.SIGKILL))


class TestCommands:
    def test_keys_are_listed_and_not_shown(self):
        create("acme")
        create()
        code, out, _ = run("keys", "list", "--tenant", "acme", "--json")
        [found] = json.loads(out)
        assert (code, found["tenant"], found["wrapped_by"], found["wrapped"]) == (0, "acme", OLD_ID, True)
        _, out, _ = run("keys", "list")
        assert len(out.splitlines()) == 3
        assert run("keys", "list", "--tenant", "nobody")[1] == "There are no data keys.\n"

    def test_an_export_opens_values_elsewhere_and_is_recorded(self, tmp_path):
        row = create("acme")
        file = tmp_path / "keyring.json"
        code, out, _ = run("keys", "export", "--output", str(file))
        assert (code, out) == (0, f"1 keys are in {file}.\n")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        keyring = MemoryKeyring.load(file.read_text(), Secrets([OLD]))
        assert unseal(row.event, "ssn", "after", keyring) == SSN
        assert events("export_keys")[0].event.extra == {"keys": 1}
        assert run("keys", "export", "--output", str(file))[0] == 2
        assert run("keys", "export", "--tenant", "acme")[1] == file.read_text() + "\n"

    def test_the_program_of_the_guide_opens_them_without_django(self, tmp_path):
        row = create("acme")
        run("keys", "export", "--output", str(tmp_path / "keyring.json"))
        guide = (Path(__file__).parents[3] / "docs/howto/rotate-keys.md").read_text()
        [program] = re.findall(r"```python\n(import os\n.*?)```", guide, re.DOTALL)
        lines = program.strip().splitlines()
        lines[-1] = f"print({lines[-1]}, 'django' in sys.modules)"
        finished = subprocess.run(
            [sys.executable, "-c", "\n".join(["import sys", "text = sys.stdin.read()", *lines])],
            input=row.text,
            cwd=tmp_path,
            env={**os.environ, "AUDIT_KEY_2026": OLD},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert finished.stdout == f"{SSN} False\n", finished.stderr

    def test_a_key_is_destroyed_with_its_reason(self):
        row = create("acme")
        kept = create("beta")
        code, out, _ = run("keys", "destroy", "--tenant", "acme", "--reason", "left us", "--yes")
        assert (code, out) == (0, "1 data key(s) destroyed, and that recorded.\n")
        with pytest.raises(KeyDestroyed):
            unseal(row.event, "ssn", "after", DjangoKeyring("default"))
        assert unseal(kept.event, "ssn", "after", DjangoKeyring("default")) == SSN
        [event] = events("destroy_keys")
        assert event.event.reason == "left us"
        assert event.event.extra["keys"] == [str(DataKey.objects.get(tenant="acme").pk)]
        assert (
            "no key that could be" in run("keys", "destroy", "--tenant", "acme", "--reason", "x", "--yes")[1]
        )

    def test_a_key_is_destroyed_by_its_id(self):
        create()
        key = str(DataKey.objects.get().pk)
        assert run("keys", "destroy", key, "--reason", "a mistake", "--yes")[0] == 0
        assert run("keys", "destroy", key, "--reason", "a mistake", "--yes")[0] == 2
        assert DataKey.objects.get().wrapped is None

    @pytest.mark.parametrize("arguments", [["--reason", "x"], ["--tenant", "acme", "--reason", " "]])
    def test_what_is_not_said_is_not_guessed(self, arguments):
        create("acme")
        assert run("keys", "destroy", *arguments, "--yes")[0] == 2
        assert DataKey.objects.get().wrapped is not None


class TestChecks:
    def test_a_secret_that_is_missing_is_found(self, settings):
        create()
        assert [found.id for found in check_databases(None, databases=["default"])] == []
        settings.AUDIT = {"SENSITIVE_KEYS": [NEW]}
        [found] = check_databases(None, databases=["default"])
        assert found.id == "audit.W006"
        assert OLD_ID in found.msg
        settings.AUDIT = {}
        assert [found.id for found in check_databases(None, databases=["default"])] == ["audit.W006"]

    def test_after_a_rotation_the_old_secret_may_go(self, settings, rotating):
        create()
        rotating()
        assert run("rotate-keys")[0] == 0
        settings.AUDIT = {"SENSITIVE_KEYS": [NEW]}
        assert check_databases(None, databases=["default"]) == []

    def test_before_the_tables_are_there_nothing_is_said(self):
        with connections["other"].schema_editor() as editor:
            editor.delete_model(DataKey)
        try:
            assert check_databases(None, databases=["other"]) == []
        finally:
            with connections["other"].schema_editor() as editor:
                editor.create_model(DataKey)


def test_the_migrations_are_complete():
    call_command("makemigrations", "audit_django", check=True, dry_run=True, verbosity=0)


def test_the_permission_is_there():
    user = User.objects.create(username="root", is_superuser=True)
    assert user.has_perm("audit_django.unmask")

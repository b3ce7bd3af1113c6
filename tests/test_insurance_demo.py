"""``demo.py`` as a newcomer meets it, and what the project says when its environment is wrong."""

from __future__ import annotations

import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.insurance_project import DEMO, MANAGE, Project

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "var")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_help_names_every_option(project: Project) -> None:
    text = project.run(DEMO, "--help")
    for option in ("--port", "--days", "--reset", "--no-serve"):
        assert option in text


def test_a_taken_port_is_said_at_once(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text = project.run(DEMO, PORT=str(port), code=1)
    assert f"Port {port} cannot be used" in text
    assert "make demo PORT=" in text
    assert not project.var.exists()


def test_it_serves_and_starts_again_without_losing_data(project: Project) -> None:
    port = free_port()
    seen = []
    for _ in range(2):
        process = project.start(DEMO, "--days", "1", PORT=str(port))
        try:
            page = wait_for(f"http://127.0.0.1:{port}/audit/", seconds=120)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=30)
        finally:
            process.kill()
        assert process.returncode == 0, errors
        assert "Log in" in page
        assert f"http://localhost:{port}/" in output
        for word in ("alice", "olivia", "admin", "policy-desk-demo", "1.", "5."):
            assert word in output
        seen.append(project.snapshot())
    assert seen[0] == seen[1]
    assert len(seen[0]["events"]) > 50


def wait_for(address: str, seconds: float) -> str:
    """The page at ``address`` as soon as somebody answers there."""
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return answer.read().decode()
        except urllib.error.URLError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def test_an_interrupted_start_leaves_nothing_half_made(project: Project) -> None:
    with project.start(DEMO, "--no-serve", "--days", "400") as process:
        try:
            assert process.stdout is not None
            assert "Two insurers work" in process.stdout.readline()
            assert "day 7 of 400" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 1
    assert "Interrupted" in errors
    assert not (project.var / "insurance.sqlite3").exists()
    assert "Made" in project.run(DEMO, "--no-serve", "--days", "1")
    assert [path.name for path in project.var.glob("insurance*")] == ["insurance.sqlite3"]


def test_reset_makes_the_history_again_but_never_in_a_named_database(
    project: Project, tmp_path: Path
) -> None:
    project.run(DEMO, "--no-serve", "--days", "1")
    assert "Made" in project.run(DEMO, "--no-serve", "--days", "1", "--reset")
    named = tmp_path / "mine.sqlite3"
    named.touch()
    text = project.run(DEMO, "--no-serve", "--reset", DATABASE_URL=f"sqlite:///{named}", code=1)
    assert "--reset deletes only" in text
    assert named.exists()


def test_the_projects_own_tests_pass(project: Project) -> None:
    project.var.mkdir()
    assert "OK" in project.run(MANAGE, "test", str(MANAGE.parent))


def test_the_migrations_are_complete_and_nothing_is_wrong(project: Project) -> None:
    assert "No changes detected" in project.run(MANAGE, "makemigrations", "--check", "--dry-run")
    assert "no issues" in project.run(MANAGE, "check")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"DEBUG": "0"}, "Set SECRET_KEY"),
        ({"DEBUG": "maybe"}, "DEBUG is 'maybe'. Write 1 or 0."),
        ({"AUDIT_RELAY": "celery"}, "AUDIT_RELAY=celery needs CELERY_BROKER_URL"),
        ({"AUDIT_STORAGES": "{"}, "AUDIT_STORAGES is not JSON"),
        ({"AUDIT_STREAMS": "[]"}, "AUDIT_STREAMS must be a JSON object"),
        ({"DATABASE_URL": "oracel://scott:tiger@db/x"}, "DATABASE_URL cannot be used"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_wrong_environment_is_said(project: Project, environment: dict[str, str], message: str) -> None:
    text = project.run(MANAGE, "check", code=1, **environment)
    assert message in text
    assert "tiger" not in text


def test_production_settings_pass_djangos_own_look(project: Project) -> None:
    """What is left is the proxy's part: HTTPS for everything."""
    text = project.run(
        MANAGE, "check", "--deploy", DEBUG="0", SECRET_KEY="0123456789abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVW"
    )  # fmt: skip
    found = {
        word for word in text.replace("(", " ").replace(")", " ").split() if word.startswith("security.")
    }
    assert found <= {"security.W004", "security.W008", "security.W020"}

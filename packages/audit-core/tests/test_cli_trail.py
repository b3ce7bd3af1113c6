"""The commands of a program without a framework, on its SQLite file."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("typer", reason="needs the extra audit-core[cli]")

from typer.testing import CliRunner

from audit_core.cli.app import app
from audit_core.sqlite import SqliteDatabase
from audit_core.testing import make_event, make_events


@pytest.fixture
def audit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "audit.toml").write_text(
        '[storages.archive]\nbackend = "jsonl"\noptions = { path = "archive.jsonl" }\n'
    )

    def run(*arguments):
        return CliRunner().invoke(app, arguments)

    return run


@pytest.fixture
def database(audit):
    found = SqliteDatabase("audit.sqlite3")
    yield found
    found.close()


def test_a_program_appends_and_the_command_delivers(audit, database, tmp_path):
    with database.transaction() as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT)")
        connection.execute("INSERT INTO orders VALUES (7, 'paid')")
        database.outbox.append(make_events(3))
    finished = audit("relay", "--once")
    assert finished.exit_code == 0, finished.output
    assert [json.loads(line)["stage"] for line in finished.stdout.splitlines()] == [
        "log",
        "summaries",
        "archive",
    ]
    assert len((tmp_path / "archive.jsonl").read_text().splitlines()) == 3
    [found] = json.loads(audit("stats", "--json").stdout)
    assert (found["head"], found["waiting"], found["readers"][0]["state"]) == (3, 0, "current")


@pytest.mark.parametrize(
    "command",
    [
        ["rotate-keys"],
        ["keys", "list"],
        ["keys", "export"],
        ["keys", "destroy", "--tenant", "a", "--reason", "x"],
    ],
)
def test_a_program_without_a_table_of_keys_is_told_so(audit, command):
    finished = audit(*command)
    assert finished.exit_code == 2
    assert "has no table of data keys" in finished.stderr


def test_what_the_archive_has_is_given_up(audit, database):
    database.outbox.append(make_events(4))
    audit("backfill")
    assert "4 events were given up" in audit("clean").stdout
    assert database.log.read(0, 10) == []
    database.outbox.append([make_event()])
    assert audit("relay", "--once").exit_code == 0
    assert database.log.cursor("archive").seq == 5


def test_doctor_and_setup(audit):
    assert audit("setup").exit_code == 0
    finished = audit("doctor")
    assert finished.exit_code == 0, finished.output
    assert "clocks agree" in finished.stdout


def test_a_terminal_shows_totals_and_what_fails_and_ends_on_ctrl_c(audit, database, tmp_path):
    archive = tmp_path / "archive.jsonl"
    archive.mkdir()  # where a file should be, so the sink fails
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    command = [sys.executable, "-c", "from audit_core.cli import main; main()", "relay"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        screen = Screen(master)
        try:
            screen.wait_for("Nothing to do yet. Stop with Ctrl-C.")
            database.outbox.append(make_events(1200))
            screen.wait_for("archive failed and is tried again: ConfigurationError")
            screen.wait_for("sequenced 1,200, summarized 1,200")
            archive.rmdir()
            screen.wait_for("to archive 1,200")
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()
    os.close(master)
    assert len(archive.read_text().splitlines()) == 1200


class Screen:
    """What a process writes to its terminal."""

    def __init__(self, master):
        self._master, self._text = master, ""

    def wait_for(self, words, seconds=60):
        deadline = time.monotonic() + seconds
        while words not in self._text:
            ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{words!r} was not shown, but {self._text[-500:]!r}"
            self._text += os.read(self._master, 4096).decode()

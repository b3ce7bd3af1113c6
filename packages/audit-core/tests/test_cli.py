"""The ``audit`` command, run as people run it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

pytest.importorskip("typer", reason="needs the extra audit-core[cli]")
pytest.importorskip("rich", reason="needs the extra audit-core[cli]")

from audit_core import __version__
from audit_core.cli.app import app

SHELF = """
    from audit_core import hookimpl

    class Shelf:
        def __init__(self, fault=""):
            self.fault = fault
        def write(self, events): ...
        def check(self):
            if self.fault == "crash":
                raise OSError("[Errno 111] connection refused")
            return [self.fault] if self.fault else []
        def close(self):
            print("closed", flush=True)

    @hookimpl
    def audit_register_storages():
        return {"shelf": Shelf}

    @hookimpl
    def audit_event_recorded(event): ...
"""
REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "commands.md"
LONG = "needs [bold]the client library[/bold] " + "that is very long indeed " * 12 + "THE END"


@pytest.fixture
def audit(installed, tmp_path):
    """Run the command with the distributions of ``installed`` besides those of this environment."""

    def run(*arguments, **environment):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("AUDIT_") and k != "COLUMNS"}
        return subprocess.run(
            [sys.executable, "-c", "from audit_core.cli import main; main()", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=tmp_path,
            env={**inherited, "PYTHONPATH": str(installed.folder), "NO_COLOR": "1", **environment},
        )

    return run


# audit plugins


def test_plugins_are_listed_with_kind_distribution_version_and_state(installed, audit):
    installed.add("audit-shelf", SHELF, version="2.3")
    finished = audit("plugins")
    assert finished.returncode == 0, finished.stderr
    header, *lines = finished.stdout.splitlines()
    assert header.split() == ["name", "kind", "distribution", "version", "state", "cause"]
    by_name = {line.split()[0]: line for line in lines}
    assert by_name["audit-shelf"].split() == [
        "audit-shelf",
        "storage",
        "(shelf),",
        "hooks",
        "audit-shelf",
        "2.3",
        "ok",
    ]
    assert "storage (jsonl, memory), stream (memory), summarizer (grammar)" in by_name["audit-core"]


def test_a_cause_is_whole_in_a_pipe_and_its_brackets_are_no_markup(installed, audit):
    installed.add("audit-broken", f"raise ImportError({LONG!r})", version="0.7")
    finished = audit("plugins")
    assert finished.returncode == 0
    [line] = [line for line in finished.stdout.splitlines() if line.startswith("audit-broken")]
    assert f"broken  ImportError: {LONG}" in line


def test_plugins_as_json(installed, audit):
    installed.add("audit-shelf", SHELF, version="2.3")
    installed.add("audit-broken", f"raise ImportError({LONG!r})", version="0.7")
    finished = audit("plugins", "--json")
    assert finished.returncode == 0
    plugins = {plugin.pop("name"): plugin for plugin in json.loads(finished.stdout)}
    assert plugins["audit-shelf"] == {
        "distribution": "audit-shelf",
        "version": "2.3",
        "state": "ok",
        "cause": None,
        "kinds": ["storage", "hooks"],
        "registers": {"storage": ["shelf"]},
        "hooks": ["audit_event_recorded", "audit_register_storages"],
    }
    assert plugins["audit-broken"]["state"] == "broken"
    assert plugins["audit-broken"]["cause"] == f"ImportError: {LONG}"


def test_a_blocked_plugin_and_a_name_claimed_twice_are_shown(installed, audit):
    installed.add("audit-shelf", SHELF)
    installed.add("audit-shelf-too", SHELF)
    installed.add("audit-loud", "raise SystemExit('imported')")
    finished = audit("plugins", AUDIT_BLOCKED_PLUGINS="audit-loud")
    assert finished.returncode == 0, finished.stderr
    assert "audit-shelf (audit-shelf 1.0) and audit-shelf-too (audit-shelf-too 1.0)" in finished.stdout
    [line] = [line for line in finished.stdout.splitlines() if line.startswith("audit-loud")]
    assert line.split()[-1] == "blocked"


# audit check


@pytest.fixture
def configured(installed, tmp_path):
    installed.add("audit-shelf", SHELF)

    def write(text, name="audit.toml"):
        (tmp_path / name).write_text(dedent(text))

    return write


def test_backends_without_a_problem_exit_with_0(configured, audit):
    configured(
        '[storages.a]\nbackend = "shelf"\n[storages.b]\nbackend = "jsonl"\noptions = { path = "b.jsonl" }\n'
    )
    finished = audit("check")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    lines = [line.split() for line in finished.stdout.splitlines()]
    assert [line[:2] for line in lines if line[1:2] == ["ok"]] == [
        ["OUTBOX", "ok"],
        ["STORAGES['a']", "ok"],
        ["STORAGES['b']", "ok"],
        ["SUMMARIZER", "ok"],
    ]
    assert ["closed"] in lines


def test_every_problem_is_listed_and_the_command_exits_with_1(configured, audit):
    configured(
        """
        [storages.missing]
        backend = "shelv"
        [storages.wrong]
        backend = "shelf"
        options = { fauld = "x" }
        [storages.denied]
        backend = "shelf"
        options = { fault = "may not write into [bucket]" }
        [storages.down]
        backend = "shelf"
        options = { fault = "crash" }
        [storages.fine]
        backend = "shelf"
        """
    )
    finished = audit("check")
    assert finished.returncode == 1, finished.stderr
    by_name = {line.split()[0]: line for line in finished.stdout.splitlines()}
    assert "There is no storage 'shelv'. Did you mean 'shelf'?" in by_name["STORAGES['missing']"]
    assert "has no option 'fauld'. Did you mean 'fault'?" in by_name["STORAGES['wrong']"]
    assert by_name["STORAGES['denied']"].rstrip().endswith("problem  may not write into [bucket]")
    assert "OSError: [Errno 111] connection refused" in by_name["STORAGES['down']"]
    assert by_name["STORAGES['fine']"].split()[1] == "ok"


def test_the_configuration_is_named_by_option_or_environment(configured, audit):
    configured('[storages.other]\nbackend = "shelf"\n', name="other.toml")
    for finished in (
        audit("--config", "other.toml", "check"),
        audit("check", AUDIT_CONFIG="other.toml"),
    ):
        assert finished.returncode == 0, finished.stderr
        assert "STORAGES['other']" in finished.stdout


def test_without_a_configuration_it_says_what_to_do_and_exits_with_2(audit):
    finished = audit("check")
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert "Error: There is no configuration at audit.toml." in finished.stderr
    assert "Traceback" not in finished.stderr


# the command itself


def test_version(audit):
    finished = audit("--version")
    assert (finished.returncode, finished.stdout) == (0, f"audit-core {__version__}\n")


def test_a_wrong_command_exits_with_2(audit):
    assert audit("plugin").returncode == 2


def commands(group=None, names=()):
    import typer.main

    command = typer.main.get_command(app) if group is None else group
    yield names
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*names, name))


def test_all_commands_are_known():
    top = [
        "relay",
        "backfill",
        "stats",
        "retry",
        "clean",
        "doctor",
        "check",
        "setup",
        "plugins",
        "search",
        "sinks",
        "parked",
        "storages",
        "rotate-keys",
        "keys",
    ]
    sinks = ["list", "pause", "resume", "rewind", "forget"]
    parked = ["list", "show", "discard"]
    storages = ["list", "prune", "compact", "verify", "restore"]
    keys = ["list", "export", "destroy"]
    assert set(commands()) == {
        (),
        *((name,) for name in top),
        *(("sinks", name) for name in sinks),
        *(("parked", name) for name in parked),
        *(("storages", name) for name in storages),
        *(("keys", name) for name in keys),
    }


@pytest.mark.parametrize(
    "names",
    [names for names in commands() if names not in ((), ("sinks",), ("parked",), ("storages",), ("keys",))],
)
def test_every_command_has_help_with_examples_and_exit_codes(audit, names):
    finished = audit(*names, "--help", COLUMNS="200", TERMINAL_WIDTH="200")
    assert finished.returncode == 0
    examples = re.split("Examples?:", finished.stdout)[1]
    assert " ".join(names) in examples
    assert "Exit codes: 0 all is well, 1 " in examples


def test_every_command_and_option_is_in_the_reference():
    import typer.main

    page = REFERENCE.read_text(encoding="utf-8")
    for names in commands():
        command = typer.main.get_command(app)
        for name in names:
            command = command.commands[name]
        _, found, section = page.partition(f"\n## {' '.join(names) or 'audit'}\n")
        assert found, f"write a section '## {' '.join(names) or 'audit'}' in {REFERENCE.name}"
        for parameter in command.params:
            assert f"\n`{parameter.opts[0]}`" in section.partition("\n## ")[0], (names, parameter.opts)


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_it_says_what_to_install(missing):
    program = f"import sys; sys.modules[{missing!r}] = None\nfrom audit_core.cli import main\nmain()"
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 1
    assert finished.stderr == "The audit command needs two more packages: pip install 'audit-core[cli]'\n"

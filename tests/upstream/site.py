"""A project that uses a published application, in a folder of its own; its commands run in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.replay import differences, replay

ROOT = Path(__file__).resolve().parents[2]

AUDITED = """
INSTALLED_APPS = [*INSTALLED_APPS, "audit_django"]
MIDDLEWARE = [*MIDDLEWARE, "audit_django.middleware.AuditMiddleware"]
AUDIT = {"MODELS": "all"}
"""
"""What a project's settings need for the audit of every model."""


class Site:
    """The project in ``folder`` with these settings."""

    def __init__(self, folder: Path, settings: str) -> None:
        self.folder = folder
        foreign = ("DATABASE_URL", "PYTHONPATH")
        self.environment = {key: value for key, value in os.environ.items() if key not in foreign}
        self.environment |= {"DJANGO_SETTINGS_MODULE": settings}
        self.environment |= {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}

    def run(self, *command: str | Path) -> str:
        """What a Python command prints. Fails the test when the command fails."""
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stderr[-4000:]}"
        return done.stdout

    def manage(self, *command: str) -> str:
        """A management command."""
        return self.run("-m", "django", *command)

    def snapshot(self) -> dict[str, Any]:
        """The events and the tables; see :mod:`tests.upstream.snapshot`."""
        return json.loads(self.run(ROOT / "tests" / "upstream" / "snapshot.py"))


def assert_told(done: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> None:
    """Every object that was made has its events: what is there a first one that creates it, what is gone a last one too."""
    actions: dict[tuple[str, str], list[str]] = {}
    for event in events:
        if event["category"] == "change":
            key = event["target"]["type"], event["target"]["id"]
            actions.setdefault(key, []).append(event["action"])
    for kind, pk in [*done["there"].items(), *done["deleted"].items()]:
        assert actions[kind, str(pk)][0] == "create", (kind, pk)
    assert all("delete" not in actions[kind, str(pk)] for kind, pk in done["there"].items())
    assert all(actions[kind, str(pk)][-1] == "delete" for kind, pk in done["deleted"].items())


def differences_by_table(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[str]]:
    """Where the events between two snapshots do not lead from the tables of the first to those of the second."""
    roots = {kind: table["parents"][-1] for kind, table in after["tables"].items() if table["parents"]}
    told = [*_as_events(_merged(before["tables"])), *after["events"][len(before["events"]) :]]
    state = replay(_about_root(text, roots) for text in told)
    found: dict[str, list[str]] = {}
    for line in [*state.breaks, *differences(state, _merged(after["tables"]))]:
        words = line.split()
        kind = words[2] if words[1] == "of" else words[0]
        found.setdefault(kind, []).append(line)
    return found


def _merged(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables with the rows of multi-table children, which have their parents' fields, in place of the parents' rows."""
    merged: dict[str, Any] = {}
    for kind, table in sorted(tables.items(), key=lambda item: len(item[1]["parents"])):
        root = merged.setdefault([kind, *table["parents"]][-1], {"rows": {}, "links": {}})
        for part in ("rows", "links"):
            root[part] |= table[part]
    return merged


def _as_events(tables: Mapping[str, Any]) -> list[str]:
    """One event for each row: what migrations have made, with models of their own, is in no event."""
    texts = []
    for kind, table in tables.items():
        for key, row in table["rows"].items():
            diff = {
                name: {"relation": "field", "before": None, "after": value} for name, value in row.items()
            }
            for name, linked in table["links"][key].items():
                added = [{"pk": json.loads(pk)} for pk in linked]
                diff[name] = {"relation": "many_to_many", "added": added, "removed": []}
            event = {"category": "change", "outcome": "success", "action": "create", "diff": diff}
            texts.append(json.dumps({**event, "target": {"type": kind, "id": key}}))
    return texts


def _about_root(text: str, roots: Mapping[str, str]) -> str:
    """The event with the first ancestor of its target's model in the model's place: both name the same object."""
    event = json.loads(text)
    if event["category"] == "change":
        event["target"]["type"] = roots.get(event["target"]["type"], event["target"]["type"])
    return json.dumps(event)

"""Runs the insurance example in processes of its own, as its users do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ROOT / "examples" / "insurance"
DEMO = PROJECT / "demo.py"
MANAGE = PROJECT / "manage.py"


class Project:
    """The example with files of its own under ``var``, and the database of ``url`` or else one of its own."""

    def __init__(self, var: Path, url: str | None = None) -> None:
        self.var = var
        foreign = ("DATABASE_URL", "SECRET_KEY", "PORT", "CELERY_BROKER_URL")
        self.environment = {key: value for key, value in os.environ.items() if key not in foreign}
        self.environment |= {"INSURANCE_VAR": str(var), "DEBUG": "1", "PYTHONWARNINGS": "error"}
        self.environment |= {"DJANGO_SETTINGS_MODULE": "config.settings", "PYTHONPATH": str(PROJECT)}
        if url:
            self.environment["DATABASE_URL"] = url

    def start(self, *command: str | Path, **environment: str) -> subprocess.Popen[str]:
        """A Python script of the project, running."""
        return subprocess.Popen(
            [sys.executable, "-u", *map(str, command)],
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *command: str | Path, code: int = 0, **environment: str) -> str:
        """What a Python script of the project prints, its errors last. Fails the test when it ends with another code."""
        with self.start(*command, **environment) as process:
            try:
                output, errors = process.communicate(timeout=300)
            finally:
                process.kill()
        assert process.returncode == code, f"{command[0]} ended with {process.returncode}:\n{errors[-4000:]}"
        return output + errors

    def snapshot(self) -> dict[str, Any]:
        """The events and the tables."""
        return json.loads(self.run(ROOT / "tests" / "replay.py"))

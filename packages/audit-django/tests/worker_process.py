"""Another process that works on the database of the test which starts it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from django.db import connection

KEYS = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")


def start(code: str, *arguments: object, **database: Any) -> subprocess.Popen[str]:
    """Run ``code`` with the settings of the tests; ``database`` changes the entry in DATABASES."""
    entry = {key: value for key, value in connection.settings_dict.items() if key in KEYS} | database
    environment = {
        **os.environ,
        "AUDIT_TEST_WORKER_DATABASE": json.dumps(entry, default=str),
        "DJANGO_SETTINGS_MODULE": "django_settings",
        "PYTHONPATH": str(Path(__file__).parent),
    }
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

"""Finding plugins imports no client library, no command-line library, and core's own no framework either."""

from __future__ import annotations

import subprocess
import sys

import pytest

CLIENTS = "boto3 botocore pymongo opensearchpy confluent_kafka pika nltk openai anthropic google"
FRAMEWORKS = "django sqlalchemy"
COMMAND = "typer rich click"

# The recorder stands before all finders, so that it also sees who asks for what is not installed here.
PROGRAM = """
import sys, traceback

class Recorder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in heavy and name not in wanted:
            wanted.add(name)
            callers = [line for line in traceback.format_stack() if "importlib" not in line]
            print(name, "is imported by", *callers[:-1], sep="\\n")

heavy, wanted = set(sys.argv[1].split()), set()
sys.meta_path.insert(0, Recorder())

from importlib.metadata import entry_points
import audit_core
from audit_core.plugins.manager import PluginManager
found = entry_points(group="audit", **eval(sys.argv[2]))
names = [plugin.name for plugin in PluginManager(found).plugins()]
assert "audit-core" in names, names
exec(sys.argv[3])
wanted |= heavy & set(sys.modules)
sys.exit(f"imported: {sorted(wanted)}" if wanted else 0)
"""


def run(heavy: str, *, which: dict[str, str], then: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, heavy, repr(which), then]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_finding_every_plugin_imports_no_client_library():
    finished = run(f"{CLIENTS} {COMMAND}", which={})
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_core_imports_no_framework():
    finished = run(f"{CLIENTS} {COMMAND} {FRAMEWORKS}", which={"name": "audit-core"})
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize("library", ["boto3", "typer"])
def test_the_check_itself_sees_an_import(library):
    finished = run(library, which={}, then=f"try:\n    import {library}\nexcept ImportError:\n    pass")
    assert f"imported: ['{library}" in finished.stderr

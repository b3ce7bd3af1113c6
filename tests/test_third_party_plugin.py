"""A plugin that was written from the documentation alone, in an environment of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PLUGIN = Path(__file__).parent / "third_party" / "audit-storage-example"
MODULE = PLUGIN / "src" / "audit_storage_example" / "__init__.py"
CONTRACT_TEST = PLUGIN / "tests" / "test_example_storage.py"
GUIDE = ROOT / "docs" / "howto" / "write-a-plugin.md"


def test_it_has_at_most_thirty_lines():
    assert len(MODULE.read_text().splitlines()) <= 30


@pytest.mark.parametrize(
    "file", [PLUGIN / "pyproject.toml", MODULE, CONTRACT_TEST], ids=lambda file: file.name
)
def test_the_guide_shows_it_to_the_letter(file):
    assert f"\n{file.read_text()}```" in GUIDE.read_text(encoding="utf-8")


def run(*command: str | Path, **options: Any) -> tuple[subprocess.CompletedProcess[str], str]:
    finished = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=300, check=False, **options
    )
    return finished, f"{finished.args}\n{finished.stdout}\n{finished.stderr}"


def succeed(*command: str | Path, **options: Any) -> str:
    finished, output = run(*command, **options)
    assert finished.returncode == 0, output
    return finished.stdout


class Environment:
    """A virtual environment without anything of this one."""

    def __init__(self, folder: Path) -> None:
        beside = Path(sys.executable).with_name("uv")
        self.uv = str(beside) if beside.exists() else shutil.which("uv")
        if self.uv:
            succeed(self.uv, "venv", "--python", sys.executable, folder)
        else:
            succeed(sys.executable, "-m", "venv", folder)
        self.scripts = folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.scripts / "python"
        # Neither this repository nor its settings reach the other environment.
        self.variables = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("AUDIT_", "DJANGO_", "PYTEST_", "PYTHON"))
        }

    def install(self, *requirements: str | Path) -> None:
        pip = (
            (self.uv, "pip", "install", "--python", self.python)
            if self.uv
            else (self.python, "-m", "pip", "install")
        )
        succeed(*pip, "--quiet", *requirements)

    def audit(self, *arguments, **options) -> str:
        return succeed(self.scripts / "audit", *arguments, env=self.variables, **options)


def build(project: Path, out: Path) -> Path:
    """The wheel of ``project``, built by the hatchling of this environment: nothing is downloaded for it."""
    succeed(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out, cwd=project)
    name = tomllib.loads((project / "pyproject.toml").read_text())["project"]["name"]
    [wheel] = out.glob(f"{name.replace('-', '_')}-*.whl")
    return wheel


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    pytest.importorskip("hatchling", reason="builds the wheels")
    folder = tmp_path_factory.mktemp("third-party")
    core = build(ROOT / "packages" / "audit-core", folder / "wheels")
    plugin = build(PLUGIN, folder / "wheels")
    environment = Environment(folder / "venv")
    environment.install(f"audit-core[cli] @ {core.as_uri()}", plugin, f"pytest=={pytest.__version__}")
    return environment


@pytest.mark.slow
@pytest.mark.third_party
def test_it_is_discovered(environment):
    plugins = {plugin["name"]: plugin for plugin in json.loads(environment.audit("plugins", "--json"))}
    assert plugins.keys() == {"audit-core", "audit-storage-example"}
    assert plugins["audit-storage-example"] == {
        "name": "audit-storage-example",
        "distribution": "audit-storage-example",
        "version": "0.1.0",
        "state": "ok",
        "cause": None,
        "registers": {"storage": ["example"]},
        "hooks": ["audit_register_storages"],
        "kinds": ["storage"],
    }


@pytest.mark.slow
@pytest.mark.third_party
def test_it_can_be_configured_by_its_name(environment, tmp_path):
    (tmp_path / "audit.toml").write_text(
        '[storages.copy]\nbackend = "example"\noptions = { path = "audit.db" }\n'
    )
    said = environment.audit("check", cwd=tmp_path)
    assert "STORAGES['copy']  ok     reachable, permitted and sane" in said


def run_contract(environment, folder: Path, **variables: str):
    (folder / "pytest.ini").write_text("[pytest]\n")  # not that of any folder above
    shutil.copy(CONTRACT_TEST, folder)
    command = (environment.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder)
    return run(*command, cwd=folder, env={**environment.variables, **variables})


@pytest.mark.slow
@pytest.mark.third_party
def test_it_passes_the_contract(environment, tmp_path):
    finished, output = run_contract(environment, tmp_path)
    assert finished.returncode == 0, output
    passed = int(finished.stdout.splitlines()[-1].split(" passed")[0].split()[-1])
    assert passed >= 10, output


@pytest.mark.slow
@pytest.mark.third_party
@pytest.mark.parametrize(
    ("right", "wrong", "caught_by"),
    [
        ("INSERT OR IGNORE", "INSERT OR REPLACE", "test_writing_again_changes_nothing"),
        ("INSERT OR IGNORE", "INSERT", "test_one_batch_may_hold_an_event_twice"),
        ("event.seq, event.text", "None, event.text", "test_it_keeps_what_is_written"),
        ("for event in events]", "for event in events[:999]]", "test_it_keeps_a_batch_of_a_thousand"),
    ],
)
def test_the_contract_catches_it_when_it_breaks_a_promise(environment, tmp_path, right, wrong, caught_by):
    broken = tmp_path / "broken"
    broken.mkdir()
    source = MODULE.read_text()
    assert right in source
    (broken / "audit_storage_example.py").write_text(source.replace(right, wrong))
    finished, output = run_contract(environment, tmp_path, PYTHONPATH=str(broken))
    assert finished.returncode == 1, output
    assert f"::{caught_by}" in finished.stdout, output

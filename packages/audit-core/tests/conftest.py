"""Fixtures that more than one file of tests uses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from textwrap import dedent

import pytest


class Installed:
    """Distributions with plugins, really on the disk and on ``sys.path``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules: list[str] = []

    def add(self, distribution: str, source: str, *, version: str = "1.0", name: str | None = None) -> str:
        """Install a distribution of one module and one entry point; return the name of the entry point."""
        module = distribution.replace("-", "_")
        metadata = self.folder / f"{module}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        name = name or distribution
        (metadata / "entry_points.txt").write_text(f"[audit]\n{name} = {module}\n")
        (self.folder / f"{module}.py").write_text(dedent(source))
        self.modules.append(module)
        return name

    def entry_points(self) -> list[EntryPoint]:
        found = distributions(path=[str(self.folder)])
        return [entry_point for distribution in found for entry_point in distribution.entry_points]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    environment = Installed(folder)
    yield environment
    for module in environment.modules:
        sys.modules.pop(module, None)


@pytest.fixture
def plugin_object() -> Callable[..., object]:
    """A plugin made of functions: ``plugin_object(audit_resolve_actor=lambda: "Alice")``."""
    from audit_core.plugins.markers import hookimpl

    def make(**functions: Callable[..., object]) -> object:
        marked = {name: staticmethod(hookimpl(function)) for name, function in functions.items()}
        return type("APlugin", (), marked)()

    return make

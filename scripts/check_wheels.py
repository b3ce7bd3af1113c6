"""Check packages that were installed from their wheels: python scripts/check_wheels.py [--command] NAME...

Without --command no extra needs to be installed: each package is imported from where it was installed, is
whole, and its entry point loads. With it `audit plugins` must name them all.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from importlib.metadata import distribution, entry_points
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def check_package(name: str) -> None:
    """Raise ``SystemExit`` unless the wheel of ``name`` has all that users of the package rely on."""
    wheel = distribution(name)
    files = {str(path) for path in wheel.files or ()}
    package = name.replace("-", "_")
    where = Path(import_module(package).__file__ or "").resolve()
    require(
        not where.is_relative_to(CHECKOUT / "packages"), f"{package} is imported from the checkout: {where}"
    )
    require(f"{package}/py.typed" in files, f"{name} has no py.typed: type checkers ignore its types")
    require(any(path.endswith("licenses/LICENSE") for path in files), f"{name} has no LICENSE")
    stray = sorted(path for path in files if not path.startswith((f"{package}/", f"{package}-", "../")))
    require(not stray, f"{name} installs files outside {package}/: {', '.join(stray)}")
    require("\n#" in f"\n{wheel.metadata.get_payload()}", f"{name} has no README as its description")

    source = CHECKOUT / "packages" / name / "src"
    in_source = {
        str(path.relative_to(source))
        for path in source.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    missing = sorted(in_source - files)
    require(not missing, f"{name}'s wheel lacks {', '.join(missing)}")

    plugins = entry_points(group="audit", name=name)
    require(len(plugins) == 1, f"{name} should have one entry point of its own name in the group 'audit'")
    for plugin in plugins:
        plugin.load()
    print(f"{name} {wheel.version}: {len(files)} files, entry point {next(iter(plugins)).value}")


def check_command(names: list[str]) -> None:
    """Raise ``SystemExit`` unless the ``audit`` command runs and names every package with its version."""
    command = Path(sys.executable).with_name("audit")
    wide = {**os.environ, "COLUMNS": "200"}
    run = subprocess.run([command, "plugins"], capture_output=True, text=True, env=wide, check=False)
    require(run.returncode == 0, f"`audit plugins` failed:\n{run.stdout}{run.stderr}")
    for name in names:
        version = distribution(name).version
        named = any(name in line and version in line for line in run.stdout.splitlines())
        require(named, f"`audit plugins` does not name {name} {version}:\n{run.stdout}")
    print(run.stdout)


def require(condition: bool, message: str) -> None:
    if not condition:
        raise SystemExit(message)


if __name__ == "__main__":
    words = sys.argv[1:]
    if "--command" in words:
        check_command([word for word in words if word != "--command"])
    else:
        for word in words:
            check_package(word)

"""The ``audit`` command. It needs the extra ``cli`` (Typer and Rich); nothing else in core imports them."""

from __future__ import annotations

import sys

_NEEDED = ("typer", "rich", "click")


def main() -> None:
    """Run the command. Exits with 1 and says what to install when the extra ``cli`` is missing."""
    try:
        from audit_core.cli.app import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _NEEDED:
            raise
        sys.exit("The audit command needs two more packages: pip install 'audit-core[cli]'")
    app()

"""The ``audit`` command. It needs the extra ``cli`` (Typer and Rich); nothing else in core imports them."""

from __future__ import annotations

import sys

NOT_INSTALLED = "The audit command needs two more packages: pip install 'audit-core[cli]'"


def is_not_installed(error: ModuleNotFoundError) -> bool:
    """Whether what could not be imported belongs to the extra."""
    return error.name is not None and error.name.partition(".")[0] in ("typer", "rich", "click")


def main() -> None:
    """Run the command. Exits with 1 and says what to install when the extra ``cli`` is missing."""
    try:
        from audit_core.cli.app import app
    except ModuleNotFoundError as error:
        if not is_not_installed(error):
            raise
        sys.exit(NOT_INSTALLED)
    app()

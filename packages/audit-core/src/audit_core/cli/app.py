"""The command and its sub-commands."""

from __future__ import annotations

from typing import Annotated

import typer

import audit_core
from audit_core.cli import backends, plugins
from audit_core.cli.output import EXIT_CODES

app = typer.Typer(
    name="audit",
    epilog=f"Examples:\n\naudit plugins\n\naudit backends check --config audit.toml\n\n{EXIT_CODES}",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,  # they may hold the password of a backend
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog=plugins.EPILOG)(plugins.plugins)
app.add_typer(backends.app, name="backends")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"audit-core {audit_core.__version__}")
        raise typer.Exit


@app.callback()
def audit(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """The audit trail: what is installed, what is configured, and whether it works."""

"""The command and its sub-commands."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

import typer

import audit_core
from audit_core.cli import clean, doctor, keys, parked, plugins, relay, search, sinks, stats, storages
from audit_core.cli.installation import Group
from audit_core.cli.output import EXIT_CODES


def make_app(name: str) -> typer.Typer:
    """The commands that work on any installation: ``ctx.obj`` is a function that makes it."""
    made = typer.Typer(
        name=name,
        cls=Group,
        epilog=f"Each command has --help with examples. {EXIT_CODES}",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,  # they may hold the password of a backend
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.command(epilog=relay.RELAY_EPILOG)(relay.relay)
    made.command(epilog=relay.BACKFILL_EPILOG)(relay.backfill)
    made.command(epilog=stats.EPILOG)(stats.stats)
    made.command(epilog=search.EPILOG)(search.search)
    made.add_typer(sinks.app, name="sinks")
    made.add_typer(parked.app, name="parked")
    made.command(epilog=parked.RETRY_EPILOG)(parked.retry)
    made.command(epilog=clean.EPILOG)(clean.clean)
    made.add_typer(storages.app, name="storages")
    made.command(epilog=keys.ROTATE_EPILOG)(keys.rotate_keys)
    made.add_typer(keys.app, name="keys")
    made.command(epilog=doctor.DOCTOR_EPILOG)(doctor.doctor)
    made.command(epilog=doctor.CHECK_EPILOG)(doctor.check)
    made.command(epilog=doctor.SETUP_EPILOG)(doctor.setup)
    made.command(epilog=plugins.EPILOG)(plugins.plugins)
    return made


app = make_app("audit")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"audit-core {audit_core.__version__}")
        raise typer.Exit


@app.callback()
def audit(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(help="A TOML file; without it the one in AUDIT_CONFIG, or audit.toml in this folder."),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """The audit trail: move its events, look at it, clean it, examine it."""
    from audit_core.operate.standalone import load_installation

    ctx.obj = cache(lambda: load_installation(config))

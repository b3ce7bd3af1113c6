"""``audit backends check``"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from audit_core import backends as core
from audit_core.cli.output import EXIT_CODES, PROBLEMS, fail, print_table
from audit_core.config import load_config
from audit_core.errors import ConfigurationError
from audit_core.plugins.errors import explain

app = typer.Typer(help="The storages, streams and the summarizer that are configured.", no_args_is_help=True)

EPILOG = f"""Examples:

audit backends check

audit backends check --config production.toml

AUDIT_CONFIG=production.toml audit backends check

{EXIT_CODES}"""


@app.callback()
def group() -> None:
    """The storages, streams and the summarizer that are configured."""


@app.command(epilog=EPILOG)
def check(
    config: Annotated[
        Path | None,
        typer.Option(help="A TOML file; without it the one in AUDIT_CONFIG, or audit.toml in this folder."),
    ] = None,
) -> None:
    """Connect to every configured backend and list what is wrong with it. Nothing is written or created."""
    try:
        configured = load_config(config)
    except ConfigurationError as error:
        fail(str(error))
    rows, problems = [], 0
    for kind, label, settings in configured.backends():
        found = _problems(kind, label, settings)
        problems += len(found)
        name = str(settings.get("BACKEND", "–"))
        rows += [[label, kind, name, "problem", problem] for problem in found] or [
            [label, kind, name, "ok", ""]
        ]
    print_table(["configured as", "kind", "backend", "state", "problem"], rows)
    if problems:
        raise typer.Exit(PROBLEMS)


def _problems(kind: str, label: str, settings: Mapping[str, Any]) -> list[str]:
    try:
        backend = core.build(kind, settings, label=label)
        try:
            return core.check(backend)
        finally:
            core.close(backend)
    except Exception as error:  # noqa: BLE001 - a client library may raise anything; the next one is checked
        return [explain(error)]

"""``audit doctor``, ``audit check`` and ``audit setup``"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable

import typer

from audit_core import backends
from audit_core.cli.installation import JsonOption, installation
from audit_core.cli.output import EXIT_CODES, PROBLEMS, console, print_table
from audit_core.operate.doctor import check as examine_backends
from audit_core.operate.doctor import examine
from audit_core.operate.trail import Finding, Level

DOCTOR_EPILOG = f"""Examples:

doctor

doctor --json | jq '.[] | select(.level != "ok")'

{EXIT_CODES} Warnings are no problem."""

CHECK_EPILOG = f"""Example:

check                     nothing is written or created

{EXIT_CODES}"""

SETUP_EPILOG = f"""Example:

setup                     what is there already is left as it is

{EXIT_CODES}"""


def doctor(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Examine everything: settings, migrations, plugins, backends, clocks, lag; and say what to do."""
    _tell(examine(installation(ctx)), as_json=as_json)


def check(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Ask every configured backend whether it is reachable, permitted and sane."""
    _tell(examine_backends(installation(ctx)), as_json=as_json)


def _tell(findings: Iterable[Finding], *, as_json: bool) -> None:
    found = list(findings)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(finding) for finding in found], indent=2))
    else:
        print_table(["examined", "state", "finding"], [[one.subject, one.level, one.words] for one in found])
    if any(finding.level is Level.PROBLEM for finding in found):
        raise typer.Exit(PROBLEMS)


def setup(ctx: typer.Context) -> None:
    """Create the tables, buckets, indexes and topics that the configured backends need."""
    for place, make in installation(ctx).backends().items():
        backends.setup(make())
        console().print(f"{place}: ready")

"""What the commands share: the installation that they work on, and what its mistakes look like."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import typer
from typer.core import TyperGroup

from audit_core.cli.output import PROBLEMS, fail
from audit_core.errors import AuditError, ConfigurationError
from audit_core.operate.trail import Installation, Trail

TrailOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--database", metavar="NAME", help="The outbox of this database; without it, of every one."),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
YesOption: TypeAlias = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


class Group(TyperGroup):
    """Commands whose errors are one sentence: with exit code 2 when the configuration is wrong, otherwise 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            fail(str(error))
        except AuditError as error:
            fail(str(error), PROBLEMS)


def installation(ctx: typer.Context) -> Installation:
    """The installation, made when a command first asks for it, and closed when the command ends."""
    made: Installation = ctx.obj()
    ctx.find_root().call_on_close(made.close)
    return made


def trails(ctx: typer.Context, name: str | None) -> list[Trail]:
    """The trail of this name, or all of them."""
    found = installation(ctx)
    return list(found.trails()) if name is None else [found.trail(name)]

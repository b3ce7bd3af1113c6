"""``audit clean``"""

from __future__ import annotations

from typing import Annotated

import typer

from audit_core.cli.installation import TrailOption, trails
from audit_core.cli.output import EXIT_CODES, console, passing_progress
from audit_core.operate.clean import plan, release_leases, trim

EPILOG = f"""Examples:

clean --dry-run           what would go, and why no more

clean                     release dead leases, give up texts that every sink has

Where people read the log's own tables (the storage "database"), no event is given up. What is not delivered, or is parked, stays;
so do the number and the leaf hash of every event.

{EXIT_CODES}"""


def clean(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    database: TrailOption = None,
) -> None:
    """Release expired leases, and give up the texts of events that every sink has."""
    out = console()
    for trail in trails(ctx, database):
        planned = plan(trail)
        if dry_run:
            out.print(f"{trail.name}: {planned.events:,} events would be given up. {planned.because}")
            continue
        if released := release_leases(trail):
            out.print(f"{trail.name}: released the expired leases on {', '.join(released)}.")
        if planned.events:
            with passing_progress() as progress:
                bar = progress.add_task(f"{trail.name}", total=planned.events)
                trim(trail, planned, lambda events, bar=bar: progress.advance(bar, events))  # type: ignore[misc]
        out.print(f"{trail.name}: {planned.events:,} events were given up. {planned.because}")

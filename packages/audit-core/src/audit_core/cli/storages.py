"""``audit storages``"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from itertools import islice
from typing import Annotated, TypeAlias

import typer
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from audit_core.cli.installation import Group, JsonOption, YesOption, installation
from audit_core.cli.output import EXIT_CODES, PROBLEMS, console, passing_progress, print_table
from audit_core.operate import storages as operate
from audit_core.operate.storages import find_able, find_restorable
from audit_core.plugins.errors import explain
from audit_core.storages.contract import (
    CompactableStorage,
    Compacted,
    PrunableStorage,
    ReadableStorage,
    VerifiableStorage,
)

app = typer.Typer(
    help="Storages: what they can do, and what is done with them.", no_args_is_help=True, cls=Group
)

LIST_EPILOG = f"""Examples:

storages list

storages list --json | jq '.[] | select(.abilities | index("prune")) | .name'

{EXIT_CODES} A problem is here a storage that cannot be made."""

PRUNE_EPILOG = f"""Examples:

storages prune archive --before 2024-01-01 --dry-run

storages prune archive --before 2024-01-01 --reason "kept for two years"

The log and the other storages keep their events. That it was done, and why, is recorded as an event before anything is removed.
A storage may have a coarser measure: what is kept in objects goes by whole days.

{EXIT_CODES}"""

COMPACT_EPILOG = f"""Examples:

storages compact archive --dry-run

storages compact archive                        every day that is over; for cron, once a day

storages compact archive --since 2026-03-01 --until 2026-03-31 --target-mb 256

It may be stopped at any time, and goes on when called again. No event is changed.

{EXIT_CODES}"""

VERIFY_EPILOG = f"""Examples:

storages verify archive                         everything; it is read as a whole

storages verify archive --since 2026-03-01 --until 2026-03-31

{EXIT_CODES} A problem is here anything that is not as it was written."""

RESTORE_EPILOG = f"""Examples:

storages restore archive search --since 2026-03-01 --until 2026-03-31

storages restore archive search --tenant acme --tenant other

storages restore archive search --dry-run       read everything, and write nothing

It may be run again: what is there already is known by its id. Nothing is ever restored into the log itself.

{EXIT_CODES} A problem is here an event that is damaged, or refused for good."""

MAX_REFUSED_SHOWN = 20
MEGABYTE = 1024 * 1024

NameArgument: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="The storage.")]
_DAY = {"metavar": "DAY", "formats": ["%Y-%m-%d"]}
SinceOption: TypeAlias = Annotated[
    datetime | None, typer.Option("--since", **_DAY, help="The first day (UTC) of the events.")
]
UntilOption: TypeAlias = Annotated[
    datetime | None, typer.Option("--until", **_DAY, help="The last day (UTC) of the events.")
]
DryRunOption: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


@app.command("list", epilog=LIST_EPILOG)
def list_(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """List the storages of the settings and what each can do: search, prune, compact, verify, read back."""
    found: list[tuple[str, list[str], str | None]] = []
    for name, make in installation(ctx).storages().items():
        try:
            found.append((name, operate.abilities(make()), None))
        except Exception as error:  # noqa: BLE001 - a client library may raise anything; the next one is listed
            found.append((name, [], explain(error)))
    if as_json:
        columns = ("name", "abilities", "problem")
        typer.echo(json.dumps([dict(zip(columns, one, strict=True)) for one in found], indent=2))
    elif not found:
        console().print("There are no storages.")
    else:
        rows = [
            [name, *("yes" if ability in able else "–" for ability in operate.ABILITIES), problem or ""]
            for name, able, problem in found
        ]
        print_table(["storage", *operate.ABILITIES, "problem"], rows)
    if any(problem for _, _, problem in found):
        raise typer.Exit(PROBLEMS)


@app.command(epilog=PRUNE_EPILOG)
def prune(
    ctx: typer.Context,
    name: NameArgument,
    before: Annotated[
        datetime, typer.Option("--before", help="Remove what occurred before this moment (UTC).")
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is recorded.")] = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> None:
    """Remove old events from a storage for good. Recorded as an event, with the reason."""
    if not dry_run and not reason.strip():
        raise typer.BadParameter("say why: it is what an auditor will read", param_hint="--reason")
    found, out = installation(ctx), console()
    storage: PrunableStorage = find_able(found, name, "prune")
    before = before.replace(tzinfo=UTC)
    with out.status(f"Counting what {name} has from before {before:%Y-%m-%d %H:%M} UTC"):
        count = storage.prune(before, dry_run=True)
    if dry_run:
        out.print(f"{name}: {count:,} events would be removed.")
        return
    if not count:
        out.print(f"{name}: there is nothing to remove.")
        return
    if not yes:
        typer.confirm(f"Remove {count:,} event(s) from {name!r} for good?", abort=True)
    with out.status(f"Removing {count:,} events from {name}"):
        count = operate.prune(found.trail(None), name, storage, before, expected=count, reason=reason)
    out.print(f"{name}: {count:,} events were removed, and that recorded.")


@app.command(epilog=COMPACT_EPILOG)
def compact(
    ctx: typer.Context,
    name: NameArgument,
    since: SinceOption = None,
    until: UntilOption = None,
    target_mb: Annotated[
        int | None,
        typer.Option(
            "--target-mb", metavar="N", min=1, help="Megabytes of an object; else what suits the store."
        ),
    ] = None,
    dry_run: DryRunOption = False,
) -> None:
    """Make few large objects of the many small ones of each day that is over."""
    first, last = _days(since, until)
    out = console()
    storage: CompactableStorage = find_able(installation(ctx), name, "compact")
    target_bytes = None if target_mb is None else target_mb * MEGABYTE
    with out.status(f"Looking at the objects of {name}"):
        planned = storage.compact(since=first, until=last, target_bytes=target_bytes, dry_run=True)
    if dry_run:
        out.print(f"{name}: {_told(planned)} would become {planned.into:,}.")
        return
    with passing_progress() as progress:
        bar = progress.add_task(name, total=planned.objects)
        done = storage.compact(
            since=first,
            until=last,
            target_bytes=target_bytes,
            progress=lambda objects: progress.advance(bar, objects),
        )
    out.print(f"{name}: {_told(done)} became {done.into:,}.")


@app.command(epilog=VERIFY_EPILOG)
def verify(
    ctx: typer.Context, name: NameArgument, since: SinceOption = None, until: UntilOption = None
) -> None:
    """Compare what a storage holds with what it wrote down about it; say what was changed, removed or added."""
    first, last = _days(since, until)
    storage: VerifiableStorage = find_able(installation(ctx), name, "verify")
    read = 0
    with _counting("objects") as progress:
        bar = progress.add_task(name, total=None)

        def told(objects: int) -> None:
            nonlocal read
            read += objects
            progress.advance(bar, objects)

        problems = storage.verify(since=first, until=last, progress=told)
    out = console()
    for problem in problems:
        out.print(problem, style="bold red")
    out.print(f"{name}: {read:,} objects were read, {len(problems):,} problem(s) found.")
    if problems:
        raise typer.Exit(PROBLEMS)


@app.command(epilog=RESTORE_EPILOG)
def restore(
    ctx: typer.Context,
    name: NameArgument,
    into: Annotated[str, typer.Argument(metavar="INTO", help="The storage that is given the events.")],
    since: SinceOption = None,
    until: UntilOption = None,
    tenant: Annotated[
        list[str] | None, typer.Option("--tenant", help="Only the events of this tenant; may be repeated.")
    ] = None,
    dry_run: DryRunOption = False,
) -> None:
    """Read the events of a storage back, and write them into another one."""
    first, last = _days(since, until)
    if name == into:
        raise typer.BadParameter(f"{name!r} has its events already; name another storage", param_hint="INTO")
    found = installation(ctx)
    source: ReadableStorage = find_able(found, name, "read back")
    other = find_restorable(found, into)
    with _counting("events") as progress:
        bar = progress.add_task(f"{name} to {into}", total=None)
        done = operate.restore(
            source,
            other,
            since=first,
            until=last,
            tenants=tenant or None,
            dry_run=dry_run,
            progress=lambda events: progress.advance(bar, events),
        )
    if dry_run:
        console().print(f"{name}: {done.events:,} events were read, and would be restored into {into}.")
        return
    console().print(f"{name}: {done.events - len(done.refused):,} events were restored into {into}.")
    if done.refused:
        out = console(stderr=True)
        out.print(f"{into} refused {len(done.refused):,} events for good:", style="bold red")
        for event_id, why in islice(done.refused.items(), MAX_REFUSED_SHOWN):
            out.print(f"{event_id}: {why}")
        if (more := len(done.refused) - MAX_REFUSED_SHOWN) > 0:
            out.print(f"and {more:,} more.")
        raise typer.Exit(PROBLEMS)


def _days(since: datetime | None, until: datetime | None) -> tuple[date | None, date | None]:
    if since is not None and until is not None and since > until:
        raise typer.BadParameter("it is before --since: no day is between them", param_hint="--until")
    return since and since.date(), until and until.date()


def _told(compacted: Compacted) -> str:
    return f"{compacted.objects:,} objects ({decimal(compacted.size_bytes)}) of {compacted.days:,} day(s)"


def _counting(what: str) -> Progress:
    """A bar for what has no end that is known before: it moves, and counts."""
    counted = TextColumn("{task.completed:,} " + what)
    return passing_progress(TextColumn("{task.description}"), BarColumn(), counted, TimeElapsedColumn())

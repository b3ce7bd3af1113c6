"""``audit parked`` and ``audit retry``"""

from __future__ import annotations

import dataclasses
import json
from itertools import islice
from typing import Annotated
from uuid import UUID

import typer

from audit_core.cli.installation import Group, JsonOption, TrailOption, YesOption, installation, trails
from audit_core.cli.output import EXIT_CODES, PROBLEMS, console, print_table
from audit_core.log import ParkedEvent
from audit_core.operate import parked as parked_events
from audit_core.relay import State

app = typer.Typer(
    help="Events that a sink refused for good, with the later ones of their targets.",
    no_args_is_help=True,
    cls=Group,
)

LIST_EPILOG = f"""Examples:

parked list

parked list archive --limit 1000 --json

{EXIT_CODES}"""

SHOW_EPILOG = f"""Example:

parked show archive 019f2c1e-7d30-7000-8000-2d7c1f0a9b11

{EXIT_CODES}"""

DISCARD_EPILOG = f"""Examples:

parked discard archive 019f2c1e-7d30-7000-8000-2d7c1f0a9b11 --reason "document over 16 MB, kept in the log"

The event stays in the log; the sink will never have it. That it was given up, and why, is recorded as an event of its target.
The later events of the target are still parked: `retry` delivers them.

{EXIT_CODES}"""

RETRY_EPILOG = f"""Examples:

retry                     every sink that has parked events

retry archive             one sink

{EXIT_CODES} A problem is here an event that is refused again, or a sink that is out of order."""

SinkArgument = Annotated[str, typer.Argument(metavar="SINK", help="The sink.")]


@app.command("list", epilog=LIST_EPILOG)
def list_(
    ctx: typer.Context,
    sink: Annotated[str | None, typer.Argument(metavar="[SINK]", help="One sink; all without.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many.")] = 100,
    as_json: JsonOption = False,
    database: TrailOption = None,
) -> None:
    """List what is parked and why."""
    found: list[ParkedEvent] = []
    for trail in trails(ctx, database):
        if sink is not None:
            trail.check_sink(sink)
        found += trail.log.parked(sink, limit=limit)
    if as_json:
        typer.echo(
            json.dumps([dataclasses.asdict(one) for one in islice(found, limit)], default=str, indent=2)
        )
        return
    if not found:
        console().print("Nothing is parked.")
        return
    rows = [
        [one.sink, f"{one.seq:,}", str(one.event_id), " ".join(filter(None, one.target or ())), one.reason]
        for one in islice(found, limit)
    ]
    print_table(["sink", "seq", "event", "target", "reason"], rows)


@app.command(epilog=SHOW_EPILOG)
def show(
    ctx: typer.Context,
    sink: SinkArgument,
    event: Annotated[UUID, typer.Argument(metavar="EVENT", help="The event's id.")],
    database: TrailOption = None,
) -> None:
    """Show one parked event: why it was refused, and what it says. Sensitive values are sealed."""
    trail = installation(ctx).trail(database)
    trail.check_sink(sink)
    [one] = parked_events.find(trail, sink, [event])
    out = console()
    out.print(f"Parked for {sink} at {one.parked_at:%Y-%m-%d %H:%M:%S %Z}: {one.reason}", style="bold")
    for recorded in trail.log.get([event]):
        out.print_json(json.dumps(recorded.to_dict()))


@app.command(epilog=DISCARD_EPILOG)
def discard(
    ctx: typer.Context,
    sink: SinkArgument,
    events: Annotated[list[UUID], typer.Argument(metavar="EVENT…", help="The events' ids.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is recorded.")],
    yes: YesOption = False,
    database: TrailOption = None,
) -> None:
    """Give up parked events: the sink will never have them. Recorded as an event, with the reason."""
    trail = installation(ctx).trail(database)
    trail.check_sink(sink)
    if not reason.strip():
        raise typer.BadParameter("say why: it is what an auditor will read", param_hint="--reason")
    found = parked_events.find(trail, sink, events)
    if not yes:
        typer.confirm(f"Give up {len(found)} event(s) for {sink!r} for good?", abort=True)
    count = parked_events.discard(trail, found, reason)
    console().print(f"{count} event(s) discarded for {sink}, and that recorded.")


def retry(
    ctx: typer.Context,
    sink: Annotated[str | None, typer.Argument(metavar="[SINK]", help="One sink; all without.")] = None,
    database: TrailOption = None,
) -> None:
    """Give sinks their parked events again, in order; what is refused again stays parked."""
    well, out = True, console()
    for trail in trails(ctx, database):
        if sink is not None:
            trail.check_sink(sink)
        names = [sink] if sink is not None else sorted(set(trail.log.parked_counts()) & set(trail.sinks))
        if not names:
            out.print(f"{trail.name}: nothing is parked.")
        relay = trail.relay(trail.settings) if names else None
        for name in names:
            assert relay is not None  # noqa: S101
            done = relay.retry(name)
            well = well and done.state is State.IDLE and not done.remaining
            words = f"{name}: {done.resumed:,} delivered, {done.remaining:,} refused again"
            if done.state is not State.IDLE:
                words += (
                    f"; not finished ({done.state}): {done.error or 'another worker has it, or it is paused'}"
                )
            out.print(words)
    if not well:
        raise typer.Exit(PROBLEMS)

"""``audit sinks``"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import typer

from audit_core.cli.installation import Group, TrailOption, YesOption, installation, trails
from audit_core.cli.output import EXIT_CODES, console
from audit_core.cli.stats import stats
from audit_core.log import RESERVED, SEQUENCER, TRIMMER
from audit_core.operate.trail import Trail

app = typer.Typer(help="Sinks: where they stand, and where they go on.", no_args_is_help=True, cls=Group)

REWIND_EPILOG = f"""Examples:

sinks rewind archive --to-seq 120000            take again what comes after seq 120,000

sinks rewind archive --since 2026-03-01         take again what occurred from that day (UTC) on

sinks rewind archive --to-start                 take everything again

sinks rewind archive --to-end                   leave out everything up to now

A storage that was restored from a backup takes again what it lost: events that it has already are known by their ids. A stream
publishes them again.

{EXIT_CODES}"""


def _example(command: str) -> str:
    return f"Example:\n\n{command}\n\n{EXIT_CODES}"


SinkArgument = Annotated[str, typer.Argument(metavar="SINK", help="The sink.")]

app.command("list", help="Where each sink stands; the same as `stats`.", epilog=_example("sinks list"))(stats)


@app.command(epilog=_example("sinks pause archive"))
def pause(ctx: typer.Context, sink: SinkArgument, database: TrailOption = None) -> None:
    """Deliver nothing to a sink until `resume`. What is under way is finished; nothing is lost."""
    _each(ctx, sink, database, lambda trail: trail.log.pause(sink), "is paused")


@app.command(epilog=_example("sinks resume archive"))
def resume(ctx: typer.Context, sink: SinkArgument, database: TrailOption = None) -> None:
    """Deliver to a sink again, at once: a wait after failures ends too."""
    _each(ctx, sink, database, lambda trail: trail.log.resume(sink), "goes on")


@app.command(epilog=REWIND_EPILOG)
def rewind(
    ctx: typer.Context,
    sink: SinkArgument,
    to_seq: Annotated[
        int | None, typer.Option("--to-seq", metavar="N", min=0, help="The last seq that it has.")
    ] = None,
    since: Annotated[
        datetime | None, typer.Option("--since", help="What occurred from then on (UTC).")
    ] = None,
    to_start: Annotated[bool, typer.Option("--to-start", help="Everything there is.")] = False,
    to_end: Annotated[bool, typer.Option("--to-end", help="Only what comes from now on.")] = False,
    yes: YesOption = False,
    database: TrailOption = None,
) -> None:
    """Set where a sink goes on: back, to take events again, or forward, to leave some out."""
    if sum((to_seq is not None, since is not None, to_start, to_end)) != 1:
        raise typer.BadParameter("give one of --to-seq, --since, --to-start and --to-end")
    trail = installation(ctx).trail(database)
    trail.check_sink(sink)
    log, head = trail.log, trail.log.cursor(SEQUENCER).seq
    if since is not None:
        seq = log.seq_before(since.replace(tzinfo=UTC))
    else:
        seq = head if to_end else to_seq or 0
    if seq > head:
        raise typer.BadParameter(f"the log ends at seq {head:,}", param_hint="--to-seq")
    now = log.cursor(sink).seq
    out = console()
    out.print(f"{sink} is at seq {now:,}; it will go on after seq {seq:,}.")
    if seq > now:
        out.print(f"It will never have the {seq - now:,} events in between.", style="bold red")
    else:
        out.print(f"It will be given {now - seq:,} events again.")
    if seq < (trimmed := log.cursor(TRIMMER).seq):
        out.print(f"The texts up to seq {trimmed:,} were given up: it begins after them.", style="yellow")
    if not yes:
        typer.confirm("Go on?", abort=True)
    log.seek(sink, seq)
    out.print("Done.")


@app.command(epilog=_example("sinks forget archive"))
def forget(
    ctx: typer.Context, sink: SinkArgument, yes: YesOption = False, database: TrailOption = None
) -> None:
    """Delete the cursor of a sink that is not in the settings any more, so that it holds up cleaning no longer."""

    def check(trail: Trail) -> None:
        if sink in trail.sinks:
            raise typer.BadParameter(f"{sink!r} is in the settings; take it out first, or pause it")

    for trail in trails(ctx, database):
        check(trail)
    if not yes:
        typer.confirm(f"Forget how far {sink!r} is, and what is parked for it?", abort=True)
    _each(ctx, sink, database, lambda trail: trail.log.forget(sink), "is forgotten")


def _each(
    ctx: typer.Context, sink: str, database: str | None, act: Callable[[Trail], None], words: str
) -> None:
    if sink in RESERVED:
        raise typer.BadParameter(f"{sink!r} is a cursor of the log itself")
    for trail in trails(ctx, database):
        trail.check_sink(sink)
        act(trail)
    console().print(f"{sink} {words}.")

"""``audit stats``"""

from __future__ import annotations

import dataclasses
import json
import time
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from audit_core.cli.installation import JsonOption, TrailOption, trails
from audit_core.cli.output import EXIT_CODES, console, table
from audit_core.operate.stats import TrailStats
from audit_core.operate.stats import stats as stats_of
from audit_core.operate.trail import Trail

EPILOG = f"""Examples:

stats                     a table

stats --watch             the table, drawn again every two seconds until Ctrl-C

stats --json | jq '.[0].readers[] | select(.lag_seconds > 60)'

{EXIT_CODES}"""

WATCH_SECONDS = 2.0


def stats(
    ctx: typer.Context,
    as_json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", help="Again every two seconds, until Ctrl-C.")] = False,
    database: TrailOption = None,
) -> None:
    """Where the trail stands: what waits, and how far each sink is behind, in events and seconds."""
    chosen = trails(ctx, database)
    if not watch:
        found = [stats_of(trail) for trail in chosen]
        typer.echo(_json(found)) if as_json else console().print(_shown(found))
        return
    try:
        _watch(chosen, as_json=as_json)
    except KeyboardInterrupt:
        return


def _watch(chosen: list[Trail], *, as_json: bool) -> None:
    out = console()
    with Live(console=out, auto_refresh=False) as live:
        while True:
            found = [stats_of(trail) for trail in chosen]
            if as_json:
                typer.echo(_json(found, indent=None))
            else:
                live.update(_shown(found), refresh=True)
            for trail in chosen:
                trail.release_connections()
            time.sleep(WATCH_SECONDS)


def _json(found: list[TrailStats], indent: int | None = 2) -> str:
    return json.dumps([dataclasses.asdict(one) for one in found], default=_plain, indent=indent)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _shown(found: list[TrailStats]) -> RenderableType:
    parts: list[RenderableType] = []
    for one in found:
        parts.append(Text(_head(one), style="bold"))
        rows = [
            [
                reader.name,
                reader.state,
                f"{reader.seq:,}",
                f"{reader.lag_events:,}",
                age(reader.lag_seconds),
                f"{reader.parked:,}",
                reader.error or "",
            ]
            for reader in one.readers
        ]
        parts.append(
            table(["reader", "state", "seq", "events behind", "oldest", "parked", "last error"], rows)
        )
    return Group(*parts)


def _head(one: TrailStats) -> str:
    waiting = (
        f"{one.waiting:,} wait for a number (oldest {age(one.waiting_seconds)})"
        if one.waiting
        else "nothing waits"
    )
    trimmed = f", texts up to {one.trimmed:,} given up" if one.trimmed else ""
    return f"{one.name}: log at seq {one.head:,}, {waiting}{trimmed}"


def age(seconds: float) -> str:
    """``seconds`` in the largest unit that says something: ``0.4 s``, ``12 min``, ``3 h``, ``2 d``."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.1f} s" if seconds else "–"

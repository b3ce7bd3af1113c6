"""``audit search``"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

import typer

from audit_core.cli.installation import installation
from audit_core.cli.output import EXIT_CODES, console, print_table
from audit_core.event import RecordedEvent
from audit_core.operate.storages import find_searchable, newest
from audit_core.query import EventQuery, InvalidQuery
from audit_core.summarizers.grammar import GrammarSummarizer
from audit_core.summarizers.words import text as visible

EPILOG = f"""Examples:

search                                  the newest events

search alice appr                       all of these words; the last may be begun

search --type policies.Policy --id 7    the history of one object

search --actor 12 --since 2026-03-01 --limit 1000 --json | jq .summary

search --storage archive --category auth

A storage that has no index for what is asked says which option to leave out, or takes longer.

{EXIT_CODES}"""

# The options, by the name of the filter that a storage cannot answer.
_OPTIONS = {
    "text": "TEXT",
    "target_types": "--type",
    "target_id": "--id",
    "actor_id": "--actor",
    "categories": "--category",
    "actions": "--action",
    "field": "--field",
    "request_id": "--request",
    "tenants": "--tenant",
    "since": "--since",
    "until": "--until",
}


def search(
    ctx: typer.Context,
    text: Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="Words to look for.")] = None,
    type: Annotated[
        list[str] | None, typer.Option("--type", help="Of this kind of object; may be repeated.")
    ] = None,
    id: Annotated[str | None, typer.Option("--id", help="Of the object with this id; needs --type.")] = None,
    actor: Annotated[str | None, typer.Option("--actor", help="By the actor with this id.")] = None,
    action: Annotated[list[str] | None, typer.Option("--action", help="create, update …")] = None,
    category: Annotated[list[str] | None, typer.Option("--category", help="change, auth …")] = None,
    field: Annotated[str | None, typer.Option("--field", help="Changes of this field.")] = None,
    tenant: Annotated[list[str] | None, typer.Option("--tenant", help="Of this tenant.")] = None,
    request: Annotated[str | None, typer.Option("--request", help="Of the request with this id.")] = None,
    since: Annotated[datetime | None, typer.Option("--since", help="From this moment on (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option("--until", help="Before this moment (UTC).")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many.")] = 50,
    storage: Annotated[
        str | None, typer.Option("--storage", metavar="NAME", help="Look into this storage.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each event as a line of JSON instead of a table.")
    ] = False,
) -> None:
    """Look for events, the newest first, in any storage that can search."""
    found = find_searchable(installation(ctx), storage)
    try:
        query = EventQuery(
            text=" ".join(text or ()),
            target_types=type or (),
            target_id=id,
            actor_id=actor,
            actions=action or (),
            categories=category or (),
            field=field,
            tenants=tenant or None,
            request_id=request,
            since=since and since.replace(tzinfo=UTC),
            until=until and until.replace(tzinfo=UTC),
        )
        events = newest(found, query, limit)
        if as_json:
            for recorded in events:
                typer.echo(json.dumps(recorded.to_dict()))
        else:
            _print(events)
    except InvalidQuery as error:
        raise typer.BadParameter(str(error), param_hint=_OPTIONS.get(error.filter or "")) from error


def _print(events: Iterable[RecordedEvent]) -> None:
    # Everything in an event may come from outside: nothing of it may steer the terminal.
    grammar = GrammarSummarizer()
    with console().status("Searching"):
        rows = [
            [
                f"{recorded.event.occurred_at:%Y-%m-%d %H:%M:%S}",
                visible(recorded.event.actor and recorded.event.actor.label) or "–",
                visible(recorded.summary or grammar.summarize([recorded.event], "en")[0]),
                str(recorded.id),
            ]
            for recorded in events
        ]
    if rows:
        print_table(["time (UTC)", "actor", "what happened", "event"], rows)
    else:
        console().print("Nothing matches.")

"""``audit rotate-keys`` and ``audit keys``"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from audit_core.cli.installation import Group, JsonOption, TrailOption, YesOption, installation, trails
from audit_core.cli.output import EXIT_CODES, PROBLEMS, console, passing_progress, print_table
from audit_core.privacy.keyring import export as exported
from audit_core.privacy.table import newest_of
from audit_core.privacy.table import rotate as rotate_table

app = typer.Typer(
    help="The data keys that sensitive values are sealed under.", no_args_is_help=True, cls=Group
)

ROTATE_EPILOG = f"""Examples:

rotate-keys --dry-run     how many data keys are wrapped with an older secret

rotate-keys               wrap them with the newest of SENSITIVE_KEYS

Put the new secret first in SENSITIVE_KEYS, and keep the old ones behind it until this has ended with 0. No event is touched. It
may be stopped at any time and goes on when called again.

{EXIT_CODES} A problem is here a key whose secret is not in SENSITIVE_KEYS; the others are rewrapped."""

LIST_EPILOG = f"""Examples:

keys list

keys list --tenant acme --json

{EXIT_CODES}"""

EXPORT_EPILOG = f"""Examples:

keys export --output keyring.json

keys export --tenant acme > keyring.json

The keys stay wrapped: to see a value takes this file and SENSITIVE_KEYS. That it was exported is recorded as an event.

{EXIT_CODES}"""

DESTROY_EPILOG = f"""Examples:

keys destroy --subject crm.Customer:17 --reason "erasure request of 3 March"

keys destroy 019f2c1e-7d30-7000-8000-2d7c1f0a9b11 --reason "made by mistake"

With --tenant alone the keys of all persons of the tenant go too. Nobody can ever see again what was sealed under them. Backups of
the table still have them: see "Destroy a key" in the guide about keys.

{EXIT_CODES}"""

TenantOption = Annotated[str | None, typer.Option("--tenant", help="Only the keys of this tenant.")]
SubjectOption = Annotated[str | None, typer.Option("--subject", help="Only the keys of this person.")]


def rotate_keys(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many keys there are.")] = False,
    database: TrailOption = None,
) -> None:
    """Wrap every data key with the newest of SENSITIVE_KEYS, with a progress bar. No event is touched."""
    well, out = True, console()
    for trail in trails(ctx, database):
        table = trail.key_table
        newest = newest_of(table)
        count = table.count_outdated(newest)
        if dry_run or not count:
            out.print(f"{trail.name}: {count:,} data keys are wrapped with another secret than {newest}.")
            continue
        with passing_progress() as progress:
            task = progress.add_task(trail.name, total=count)
            done = rotate_table(table, lambda step: progress.advance(task, step))  # noqa: B023 - called inside
        if done.rewrapped:
            extra = {"rewrapped": done.rewrapped, "secret": newest}
            trail.record("rotate_keys", None, "SENSITIVE_KEYS has a new secret", extra)
        out.print(f"{trail.name}: {done.rewrapped:,} data keys are wrapped with the secret {newest} now.")
        for failure in done.failures:
            out.print(failure, style="bold red")
        left = table.count_outdated(newest)
        if (late := left - len(done.failures)) > 0:
            out.print(
                f"{trail.name}: {late:,} data keys were made with another secret meanwhile. Give every process the new "
                f"settings, and call it again.",
                style="bold red",
            )
        well = well and not left
    if not well:
        raise typer.Exit(PROBLEMS)


@app.command("list", epilog=LIST_EPILOG)
def list_(
    ctx: typer.Context,
    tenant: TenantOption = None,
    subject: SubjectOption = None,
    as_json: JsonOption = False,
    database: TrailOption = None,
) -> None:
    """List the data keys: whose each is, and the id of the secret that it is wrapped with. No key is shown."""
    found = [
        key for trail in trails(ctx, database) for key in trail.key_table.keys(tenant=tenant, subject=subject)
    ]
    rows = [{**key.to_dict(), "wrapped": key.wrapped is not None} for key in found]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif not rows:
        console().print("There are no data keys.")
    else:
        columns = ["id", "tenant", "subject", "created_at", "wrapped_by", "destroyed_at"]
        print_table(columns, [[str(row[name] or "") for name in columns] for row in rows])


@app.command(epilog=EXPORT_EPILOG)
def export(
    ctx: typer.Context,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Write here, and never over a file; else print."),
    ] = None,
    tenant: TenantOption = None,
    subject: SubjectOption = None,
    database: TrailOption = None,
) -> None:
    """Export a keyring for a service outside, as JSON. Recorded as an event."""
    trail = installation(ctx).trail(database)
    keys = list(trail.key_table.keys(tenant=tenant, subject=subject))
    with trail.transaction():
        extra = {"keys": len(keys), **_asked_for(tenant, subject)}
        trail.record("export_keys", None, "a keyring for a service outside", extra)
    text = exported(keys)
    if output is None:
        typer.echo(text)
        return
    try:
        with open(output, "x", encoding="utf-8", opener=_for_owner_alone) as file:
            file.write(text)
    except OSError as error:
        raise typer.BadParameter(f"it cannot be written: {error.strerror}", param_hint="--output") from None
    console().print(f"{len(keys):,} keys are in {output}.")


@app.command(epilog=DESTROY_EPILOG)
def destroy(
    ctx: typer.Context,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is recorded.")],
    keys: Annotated[list[UUID] | None, typer.Argument(metavar="[KEY…]", help="The keys' ids.")] = None,
    tenant: TenantOption = None,
    subject: SubjectOption = None,
    yes: YesOption = False,
    database: TrailOption = None,
) -> None:
    """Destroy data keys: what was sealed under them cannot be read any more, ever. Recorded as an event, with the reason."""
    if not (keys or tenant or subject):
        raise typer.BadParameter("name the keys: by their ids, with --tenant or with --subject")
    if not reason.strip():
        raise typer.BadParameter("say why: it is what an auditor will read", param_hint="--reason")
    trail = installation(ctx).trail(database)
    found = [
        key
        for key in trail.key_table.keys(tenant=tenant, subject=subject)
        if key.wrapped is not None and (not keys or key.id in keys)
    ]
    if unknown := {str(key) for key in keys or ()} - {str(key.id) for key in found}:
        raise typer.BadParameter(
            f"there is no such key, or it is destroyed already: {', '.join(sorted(unknown))}"
        )
    if not found:
        console().print("There is no key that could be destroyed.")
        return
    if not yes:
        typer.confirm(
            f"Destroy {len(found):,} data key(s)? What was sealed under them is lost for ever.", abort=True
        )
    ids = [key.id for key in found]
    with trail.transaction():
        count = trail.key_table.destroy(ids)
        extra = {"keys": list(map(str, ids)), **_asked_for(tenant, subject)}
        trail.record("destroy_keys", None, reason, extra)
    console().print(f"{count:,} data key(s) destroyed, and that recorded.")


def _for_owner_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _asked_for(tenant: str | None, subject: str | None) -> dict[str, str]:
    return {name: text for name, text in (("tenant", tenant), ("subject", subject)) if text is not None}

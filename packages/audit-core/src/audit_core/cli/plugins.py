"""``audit plugins``"""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from audit_core.cli.output import EXIT_CODES, console, print_table
from audit_core.plugins.discovery import Plugin
from audit_core.plugins.manager import get_plugin_manager

EPILOG = f"""Examples:

audit plugins

audit plugins --json | jq '.[] | select(.state == "broken")'

{EXIT_CODES} A broken plugin that nothing uses is no problem: this command exits with 0."""


def plugins(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array of plugins instead.")] = False,
) -> None:
    """List the installed plugins: what each brings, its distribution, its state, and why it is broken."""
    manager = get_plugin_manager()
    found = manager.plugins()
    if as_json:
        typer.echo(json.dumps([_as_dict(plugin) for plugin in found], indent=2))
        return
    print_table(
        ["name", "kind", "distribution", "version", "state", "cause"],
        [
            [
                plugin.name,
                _kinds(plugin),
                plugin.distribution or "–",
                plugin.version or "–",
                plugin.state,
                plugin.cause or "",
            ]
            for plugin in found
        ],
    )
    # A broken plugin has its cause in the table; names claimed twice belong to no line of it.
    for problem in manager.conflicts():
        console().print(problem)


def _kinds(plugin: Plugin) -> str:
    """``storage (jsonl, memory), hooks``"""
    names = {kind: f" ({', '.join(registered)})" for kind, registered in plugin.registers.items()}
    return ", ".join(f"{kind}{names.get(kind, '')}" for kind in plugin.kinds) or "–"


def _as_dict(plugin: Plugin) -> dict[str, object]:
    return {**dataclasses.asdict(plugin), "kinds": plugin.kinds}

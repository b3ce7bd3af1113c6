"""How the command speaks: tables for people, whole lines for pipes, exit codes for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import typer
from rich.console import Console
from rich.progress import Progress, ProgressColumn
from rich.table import Table
from rich.text import Text

PROBLEMS, WRONG_USE = 1, 2
EXIT_CODES = "Exit codes: 0 all is well, 1 there are problems, 2 the command or the configuration is wrong."
_STYLES = {
    **dict.fromkeys(("ok", "current"), "green"),
    **dict.fromkeys(("blocked", "warning", "paused", "gone"), "yellow"),
    **dict.fromkeys(("broken", "problem", "waiting"), "bold red"),
}


def console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, or, in a pipe, wide enough that nothing is wrapped."""
    found = Console(stderr=stderr, highlight=False, markup=False, soft_wrap=False)
    if not found.is_terminal:
        found.width = 10_000
    return found


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """``rows`` under ``columns``; a cell that is a state (``ok``, ``broken`` …) is colored."""
    found = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        found.add_column(column, overflow="fold")
    for row in rows:
        found.add_row(*(Text(str(cell), style=_STYLES.get(cell, "")) for cell in row))
    return found


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print :func:`table`."""
    console().print(table(columns, rows))


def passing_progress(*columns: ProgressColumn) -> Progress:
    """A bar for a terminal, gone when the work is done; nothing in a pipe."""
    out = console()
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal)


def fail(message: str, code: int = WRONG_USE) -> NoReturn:
    """Print ``message`` on stderr and exit because it could not be done."""
    console(stderr=True).print(Text.assemble(("Error: ", "bold red"), message))
    raise typer.Exit(code)

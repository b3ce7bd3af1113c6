"""Management commands: an event recorded by one says so."""

from __future__ import annotations

import functools
from typing import Any

from django.core.management.base import BaseCommand

from audit_core.context import audit_context, current
from audit_core.event import Actor

_execute = BaseCommand.execute
# These run other code than their own: requests, a person's, tests.
_TRANSPARENT = frozenset({"runserver", "testserver", "test", "runworker", "audit"})


@functools.wraps(_execute)
def execute(self: BaseCommand, *args: Any, **options: Any) -> Any:
    """Run a command with itself as the source, and as the actor if nobody else is."""
    name = type(self).__module__.rpartition(".")[2]
    scope = current()
    if name in _TRANSPARENT or scope.context.source is not None:
        return _execute(self, *args, **options)
    source = {"shell": "shell", "migrate": "migration"}.get(name, f"command:{name}")
    values: dict[str, Any] = {"source": source}
    if scope.actor is None:
        values["actor"] = Actor(type="command", repr=name)
    with audit_context(**values):
        return _execute(self, *args, **options)


def install() -> None:
    """Wrap ``BaseCommand.execute``. Doing it again changes nothing."""
    BaseCommand.execute = execute  # type: ignore[method-assign]

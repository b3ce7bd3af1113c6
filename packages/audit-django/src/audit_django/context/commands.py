"""Management commands: an event recorded by one says so, and which account of the operating system ran it."""

from __future__ import annotations

import functools
import getpass
from typing import Any

from django.core.management.base import BaseCommand

from audit_core.context import audit_context, current
from audit_core.event import Actor
from audit_django.context.actor import actor_or

_execute = BaseCommand.execute
# These run other code than their own: requests, tasks, tests. `audit` names itself where it records.
_TRANSPARENT = frozenset(
    {"runserver", "runserver_plus", "testserver", "test", "runworker", "db_worker", "audit"}
)
_SHELLS = frozenset({"shell", "shell_plus"})


@functools.wraps(_execute)
def execute(self: BaseCommand, *args: Any, **options: Any) -> Any:
    """Run a command with itself as the source, and as the actor if nobody else is.

    In a request, a task or another command it is a part of that, and changes nothing.
    """
    name = type(self).__module__.rpartition(".")[2]
    scope = current()
    if name in _TRANSPARENT or scope.context.source is not None:
        return _execute(self, *args, **options)
    values: dict[str, Any] = {"source": _source(name)}
    if scope.actor is None:
        values["actor"] = actor_or(functools.cache(functools.partial(_actor, name)))
    with audit_context(**values):
        return _execute(self, *args, **options)


def _source(name: str) -> str:
    if name in _SHELLS:
        return "shell"
    return "migration" if name == "migrate" else f"command:{name}"


def _actor(name: str) -> Actor:
    """The command, with the account that runs it as its username. In a shell nobody but that account acts."""
    account = _account()
    if name in _SHELLS and account is not None:
        return Actor(type="os_user", username=account, repr=account)
    return Actor(type="command", username=account, repr=name)


def _account() -> str | None:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container's number without an entry in passwd
        return None


def install() -> None:
    """Wrap ``BaseCommand.execute``. Doing it again changes nothing."""
    BaseCommand.execute = execute  # type: ignore[method-assign]

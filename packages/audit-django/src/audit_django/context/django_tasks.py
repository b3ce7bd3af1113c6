"""``django.tasks`` (Django 6.0 and newer): a task names itself as the source.

A task of Django has no headers in which its cause could travel. A backend that runs it at once runs it in the context of who
queued it; with any other, pass on what the task needs as an argument.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from audit_core.context import audit_context, current
from audit_core.event import Actor
from audit_django.context.actor import actor_or

_scopes: dict[str, Any] = {}  # of the tasks that are running, by their id


def install() -> None:
    """Connect to the signals of ``django.tasks``, if this Django has them. Doing it again changes nothing."""
    try:
        from django.tasks.signals import task_finished, task_started
    except ImportError:
        return
    task_started.connect(_begun, dispatch_uid="audit_django")
    task_finished.connect(_ended, dispatch_uid="audit_django")


def _begun(task_result: Any, **kwargs: Any) -> None:
    name = task_result.task.module_path
    values: dict[str, Any] = {"source": f"task:{name}"}
    if current().actor is None:
        values["actor"] = actor_or(lambda: Actor(type="task", repr=name))
    _scopes[task_result.id] = scope = audit_context(**values)
    scope.__enter__()


def _ended(task_result: Any, **kwargs: Any) -> None:
    scope = _scopes.pop(task_result.id, None)
    if scope is not None:
        with suppress(ValueError):  # a backend that ends a task in another context than it began it in
            scope.__exit__(None, None, None)

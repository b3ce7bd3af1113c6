"""Celery: a task carries the actor who caused it, and names itself as the source.

A project that does not use Celery never loads it. Celery logs what a receiver raises and goes on, so nothing here can keep a
task from being sent or run.
"""

from __future__ import annotations

from typing import Any

from audit_core.context import audit_context, current
from audit_core.event import Actor
from audit_django.context.actor import actor_or
from audit_django.context.imports import when_imported
from audit_django.context.travel import HEADER, arrival, departure


def install() -> None:
    """Connect to Celery's signals, now or when they are imported. Doing it again changes nothing."""
    when_imported("celery.signals", _connect)


def _connect(signals: Any) -> None:
    signals.before_task_publish.connect(_published, weak=False, dispatch_uid="audit_django")
    signals.task_prerun.connect(_begun, weak=False, dispatch_uid="audit_django")
    signals.task_postrun.connect(_ended, weak=False, dispatch_uid="audit_django")


def _published(sender: Any, headers: dict[str, Any], **kwargs: Any) -> None:
    # The relay delivers what many have caused: for it nothing of the trail passes through the broker.
    if sender != "audit.relay" and (values := departure()):
        headers[HEADER] = values


def _begun(task: Any, **kwargs: Any) -> None:
    request = task.request
    if request.is_eager:  # in the process and the context of who called it
        values: dict[str, Any] = {"actor": current().actor}
    else:
        # Message protocol 1 keeps what is not Celery's own together, protocol 2 beside the rest.
        others = request.headers if isinstance(request.headers, dict) else {}
        values = arrival(request.get(HEADER) or others.get(HEADER))
    if values["actor"] is None:
        values["actor"] = actor_or(lambda: Actor(type="task", repr=task.name))
    scope = audit_context(**values, source=f"task:{task.name}")
    scope.__enter__()
    request.audit_scope = scope  # one object for each run of the task, which ends with it


def _ended(task: Any, **kwargs: Any) -> None:
    scope = task.request.__dict__.pop("audit_scope", None)
    if scope is not None:
        scope.__exit__(None, None, None)

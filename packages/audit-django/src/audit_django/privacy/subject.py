"""Whose values an event holds."""

from __future__ import annotations

import json
from typing import Any

from django.apps import apps
from django.db.models import Model, QuerySet

from audit_core.event import Event
from audit_django import registry
from audit_django.fields import pk_text


class SubjectUnknown(Exception):
    """The model names the person a row belongs to, but who that is cannot be found out any more."""


def subject_of(event: Event, using: str) -> str | None:
    """The person whom the values of ``event`` belong to (``"crm.Customer:17"``); ``None`` where there is nobody.

    Taken from the event where it says so, as that of a creation or deletion does; else from the row, with one SELECT. Raises
    :class:`SubjectUnknown` for rows that are gone or many.
    """
    if event.target is None:
        return None
    model = apps.get_model(event.target.type)
    tracked = registry.tracked(model) or registry.describe(model)
    if tracked.subject is None:
        return None
    if event.target.id is None:
        raise SubjectUnknown
    rows = _rows(model, event.target.id, using)
    if callable(tracked.subject):
        found = _only(rows)
        subject = tracked.subject(found)
        return None if subject is None else str(subject)
    field: Any = model._meta.pk if tracked.subject == "pk" else model._meta.get_field(tracked.subject)
    if field.primary_key:
        return f"{model._meta.label}:{event.target.id}"
    change = event.diff.get(field.name)
    if change is not None:
        value = change.before if event.action == "delete" else change.after
        value = value["pk"] if field.is_relation and value is not None else value
    elif event.action in ("create", "delete") and field in [spec.field for spec in tracked.fields]:
        return None  # such an event has every value that is not null
    else:
        value = _only(rows.values_list(field.attname, flat=True))
    if value is None:
        return None
    if field.is_relation:
        person = field.related_model._meta.concrete_model
        return f"{person._meta.label}:{pk_text(person, value)}"
    return str(value)


def _rows(model: type[Model], key: str, using: str) -> QuerySet[Any]:
    pk: Any = tuple(json.loads(key)) if len(model._meta.pk_fields) > 1 else key
    return QuerySet(model=model, using=using).filter(pk=pk)


def _only(rows: QuerySet[Any]) -> Any:
    found = list(rows[:1])
    if not found:
        raise SubjectUnknown
    return found[0]

"""The rows that a ``Collector`` of Django is about to delete, as the database holds them, locked in the order of their keys."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.db import connections
from django.db.models import Model, QuerySet
from django.db.models.deletion import Collector

from audit_django import registry
from audit_django.capture import m2m
from audit_django.capture.select_rows import PK, ask, fetch
from audit_django.capture.transactions import TransactionState, take_write_lock
from audit_django.capture.update import is_plain
from audit_django.fields import Tracked
from audit_django.labels import BATCH


def involved(collector: Collector) -> Iterator[Tracked]:
    """What is audited of the models whose rows go, or whose relations are set to something else."""
    updated = [relation.model for relation, _ in collector.field_updates]
    models = [*collector.data, *(rows.model for rows in collector.fast_deletes), *updated]
    models += [child for model in updated for child in registry.audited_children(model)]
    for model in models:
        if (tracked := registry.tracked(model)) is not None:
            yield tracked
        elif m2m.is_audited(model):
            yield from m2m.owners_of(model)


def pin(collector: Any) -> None:
    """Let fast deletes of audited rows delete the rows that are there now, locked, and no others."""
    pinned: list[Any] = []
    for rows in collector.fast_deletes:
        if registry.tracked(rows.model) is None and not m2m.is_audited(rows.model):
            pinned.append(rows)
            continue
        for locked in _parts(rows, collector.using):
            part: QuerySet[Any] = QuerySet(model=rows.model, using=collector.using)
            part = part.filter(pk__in=[row.pk for row in locked])
            part._result_cache = locked
            part._audit_locked = True  # type: ignore[attr-defined]
            pinned.append(part)
    collector.fast_deletes = pinned


def hold(collector: Collector) -> None:
    """Lock the rows that go and are not audited, where relations to them are set to something else.

    Else another transaction could refer to them meanwhile, and its rows would be set too, without an event.
    """
    if not connections[collector.using].features.has_select_for_update:
        return  # one writer at a time
    updates: Any = collector.field_updates
    referred = {relation.remote_field.model._meta.concrete_model for relation, _ in updates}
    for model, instances in collector.data.items():
        if registry.tracked(model) is None and model._meta.concrete_model in referred:
            deque(read(model, instances, collector.using), maxlen=0)


def rows_of(collector: Collector, state: TransactionState) -> dict[type[Model], list[Any]]:
    """The rows that go of each model that is audited, or is the through model of an audited field; and :func:`pin`."""
    found: dict[type[Model], list[Any]] = {}
    for model, instances in collector.data.items():
        if registry.tracked(model) is not None or m2m.is_audited(model):
            keys = _keys(instances)
            if len(keys) <= BATCH:  # they come with the next statement, or the first of pin()
                take_write_lock(collector.using, _concrete(model))
                found[model] = ask(state, _concrete(model), PK, keys, "delete")
            else:
                found[model] = list(read(model, instances, collector.using))
    pin(collector)
    state.prelude.send()
    for rows in collector.fast_deletes:
        if registry.tracked(rows.model) is not None or m2m.is_audited(rows.model):
            found.setdefault(rows.model, []).extend(read(rows.model, rows, collector.using))
    return found


def read(model: type[Model], group: Any, using: str) -> Iterator[Model]:
    """The rows of a queryset or of instances, locked."""
    if isinstance(group, QuerySet) and getattr(group, "_audit_locked", False):
        yield from group
        return
    if isinstance(group, QuerySet) and group._result_cache is None:
        parts = _parts(group, using)
    else:
        parts = _locked(model, _keys(group), using)
    for rows in parts:
        yield from rows


def _parts(rows: QuerySet[Any], using: str) -> Iterator[list[Model]]:
    """The rows of a queryset, locked. One SELECT where the database locks what it finds, and not the gaps between as MariaDB."""
    take_write_lock(using, rows.model)  # before the first read
    by_key = rows.order_by("pk")
    is_whole = rows.query.deferred_loading == (frozenset(), True) and not rows.model._meta.proxy
    if is_whole and is_plain(rows.query) and connections[using].vendor != "mysql":
        found = list(by_key.select_for_update())
        for start in range(0, len(found), BATCH):
            yield found[start : start + BATCH]
    else:
        yield from _locked(rows.model, list(by_key.values_list("pk", flat=True)), using)


def _keys(group: Iterable[Any]) -> list[Any]:
    return sorted({instance.pk for instance in group}, key=lambda key: (str(type(key)), key))


def _concrete(model: type[Model]) -> type[Model]:
    return model._meta.concrete_model or model


def _locked(model: type[Model], keys: Sequence[Any], using: str) -> Iterator[list[Model]]:
    concrete = _concrete(model)
    take_write_lock(using, concrete)
    for start in range(0, len(keys), BATCH):
        yield fetch(concrete, PK, keys[start : start + BATCH], connections[using], "delete")


def parts_of_children(rows_by_model: Mapping[Tracked, Mapping[Any, Model]]) -> set[tuple[type[Model], Any]]:
    """The parents' rows of multi-table children that go too: the event is the child's."""
    return {
        (parent, getattr(row, parent._meta.pk.attname))
        for rows in rows_by_model.values()
        for row in rows.values()
        for parent in row._meta.get_parent_list()
    }

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
from audit_django.capture.select_rows import PK, ask, ask_rows, fetch
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
            deque(_locked(model, _keys(instances), collector.using), maxlen=0)


def rows_of(collector: Any, state: TransactionState) -> dict[type[Model], list[Any]]:
    """The rows that go of each model that is audited, or is the through model of an audited field.

    Fast deletes delete these very rows then, and no others. All are locked in the order in which Django deletes them, and read
    in one round trip where the database can do that.
    """
    asked = [(rows, _ask(rows, state) if _is_ours(rows.model) else None) for rows in collector.fast_deletes]
    found: dict[type[Model], list[Any]] = {
        model: _ask_for_keys(state, model, _keys(instances))
        for model, instances in collector.data.items()
        if _is_ours(model)
    }
    state.prelude.send()
    collector.fast_deletes = []
    for rows, locked in asked:
        if locked is None:
            collector.fast_deletes.append(rows)
            continue
        found.setdefault(rows.model, []).extend(locked)
        for start in range(0, len(locked), BATCH):
            part: QuerySet[Any] = QuerySet(model=rows.model, using=collector.using)
            collector.fast_deletes.append(
                part.filter(pk__in=[row.pk for row in locked[start : start + BATCH]])
            )
    return found


def read(model: type[Model], group: Any, state: TransactionState) -> list[Model]:
    """The rows of a queryset or of instances, locked."""
    if isinstance(group, QuerySet) and group._result_cache is None:
        found = _ask(group, state)
    else:
        found = _ask_for_keys(state, model, _keys(group))
    state.prelude.send()
    return found


def _is_ours(model: type[Model]) -> bool:
    return registry.tracked(model) is not None or m2m.is_audited(model)


def _ask(rows: QuerySet[Any], state: TransactionState) -> list[Model]:
    """The rows of a queryset. One SELECT where the database locks what it finds, and not the gaps between as MariaDB."""
    using = state.connection.alias
    take_write_lock(using, rows.model)  # before the first read
    by_key = rows.order_by("pk")
    is_whole = rows.query.deferred_loading == (frozenset(), True) and not rows.model._meta.proxy
    if is_whole and is_plain(rows.query) and connections[using].vendor != "mysql":
        return ask_rows(state, by_key.select_for_update())
    return _ask_for_keys(state, rows.model, list(by_key.values_list("pk", flat=True)))


def _ask_for_keys(state: TransactionState, model: type[Model], keys: Sequence[Any]) -> list[Model]:
    if len(keys) > BATCH:
        return [row for rows in _locked(model, keys, state.connection.alias) for row in rows]
    take_write_lock(state.connection.alias, _concrete(model))
    return ask(state, _concrete(model), PK, keys, "delete") if keys else []


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

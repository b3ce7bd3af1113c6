"""What the database held before a write, read under a row lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import Model, QuerySet

from audit_core.diff import FIELD
from audit_django.capture.select_rows import PK, select_rows, whole
from audit_django.capture.transactions import TransactionState, take_write_lock
from audit_django.fields import FieldSpec
from audit_django.labels import BATCH


@dataclass(frozen=True, slots=True)
class Row:
    """The values of one row by attribute name, and the objects its relations referred to where they came along.

    ``whole`` is the row as an object, where all of its columns were read.
    """

    values: Mapping[str, Any] = field(repr=False)  # plaintext: keep it out of error reports
    related: Mapping[str, Model] = field(default_factory=dict, repr=False)
    whole: Model | None = field(default=None, repr=False)


class Reading:
    """A row that is asked for. ``row`` is there when the write that comes next is made; ``None``: there is none."""

    row: Row | None = None


def read(
    state: TransactionState,
    model: type[Model],
    pk: Any,
    specs: Sequence[FieldSpec],
    instance: Model,
    partial: bool = False,
) -> Reading:
    """Ask for the row of this primary key, and lock it until the transaction ends. One SELECT, sent with the next statement.

    Relations whose object ``instance`` holds are joined: they are the ones that may have been set to another object, and the
    old one's label is needed then. All columns are read for an instance that lacks some, because its label may need them.
    Custom managers are not asked, so what they hide is found.
    """
    connection = state.connection
    using = connection.alias
    take_write_lock(using, model)
    reading = Reading()
    names = tuple(spec.attname for spec in specs)
    if joins := _joins(specs, using, instance):
        reading.row = _with_related(model, pk, names, joins, using)
        return reading
    is_whole = partial or bool(instance.get_deferred_fields())
    columns = whole(model) if is_whole else names
    columns = columns or tuple(key.attname for key in model._meta.pk_fields)  # to name none means all
    try:
        select = select_rows(model, columns, PK, [pk], connection, "update")
        statement = select.statement([pk], connection)
    except EmptyResultSet:  # no row can have such a key
        return reading

    def answer(rows: list[Any]) -> None:
        for row in rows:
            held = dict(zip(columns, select.values(row, connection), strict=True))
            found = model.from_db(using, columns, list(held.values())) if is_whole else None
            reading.row = Row({name: held[name] for name in names}, whole=found)

    state.prelude.read(statement, answer)
    return reading


def _with_related(
    model: type[Model], pk: Any, names: Sequence[str], joins: Sequence[str], using: str
) -> Row | None:
    features = connections[using].features
    no_key = features.has_select_for_no_key_update
    rows: QuerySet[Any] = QuerySet(model=model, using=using).filter(pk=pk).order_by()
    of = ("self", *_parent_links(model)) if features.has_select_for_update_of else ()
    row = rows.select_for_update(of=of, no_key=no_key).select_related(*joins)[:1]
    found = next(iter(row), None)
    if found is None:  # or the object that a relation refers to is not there: then the join finds nothing
        joins = ()
        found = next(iter(rows.select_for_update(no_key=no_key)[:1]), None)
    if found is None:
        return None
    values = {name: found.__dict__.get(name) for name in names}
    return Row(values, {name: getattr(found, name) for name in joins}, found)


def reread(model: type[Model], pk: Any, specs: Sequence[FieldSpec], using: str) -> Mapping[str, Any]:
    """What the database made of expressions, defaults of its own and generated columns. One SELECT."""
    return next(iter(reread_many(model, [pk], specs, using).values()), {})


def reread_many(
    model: type[Model], keys: Sequence[Any], specs: Sequence[FieldSpec], using: str
) -> Mapping[Any, Mapping[str, Any]]:
    """The same for many rows, by primary key. One SELECT for 500 of them."""
    names = [spec.attname for spec in specs]
    found: dict[Any, Mapping[str, Any]] = {}
    for start in range(0, len(keys), BATCH):
        rows: QuerySet[Any] = QuerySet(model=model, using=using)
        rows = rows.filter(pk__in=keys[start : start + BATCH]).order_by()
        for key, *values in rows.values_list("pk", *names):
            found[key] = dict(zip(names, values, strict=True))
    return found


def as_read(instance: Model) -> Any:
    """The primary key of ``instance`` as the database gives it back: 5 where somebody has set "5"."""
    columns = instance._meta.pk_fields
    values = instance.pk if len(columns) > 1 else (instance.pk,)
    key = tuple(column.to_python(value) for column, value in zip(columns, values, strict=True))
    return key if len(columns) > 1 else key[0]


def _joins(specs: Sequence[FieldSpec], using: str, instance: Model) -> list[str]:
    features = connections[using].features
    if features.has_select_for_update and not features.has_select_for_update_of:
        return []  # the rows that are joined would be locked too
    return [
        spec.name
        for spec in specs
        if spec.relation != FIELD and spec.field.is_cached(instance) and spec.field.get_cached_value(instance)
    ]


def _parent_links(model: type[Model]) -> list[str]:
    return [link.name for link in model._meta.parents.values() if link is not None]

"""What the database held before a write, read under a row lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connections
from django.db.models import Model, QuerySet

from audit_core.diff import FIELD
from audit_django.capture.transactions import take_write_lock
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


def read(
    model: type[Model],
    pk: Any,
    specs: Sequence[FieldSpec],
    using: str,
    instance: Model,
    partial: bool = False,
) -> Row | None:
    """The row of this primary key, locked until the transaction ends; ``None`` when there is none. One SELECT.

    Relations whose object ``instance`` holds are joined: they are the ones that may have been set to another object, and the
    old one's label is needed then. All columns are read for an instance that lacks some, because its label may need them.
    Custom managers are not asked, so what they hide is found.
    """
    take_write_lock(using, model)
    rows: QuerySet[Any] = QuerySet(model=model, using=using).filter(pk=pk)
    # The lock that the UPDATE itself takes: a stronger one would make inserts that refer to this row wait.
    features = connections[using].features
    no_key = features.has_select_for_no_key_update
    joins = _joins(specs, using, instance)
    if joins or partial or instance.get_deferred_fields():
        of = ("self", *_parent_links(model)) if joins and features.has_select_for_update_of else ()
        locked = rows.order_by().select_for_update(of=of, no_key=no_key)
        row = next(iter(locked.select_related(*joins or (None,))[:1]), None)
        if (
            row is None and joins
        ):  # or the object that a relation refers to is not there: then the join finds nothing
            joins = []
            row = next(iter(rows.order_by().select_for_update(no_key=no_key)[:1]), None)
        if row is None:
            return None
        values = {spec.attname: row.__dict__.get(spec.attname) for spec in specs}
        return Row(values, {name: getattr(row, name) for name in joins}, row)
    names = [spec.attname for spec in specs]
    found = rows.order_by().select_for_update(no_key=no_key).values_list("pk", *names)[:1]
    for _, *values in found:
        return Row(dict(zip(names, values, strict=True)))
    return None


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

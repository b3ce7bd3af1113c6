"""``QuerySet.bulk_create()``, with conflicts ignored or turned into updates, and ``abulk_create()``.

What is recorded is what the database has made of it. Where conflicts are ignored it says itself which rows it has inserted; where
they become updates, the rows that are in the way are read and locked before, and read again after.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from django.db import connections
from django.db.models import Model, Q, QuerySet, UniqueConstraint
from django.db.models.expressions import DatabaseDefault

from audit_core.privacy.frames import discreet
from audit_django import registry
from audit_django.capture import before as database
from audit_django.capture import changes, guard, inserted, m2m
from audit_django.capture.before import Row
from audit_django.capture.push import push
from audit_django.capture.save import decided_by_database
from audit_django.capture.transactions import TransactionState, joined, take_write_lock
from audit_django.fields import Tracked
from audit_django.labels import label_of
from audit_django.recording import capture_is_off

PART = 200  # objects whose rows are looked for in one query

_bulk_create = QuerySet.bulk_create


def install() -> None:
    """Wrap ``QuerySet.bulk_create``. Doing it again changes nothing."""
    QuerySet.bulk_create = bulk_create  # type: ignore[method-assign]


@discreet
@functools.wraps(_bulk_create)
def bulk_create(
    self: QuerySet[Any],
    objs: Any,
    batch_size: int | None = None,
    ignore_conflicts: bool = False,
    update_conflicts: bool = False,
    update_fields: Any = None,
    unique_fields: Any = None,
) -> Any:
    """Insert the objects, and record each row that is new or changed."""
    options = (batch_size, ignore_conflicts, update_conflicts, update_fields, unique_fields)
    tracked = registry.tracked(self.model)
    is_link = m2m.is_audited(self.model)
    if (tracked is None and not is_link) or not objs or capture_is_off():
        return _bulk_create(self, objs, *options)
    objs = list(objs)
    self._for_write = True  # type: ignore[attr-defined]

    using = self.db
    created: list[Model] = []
    changed: list[tuple[Model, Model]] = []
    may_conflict = objs if ignore_conflicts or update_conflicts else []
    returns_rows = connections[using].features.can_return_rows_from_bulk_insert
    with joined(using) as state:
        if not returns_rows:
            may_conflict = [obj for obj in may_conflict if _may_conflict(obj)]
            others = _without(objs, may_conflict)
            created = inserted.numbered(self, using, lambda: _bulk_create(self, others, batch_size))

        def insert() -> Any:
            return _bulk_create(self, may_conflict, *options)

        if may_conflict and (update_conflicts or not returns_rows):
            new, changed = _upserted(self.model, may_conflict, unique_fields, using, insert)
            created += new
        elif may_conflict:
            created = inserted.returned(self, using, insert)
        elif returns_rows:
            created = _bulk_create(self, objs, *options)
        if is_link:
            before = [row for row, _ in changed]
            m2m.record(state, self.model, before, [*created, *(row for _, row in changed)], using)
        if tracked is not None:
            with guard.recording(using, tracked.type, required=tracked.required):
                _record_created(state, tracked, created, using)
                _record_changed(state, tracked, changed, using)
    return objs


def _record_created(state: TransactionState, tracked: Tracked, objs: Sequence[Model], using: str) -> None:
    specs = tracked.fields
    unknown = [[spec for spec in specs if decided_by_database(spec, obj, is_update=False)] for obj in objs]
    missing = list(dict.fromkeys(spec for group in unknown for spec in group))
    read = database.reread_many(tracked.model, [obj.pk for obj in objs], missing, using) if missing else {}
    afters = [
        {spec.attname: obj.__dict__.get(spec.attname) for spec in specs}
        | {spec.attname: read[database.as_read(obj)][spec.attname] for spec in group}
        for obj, group in zip(objs, unknown, strict=True)
    ]
    labels = changes.labels_of(specs, afters, using, objs)
    for obj, after in zip(objs, afters, strict=True):
        if tracked.condition is None or tracked.condition(obj):
            diff = changes.created(specs, obj, after, using, labels)
            target = tracked.target(tracked.key_of(obj), label_of(obj))
            push(state, tracked, "create", target, diff, instance=obj)


def _record_changed(
    state: TransactionState, tracked: Tracked, pairs: Sequence[tuple[Model, Model]], using: str
) -> None:
    specs = tracked.fields
    values = [
        [{spec.attname: row.__dict__[spec.attname] for spec in specs} for row in pair] for pair in pairs
    ]
    labels = changes.labels_of(specs, [held for pair in values for held in pair], using)
    for (_, row), (before, after) in zip(pairs, values, strict=True):
        diff = changes.updated(specs, None, Row(before), after, using, labels)
        if diff and (tracked.condition is None or tracked.condition(row)):
            target = tracked.target(tracked.key_of(row), label_of(row))
            push(state, tracked, "update", target, diff, instance=row)


def _upserted(
    model: type[Model],
    objs: Sequence[Model],
    unique_fields: Collection[str] | None,
    using: str,
    insert: Callable[[], Any],
) -> tuple[list[Model], list[tuple[Model, Model]]]:
    """Conflicts become updates: whoever is in the way is read before and after.

    The rows that are new, and those that were there as they were and are.
    """
    concrete: Any = model._meta.concrete_model
    keys = _unique_keys(concrete, unique_fields)
    take_write_lock(using, concrete)
    before = {row.pk: row for row in _in_the_way(concrete, keys, objs, using, locked=True)}
    insert()
    after = {row.pk: row for row in _in_the_way(concrete, keys, objs, using, locked=False)}
    others = [obj.pk for obj in objs if obj.pk is not None and obj.pk not in after]
    for start in range(0, len(others), PART):  # a key with NULL in it is never in the way
        rows: QuerySet[Any] = QuerySet(model=concrete, using=using)
        after |= {row.pk: row for row in rows.filter(pk__in=others[start : start + PART])}
    created = [row for pk, row in after.items() if pk not in before]
    return created, [(before[pk], row) for pk, row in after.items() if pk in before]


def _in_the_way(
    model: type[Model], keys: Sequence[Sequence[Any]], objs: Sequence[Model], using: str, *, locked: bool
) -> Iterator[Model]:
    """The rows that have the same values in one of the unique keys as one of the objects."""
    for start in range(0, len(objs), PART):
        same = Q()
        for key in keys:
            wanted = [
                [_wanted(obj.__dict__.get(field.attname)) for field in key]
                for obj in objs[start : start + PART]
            ]
            wanted = [values for values in wanted if None not in values]
            if len(key) == 1 and wanted:
                same |= Q(**{f"{key[0].attname}__in": [value for (value,) in wanted]})
            else:
                for values in wanted:
                    same |= Q(**{field.attname: value for field, value in zip(key, values, strict=True)})
        if same:
            rows: QuerySet[Any] = QuerySet(model=model, using=using).filter(same).order_by("pk")
            if locked:
                no_key = connections[using].features.has_select_for_no_key_update
                rows = rows.select_for_update(no_key=no_key)
            yield from rows


def _wanted(value: Any) -> Any:
    """What a query is asked for: of a default of the database the expression, as only an INSERT knows ``DEFAULT``."""
    return value.expression if isinstance(value, DatabaseDefault) else value  # type: ignore[attr-defined]


def _may_conflict(obj: Model) -> bool:
    """Whether a row may be in the way of this object: it has all the values of a unique key."""
    model: Any = obj._meta.concrete_model
    if any(isinstance(c, UniqueConstraint) and c.expressions for c in model._meta.constraints):
        return True
    return any(
        all(obj.__dict__.get(field.attname) is not None for field in key) for key in _unique_keys(model, None)
    )


def _without(objs: Sequence[Model], others: Sequence[Model]) -> list[Model]:
    """``objs`` without these very objects: new ones cannot be compared."""
    taken = set(map(id, others))
    return [obj for obj in objs if id(obj) not in taken]


def _unique_keys(model: type[Model], names: Collection[str] | None) -> list[list[Any]]:
    """The named fields, or every set of fields of which the database knows that no two rows share it."""
    meta: Any = model._meta
    if names:
        fields = [meta.get_field(meta.pk.name if name == "pk" else name) for name in names]
        return [fields] if all(field.concrete and not field.many_to_many for field in fields) else []
    keys = [list(meta.pk_fields)]
    keys += [[field] for field in meta.concrete_fields if field.unique and not field.primary_key]
    keys += [[meta.get_field(name) for name in together] for together in meta.unique_together]
    for constraint in meta.constraints:
        if isinstance(constraint, UniqueConstraint) and constraint.fields:
            keys.append([meta.get_field(name) for name in constraint.fields])
    return keys

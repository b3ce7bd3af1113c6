"""``QuerySet.update()`` and what ends in it: ``bulk_update()``, related managers, actions of the admin, their async twins.

One UPDATE stays one. The rows that it is about are read and locked before it, in the order of their keys, and it is held to
them. What only the database knows (expressions, generated columns) is read back after it. All of it in parts, so that the size
of the statement does not matter.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import connections
from django.db.models import Model, QuerySet, Value

from audit_core.privacy.frames import discreet
from audit_django import registry
from audit_django.capture import before as database
from audit_django.capture import changes, guard, m2m
from audit_django.capture.before import Row
from audit_django.capture.push import push
from audit_django.capture.spool import Spool
from audit_django.capture.transactions import TransactionState, joined, take_write_lock
from audit_django.conf import get_settings
from audit_django.fields import FieldSpec, Tracked
from audit_django.labels import as_audited, label_of
from audit_django.recording import capture_is_off
from audit_django.values import is_expression, normalized

PART = 2000  # rows that are read, and recorded, in one go
MAX_KEYS = 20_000  # that an UPDATE names
_TOLD = "_audit_told"  # on a query
_NEW_KEY = "_audit_new_"  # on a row, before the name of a column

_update = QuerySet.update


def install() -> None:
    """Wrap ``QuerySet.update``. Doing it again changes nothing."""
    QuerySet.update = update  # type: ignore[method-assign]


def is_told(queryset: QuerySet[Any]) -> None:
    """Whoever updates these rows records it: a deletion, of the relations that it sets to null."""
    setattr(queryset.query, _TOLD, True)  # which goes along when querysets are combined


@discreet
@functools.wraps(_update)
def update(self: QuerySet[Any], **kwargs: Any) -> int:
    """Update the rows, and record what changed in each."""
    if not m2m.sets_links(self.model, kwargs) or self.query.is_sliced or self.query.combinator:
        return _update_rows(self, **kwargs)
    if capture_is_off():
        return _update(self, **kwargs)
    self._for_write = True  # type: ignore[attr-defined]
    using = self.db
    with joined(using) as state:
        take_write_lock(using, self.model)
        before = list(_affected(self, using).order_by("pk"))
        keys = [row.pk for row in before]
        count = _update_rows(_held_to(self, keys, using), **kwargs)
        m2m.record(state, self.model, before, m2m.rows_of(self.model, keys, using), using)
    self._result_cache = None
    return count


def _update_rows(self: QuerySet[Any], **kwargs: Any) -> int:
    written = _Written.by(self, kwargs)
    if written is None or capture_is_off():
        return _update(self, **kwargs)
    self._for_write = True  # type: ignore[attr-defined]
    using = self.db
    label = written.model._meta.label
    above = get_settings().statement_event_above_rows
    with joined(using) as state, Spool() as spool:
        keys: list[Any] = []
        as_one = False
        with guard.recording(using, label, required=written.required):
            take_write_lock(using, written.model)
            for rows in _parts(written.with_new_keys(_affected(self, using))):
                spool.append(list(as_audited(written.model, {row.pk: row for row in rows}, using).values()))
                if len(keys) <= MAX_KEYS:
                    keys += [row.pk for row in rows]
                as_one = above is not None and spool.rows > above
                if as_one:  # one event for all of them: what each one held does not matter
                    break
        count = _update(self if as_one else _held_to(self, keys, using), **kwargs)
        self._result_cache = None
        with guard.recording(using, label, required=written.required):
            if as_one:
                _record_statement(state, written, count, using)
                return count
            if count != spool.rows:
                raise guard.EventNotWritten(
                    f"{spool.rows:,} rows of {label} were to be updated, but {count:,} were: others have changed which rows "
                    f"these are in between. Nothing was saved. Do it again."
                )
            for part in spool:
                _record(state, written, part, using)
                if spool.rows > PART:
                    state.flush()
    return count


@dataclass(frozen=True)
class _Written:
    """What an UPDATE sets: the columns of ``model`` and their values by attribute name, expressions included."""

    model: type[Model]
    fields: Sequence[Any]
    values: Mapping[str, Any]
    required: bool

    @classmethod
    def by(cls, queryset: QuerySet[Any], kwargs: Mapping[str, Any]) -> _Written | None:
        """``None`` where nothing that is audited is written, or Django refuses the call."""
        meta = queryset.model._meta
        model: type[Model] = meta.concrete_model
        own = registry.tracked(model)
        involved = [own] if own else []
        involved += [t for child in registry.audited_children(model) if (t := registry.tracked(child))]
        query = queryset.query
        if not involved or query.is_sliced or query.combinator or getattr(query, _TOLD, False):
            return None
        try:
            named = {meta.get_field(meta.pk.name if name == "pk" else name): kwargs[name] for name in kwargs}
        except FieldDoesNotExist:
            return None
        if any(not field.concrete or field.column is None for field in named):
            return None  # Django refuses it
        fields = [*named, *(field for field in meta.concrete_fields if field.generated)]
        audited = {spec.field for tracked in involved for spec in tracked.fields} | {*meta.pk_fields}
        if not audited.intersection(named):
            return None
        values = {
            field.attname: value.prepare_database_save(field) if isinstance(value, Model) else value
            for field, value in named.items()
        }
        return cls(model, fields, values, any(tracked.required for tracked in involved))

    def with_new_keys(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """``rows``, each with the columns of the primary key that it will have, if they are set."""
        for column in self.model._meta.pk_fields:
            if column.attname in self.values:
                value = self.values[column.attname]
                value = value if is_expression(value) else Value(value, output_field=column)
                rows = rows.annotate(**{f"{_NEW_KEY}{column.attname}": value})
        return rows

    def key_after(self, row: Model, tracked: Tracked) -> Any:
        """The primary key of ``row`` once it is updated."""
        if not any(column.attname in self.values for column in self.model._meta.pk_fields):
            return tracked.key_of(row)
        key = tuple(
            row.__dict__.get(f"{_NEW_KEY}{column.attname}", row.__dict__[column.attname])
            for column in self.model._meta.pk_fields
        )
        return key if len(key) > 1 else key[0]

    def of(self, tracked: Tracked) -> list[FieldSpec]:
        """The columns of a model that are written, or follow from what is."""
        return [spec for spec in tracked.fields if spec.field in self.fields]

    def is_known(self, spec: FieldSpec) -> bool:
        """Whether the value is a literal, so that nobody has to ask the database for it."""
        return (
            not spec.reread and spec.attname in self.values and not is_expression(self.values[spec.attname])
        )


def _affected(queryset: QuerySet[Any], using: str) -> QuerySet[Any]:
    """The rows that an UPDATE of ``queryset`` is about, whole and locked. Managers that filter are not asked."""
    query = queryset.query.clone()
    query.clear_ordering(force=True)
    rows: QuerySet[Any]
    if is_plain(query):
        query.clear_select_clause()
        query.default_cols = True
        query.clear_deferred_loading()
        rows = QuerySet(model=queryset.model, query=query, using=using)
    else:  # what joins, groups or is distinct cannot be locked
        keys: QuerySet[Any] = QuerySet(model=queryset.model, query=query, using=using)
        rows = QuerySet(model=queryset.model._meta.concrete_model, using=using).filter(
            pk__in=keys.values("pk")
        )
    # The lock that the UPDATE itself takes: a stronger one would make inserts that refer to these rows wait.
    return rows.select_for_update(no_key=connections[using].features.has_select_for_no_key_update)


def is_plain(query: Any) -> bool:
    """Whether the rows of ``query`` are those of one table, so that they can be locked."""
    tables = sum(1 for count in query.alias_refcount.values() if count)
    return tables <= 1 and not (query.distinct or query.group_by or query.annotations or query.extra_tables)


def _parts(rows: QuerySet[Any]) -> Iterator[list[Model]]:
    """The rows by key, without a cursor that would have to stay open."""
    rows = rows.order_by("pk")
    part = list(rows[:PART])
    while part:
        yield part
        if len(part) < PART:
            return
        part = list(rows.filter(pk__gt=part[-1].pk)[:PART])


def _held_to(queryset: QuerySet[Any], keys: Sequence[Any], using: str) -> QuerySet[Any]:
    """``queryset`` without the rows that others have added since. SQLite has one writer: there are none."""
    if connections[using].vendor == "sqlite" or len(keys) > MAX_KEYS:
        return queryset
    held = queryset._chain()  # type: ignore[attr-defined]
    return QuerySet.filter(held, pk__in=keys)


def _record(state: TransactionState, written: _Written, rows: Sequence[Model], using: str) -> None:
    by_tracked: dict[Tracked, list[Model]] = {}
    for row in rows:
        if (tracked := registry.tracked(type(row))) is not None:
            by_tracked.setdefault(tracked, []).append(row)
    for tracked, group in by_tracked.items():
        specs = written.of(tracked)
        afters = _after(written, tracked, specs, group, using)
        pairs = [(Row({spec.attname: row.__dict__[spec.attname] for spec in specs}), after)
                 for row, after in zip(group, afters, strict=True)]  # fmt: skip
        labels = changes.labels_of(
            specs, [values for before, after in pairs for values in (before.values, after)], using
        )
        for row, (before, after) in zip(group, pairs, strict=True):
            diff = changes.updated(specs, None, before, after, using, labels)
            if (key := written.key_after(row, tracked)) != row.pk and len(tracked.model._meta.pk_fields) == 1:
                pk = FieldSpec(tracked.model._meta.pk, 0, sensitive=False, role=None, language="en")
                diff[pk.name] = pk.change(pk.plain(row.pk), pk.plain(key))
            if not diff:
                continue
            was = tracked.key_of(row)  # which may be of the columns that are set
            for spec in specs:
                setattr(row, spec.attname, normalized(spec.field, after[spec.attname]))
            if tracked.condition is None or tracked.condition(row):
                target = tracked.target(was, label_of(row))
                push(state, tracked, "update", target, diff, instance=row)


def _after(
    written: _Written, tracked: Tracked, specs: Sequence[FieldSpec], rows: Sequence[Model], using: str
) -> list[dict[str, Any]]:
    """The values after the UPDATE, for each row. One SELECT for 500 rows where not all of them are known."""
    known = {spec.attname: written.values[spec.attname] for spec in specs if written.is_known(spec)}
    unknown = [spec for spec in specs if not written.is_known(spec)]
    if not unknown:
        return [known] * len(rows)
    keys = [written.key_after(row, tracked) for row in rows]
    read = database.reread_many(tracked.model, keys, unknown, using)
    return [{**known, **read[key]} for key in keys]


def _record_statement(state: TransactionState, written: _Written, count: int, using: str) -> None:
    """One event for all rows: what was set, where that is a value, and how many there were."""
    tracked = registry.tracked(written.model) or registry.describe(written.model)
    known = [spec for spec in written.of(tracked) if written.is_known(spec)]
    before = Row({spec.attname: None for spec in known})
    diff = changes.updated(known, None, before, written.values, using)
    fields = [spec.name for spec in written.of(tracked)]
    push(state, tracked, "update", tracked.target(None, None), diff, extra={"count": count, "fields": fields})

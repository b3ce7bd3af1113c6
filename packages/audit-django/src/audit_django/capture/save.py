"""Saving: ``Model.save()`` in all its forms, ``create``, ``get_or_create``, ``update_or_create``, ``loaddata``.

All of them end in ``Model._save_table``, once for each table. It is wrapped instead of ``save()`` because it is what Django does
between the ``pre_save`` and ``post_save`` signals: handlers of the user run outside a transaction of ours, as they do without us.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, router
from django.db.models import Model

from audit_core.diff import Change
from audit_core.event import RecordedEvent, Target
from audit_core.privacy.frames import discreet
from audit_django import registry
from audit_django.capture import before as database
from audit_django.capture import changes, guard, loaded, m2m
from audit_django.capture.before import Reading, Row
from audit_django.capture.push import built, push
from audit_django.capture.round_trips import Companion, Statement
from audit_django.capture.transactions import TransactionState, joined
from audit_django.fields import FieldSpec, Tracked
from audit_django.labels import label_of
from audit_django.outbox import DjangoOutbox
from audit_django.recording import capture_is_off
from audit_django.values import is_expression

_save_table = Model._save_table  # type: ignore[attr-defined]
_save_parents = Model._save_parents  # type: ignore[attr-defined]
_BEFORE = "_audit_before"  # on ModelState, between the parents' tables and the last one


def install() -> None:
    """Wrap the two methods. Doing it again changes nothing."""
    Model._save_table = save_table  # type: ignore[attr-defined]
    Model._save_parents = save_parents  # type: ignore[attr-defined]


@discreet
@functools.wraps(_save_parents)
def save_parents(
    self: Model, cls: type[Model], using: str, update_fields: Any, *args: Any, **kwargs: Any
) -> Any:
    """Read a multi-table child's row before its parents are written."""
    if cls is not self._meta.concrete_model or not cls._meta.parents:
        return _save_parents(self, cls, using, update_fields, *args, **kwargs)
    tracked = registry.tracked(type(self))
    specs = _written(tracked, cls, update_fields, raw=False) if tracked else ()
    if tracked is not None and self.pk is None:  # Django takes the key of the parent: Restaurant(id=…)
        for parent, link in cls._meta.parents.items():
            if link is not None and link.primary_key:
                setattr(self, link.attname, getattr(self, parent._meta.pk.attname))
    if tracked is None or not specs or not self._is_pk_set(cls._meta):  # type: ignore[attr-defined]
        return _save_parents(self, cls, using, update_fields, *args, **kwargs)
    with joined(using) as state:  # save_base has begun a transaction
        reading = database.read(
            state, tracked.model, tracked.key_of(self), specs, self, update_fields is not None
        )
    setattr(self._state, _BEFORE, reading)
    try:
        return state.prelude.sent_with(
            lambda: _save_parents(self, cls, using, update_fields, *args, **kwargs)
        )
    except BaseException:
        delattr(self._state, _BEFORE)
        raise


@discreet
@functools.wraps(_save_table)
def save_table(
    self: Model,
    raw: bool = False,
    cls: Any = None,
    force_insert: Any = False,
    force_update: bool = False,
    using: Any = None,
    update_fields: Any = None,
) -> Any:
    """Write one table, and record what changed once the last table of the object is written."""

    def write() -> Any:
        return _save_table(self, raw, cls, force_insert, force_update, using, update_fields)

    if cls is not self._meta.concrete_model:
        return write()  # a parent's table: the event is the child's
    reading: Reading | None = self._state.__dict__.pop(_BEFORE, None)
    tracked = registry.tracked(type(self))
    is_link = cls is not None and m2m.sets_links(cls, update_fields)
    if cls is None or (tracked is None and not is_link):
        return write()
    specs = _written(tracked, cls, update_fields, raw) if tracked else ()
    if (not specs and update_fields and not is_link) or capture_is_off():
        return write()
    using = using or router.db_for_write(type(self), instance=self)
    may_exist = reading is None and _may_exist(self, cls, raw, force_insert, force_update)
    if tracked is None:
        with joined(using) as state, m2m.saving(state, self, using, may_exist=may_exist):
            return write()
    row: Row | None = None
    if may_exist and tracked.before == "instance" and not is_link:
        row = loaded.read(self, tracked, specs, using, partial=update_fields is not None)
        if row is not None and _changes_nothing(tracked, specs, self, row, using):
            try:
                return _save_table(self, raw, cls, False, True, using, update_fields)
            except DatabaseError as error:
                if error.__cause__ is not None:  # else it is Django's: there was no row to update
                    raise
            row = None
    with joined(using) as state:
        save = _Save(state, tracked, specs, self, using, update_fields)
        companion = None
        if row is None and may_exist:
            reading = database.read(
                state, tracked.model, tracked.key_of(self), specs, self, update_fields is not None
            )
        elif not is_link and reading is None and self._is_pk_set(cls._meta):  # type: ignore[attr-defined]
            companion = save.companion(row)
        with m2m.saving(state, self, using, may_exist=may_exist) if is_link else nullcontext():
            is_update = bool(state.prelude.sent_with(write, companion))
        if reading is not None:
            row = reading.row
        with guard.recording(using, tracked.type, required=tracked.required):
            save.record(row if is_update else None, is_written=companion is not None and companion.written)
    return is_update


def _changes_nothing(
    tracked: Tracked, specs: Sequence[FieldSpec], instance: Model, row: Row, using: str
) -> bool:
    """Whether the row will be what it was loaded as, whatever Django does on the way: then no event can come of it."""
    if any(spec.sets_itself or decided_by_database(spec, instance, is_update=True) for spec in specs):
        return False
    return changes.is_same(specs, row, instance.__dict__, using)


def _written(tracked: Tracked, cls: type[Model], update_fields: Any, raw: bool) -> Sequence[FieldSpec]:
    """The audited columns that this save writes, and the generated ones that may follow."""
    specs = tracked.fields
    if raw:  # fixtures write one table at a time
        local = set(cls._meta.local_concrete_fields)
        return [spec for spec in specs if spec.field in local]
    if update_fields is None:
        return specs
    return [s for s in specs if s.name in update_fields or s.attname in update_fields or s.field.generated]


def _may_exist(instance: Model, cls: type[Model], raw: bool, force_insert: Any, force_update: bool) -> bool:
    """Whether Django will try an UPDATE first (the conditions are those of ``Model._save_table``)."""
    if force_insert or not instance._is_pk_set(cls._meta):  # type: ignore[attr-defined]
        return False
    return bool(
        raw
        or force_update
        or not instance._state.adding
        or not all(field.has_default() or field.has_db_default() for field in cls._meta.pk_fields)
    )


@dataclass(slots=True)
class _Save:
    """One object on its way to the last of its tables, and what will be recorded of it."""

    state: TransactionState
    tracked: Tracked
    specs: Sequence[FieldSpec]
    instance: Model
    using: str
    update_fields: Any
    made: RecordedEvent | None = None

    def companion(self, row: Row | None) -> Companion | None:
        """The event as a part of the very statement that writes the row, which needs no answer of the database to be made."""
        if not self.tracked.required or guard.losses(self.using):
            return None
        quoted = self.state.connection.ops.quote_name(self.tracked.model._meta.db_table)

        def inserts() -> list[Statement]:
            if self._unknown(is_update=row is not None):
                return []
            with guard.recording(self.using, self.tracked.type, required=True):
                change = self._change(row, self._after())
                if change is None or self._asks_the_row(change[2]):
                    return []
                self.made = built(self.state, *change, instance=self.instance)
            return DjangoOutbox(self.using).beside(self.made)

        return Companion(f"UPDATE {quoted} " if row is not None else f"INSERT INTO {quoted} ", inserts)

    def record(self, row: Row | None, *, is_written: bool) -> None:
        """Record the row as it is now. ``row`` is what it was; ``None``: it is new."""
        after = self._after()
        if unknown := self._unknown(is_update=row is not None):
            after.update(
                database.reread(self.tracked.model, self.tracked.key_of(self.instance), unknown, self.using)
            )
        if self.tracked.before == "instance":
            loaded.saved(self.instance, self.tracked, self.specs, after, self.state)
        if is_written and self.made is not None:
            self.state.written(self.made)
        elif change := self._change(row, after):
            push(self.state, self.tracked, *change, instance=self.instance)

    def _asks_the_row(self, diff: Mapping[str, Change]) -> bool:
        """Whether the row must be there for its person to be found, under whose key the values are sealed."""
        return callable(self.tracked.subject) and any(change.sensitive for change in diff.values())

    def _after(self) -> dict[str, Any]:
        return {spec.attname: self.instance.__dict__.get(spec.attname) for spec in self.specs}

    def _unknown(self, *, is_update: bool) -> list[FieldSpec]:
        return [spec for spec in self.specs if decided_by_database(spec, self.instance, is_update=is_update)]

    def _change(
        self, row: Row | None, after: Mapping[str, Any]
    ) -> tuple[str, Target, Mapping[str, Change]] | None:
        """Action, target and diff of the event; ``None``: there is none."""
        tracked, instance = self.tracked, self.instance
        if tracked.condition is not None and not tracked.condition(instance):
            return None
        if row is None:
            action, diff = "create", changes.created(self.specs, instance, after, self.using)
        else:
            action, diff = "update", changes.updated(self.specs, instance, row, after, self.using)
            if not diff:
                return None
        label = _label(instance, row, after, self.update_fields)
        return action, tracked.target(tracked.key_of(instance), label), diff


def _label(instance: Model, row: Row | None, after: Mapping[str, Any], update_fields: Any) -> str:
    """The label of the row as it is now: with what was written, and not what the instance holds besides."""
    if row is not None and row.whole is not None:
        subject = row.whole
    elif any(map(is_expression, instance.__dict__.values())):
        subject = copy.copy(instance)
    else:
        return label_of(instance)
    for field in subject._meta.concrete_fields:
        is_written = update_fields is None or field.name in update_fields or field.attname in update_fields
        if is_written and field.attname in instance.__dict__:
            value = after.get(field.attname, instance.__dict__[field.attname])
            if getattr(subject, field.attname) is not value:
                setattr(subject, field.attname, value)
    return label_of(subject)


def decided_by_database(spec: FieldSpec, instance: Model, *, is_update: bool) -> bool:
    """Whether the value that was written is not the one that the instance holds."""
    if spec.reread or spec.attname not in instance.__dict__:  # Django 6 takes away what it cannot read back
        return True
    return (spec.field.generated and is_update) or is_expression(instance.__dict__[spec.attname])

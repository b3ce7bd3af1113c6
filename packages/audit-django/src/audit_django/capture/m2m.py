"""Many-to-many relations: add, remove, set and clear, from both sides, and rows of the through table that come in any other way.

All of it ends in rows of the through table, which :mod:`.save`, :mod:`.bulk_create`, :mod:`.update` and :mod:`.delete` see. The
event is that of the object whose model declares the field, whichever side was used; where both sides declare one, of both. Only
what was really linked or unlinked is in it. ``m2m_changed`` is not asked: it does not know whether another transaction has made
the same link meanwhile, and a receiver costs every ``add()`` a SELECT.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db import connections
from django.db.models import ForeignKey, Model

from audit_core.codec import plain
from audit_core.diff import Change
from audit_core.errors import ConfigurationError
from audit_django import registry
from audit_django.capture import guard
from audit_django.capture.push import push_or_join
from audit_django.capture.select_rows import PK, fetch
from audit_django.capture.transactions import TransactionState, take_write_lock
from audit_django.fields import Tracked
from audit_django.labels import BATCH, as_audited, label_of, objects_of_each
from audit_django.values import normalized, plain_value

Link = tuple[Any, Any]
"""The key of the object that declares the field, and that of the one it is linked to."""

_fields: dict[
    type[Model], dict[Any, Tracked]
] = {}  # by through model: its fields, each with an audited model that has it


def install() -> None:
    """Look up the fields that are audited, now and whenever registrations change."""
    registry.on_change(_look_up)


def _look_up() -> None:
    _fields.clear()
    try:
        models = registry.tracked_models()
    except ConfigurationError:
        return  # the system checks say it better than a failed start
    for model in models:
        if (tracked := registry.tracked(model)) is not None:
            for spec in tracked.m2m:
                _fields.setdefault(spec.field.remote_field.through, {}).setdefault(spec.field, tracked)


def is_audited(model: type[Model]) -> bool:
    """Whether this is the through model of an audited field."""
    return model._meta.concrete_model in _fields


def owners_of(through: type[Model]) -> Collection[Tracked]:
    """The audited models that declare the fields of this through model."""
    return _fields[_concrete(through)].values()


def sets_links(model: type[Model], names: Collection[str] | None) -> bool:
    """Whether to write these fields of ``model`` (all when ``None``) may link other objects than before."""
    if not is_audited(model):
        return False
    throughs = map(_Through.of, _fields[_concrete(model)])
    ends = {name for t in throughs for end in (t.owner, t.other) for name in (end.name, end.attname)}
    return names is None or not ends.isdisjoint(names)


def rows_of(model: type[Model], keys: Sequence[Any], using: str) -> list[Model]:
    """These rows of a through table, locked until the transaction ends."""
    concrete = _concrete(model)
    take_write_lock(using, concrete)
    found: list[Model] = []
    for start in range(0, len(keys), BATCH):
        found += fetch(concrete, PK, keys[start : start + BATCH], connections[using], "delete")
    return found


@contextmanager
def saving(state: TransactionState, row: Model, using: str, *, may_exist: bool) -> Generator[None]:
    """Record what the saving of one row of a through table links and unlinks."""
    before = rows_of(type(row), [row.pk], using) if may_exist else []
    yield
    record(state, type(row), before, [row], using)


def record(
    state: TransactionState, model: type[Model], before: Sequence[Model], after: Sequence[Model], using: str
) -> None:
    """Record what rows of a through table link now that were ``before`` and are ``after``."""
    for field, tracked in _fields[_concrete(model)].items():
        with guard.recording(using, tracked.type, required=tracked.required):
            links = Links.between(field, before, after, state)
            for owner, owned_by, change in links.changes():
                target = owned_by.target(owner.pk, label_of(owner))
                push_or_join(state, owned_by, target, {field.name: change}, owner)


def unlinked_by_deletion(rows: Sequence[Model], model: type[Model], state: TransactionState) -> list[Links]:
    """Read what is about to be unlinked because one side is deleted: two queries a field."""
    take_write_lock(state.connection.alias, _concrete(model))
    return [Links.between(field, rows, [], state) for field in _fields[_concrete(model)]]


@dataclass(frozen=True, slots=True)
class _Through:
    """The two relations of a through table."""

    owner: ForeignKey[Any, Any]
    other: ForeignKey[Any, Any]

    @classmethod
    def of(cls, field: Any) -> _Through:
        meta = field.remote_field.through._meta
        return cls(meta.get_field(field.m2m_field_name()), meta.get_field(field.m2m_reverse_field_name()))

    def links(self, rows: Sequence[Model]) -> list[Link]:
        # Normalized, because a view may have set "5", as it came from a form.
        found = ((_key(self.owner, row), _key(self.other, row)) for row in rows)
        return [link for link in found if None not in link]


@dataclass(frozen=True)
class Links:
    """What becomes of the links of one field, with the objects on both sides as they are now."""

    field: Any  # a ManyToManyField
    added: Sequence[Link]
    removed: Sequence[Link]
    owners: Mapping[Any, Model]
    others: Mapping[Any, Model]

    @classmethod
    def between(
        cls, field: Any, before: Sequence[Model], after: Sequence[Model], state: TransactionState
    ) -> Links:
        through = _Through.of(field)
        was, is_ = Counter(through.links(before)), Counter(through.links(after))
        added, removed = list((is_ - was).elements()), list((was - is_).elements())
        ends = (through.owner, through.other)
        keys = list(zip(*added, *removed, strict=True)) or [(), ()]
        places = [
            (end.related_model, end.target_field.attname, own) for end, own in zip(ends, keys, strict=True)
        ]
        found = objects_of_each(state, places)
        # By what the through table refers to them with: the key, or another unique field (`to_field`).
        owners, others = (
            _in_order(own, {getattr(item, attname): item for item in objects})
            for (_, attname, own), objects in zip(places, found, strict=True)
        )
        return cls(field, added, removed, as_audited(field.model, owners, state.connection.alias), others)

    def changes(self) -> list[tuple[Model, Tracked, Change]]:
        """The change of each object whose links are audited, with the model that it is audited as."""
        found = []
        for key, owner in self.owners.items():
            tracked = registry.tracked(type(owner))
            change = self._change(key, tracked)
            if tracked and change and (tracked.condition is None or tracked.condition(owner)):
                found.append((owner, tracked, change))
        return found

    def change_of(self, owner: Model, tracked: Tracked) -> Change | None:
        """The change of one object, if it has any."""
        if not isinstance(owner, self.field.model):
            return None
        return self._change(getattr(owner, _Through.of(self.field).owner.target_field.attname), tracked)

    def _change(self, key: Any, tracked: Tracked | None) -> Change | None:
        spec = next((s for s in tracked.m2m if s.field == self.field), None) if tracked else None
        added, removed = self._by_owner[0].get(key), self._by_owner[1].get(key)
        return spec.change(added or [], removed or []) if spec and (added or removed) else None

    @cached_property
    def _by_owner(self) -> tuple[dict[Any, list[Any]], dict[Any, list[Any]]]:
        """References to what is added to each object, and to what is removed from it."""
        found: tuple[dict[Any, list[Any]], dict[Any, list[Any]]] = ({}, {})
        for references, links in zip(found, (self.added, self.removed), strict=True):
            for owner, other in sorted(links, key=lambda link: _place(link[1])):
                references.setdefault(owner, []).append(_reference(other, self.others))
        return found


def _concrete(model: type[Model]) -> type[Model]:
    return model._meta.concrete_model  # type: ignore[return-value]


def _place(key: Any) -> tuple[str, Any]:
    """Where a key stands in a list, whatever order the rows were linked in."""
    return type(key).__name__, key


def _key(end: ForeignKey[Any, Any], row: Model) -> Any:
    return normalized(end, getattr(row, end.attname))


def _in_order(keys: Sequence[Any], found: Mapping[Any, Model]) -> dict[Any, Model]:
    return {key: found[key] for key in keys if key in found}


def _reference(key: Any, objects: Mapping[Any, Model]) -> dict[str, Any]:
    if key not in objects:
        return {"pk": plain(key), "repr": None}
    item = objects[key]
    return {"pk": plain_value(item._meta.pk, item.pk), "repr": label_of(item)}

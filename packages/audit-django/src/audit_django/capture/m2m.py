"""Many-to-many relations: add, remove, set and clear, from both sides.

The event is that of the object whose model declares the field, whichever side was used. Only what was really linked or unlinked
is in it: ``post_add`` names the new links alone, and every way of unlinking deletes rows of the through table, which
:mod:`.delete` sees. Receivers are connected for audited fields alone: a receiver costs every ``add()`` a SELECT.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db.models import Model, QuerySet
from django.db.models.signals import m2m_changed

from audit_core.codec import plain
from audit_core.errors import ConfigurationError
from audit_core.privacy.frames import discreet
from audit_django import registry
from audit_django.capture import guard
from audit_django.capture.push import push_or_join
from audit_django.capture.transactions import TransactionState, joined, take_write_lock
from audit_django.fields import M2MSpec, Tracked
from audit_django.labels import as_audited, label_of, objects_of
from audit_django.recording import capture_is_off
from audit_django.values import plain_value

Link = tuple[Any, Any]
"""The key of the object that declares the field, and that of the one it is linked to."""

_fields: dict[type[Model], tuple[Tracked, M2MSpec]] = {}  # by through model


def install() -> None:
    """Connect to the fields that are audited, now and whenever registrations change."""
    registry.on_change(_connect)


def _connect() -> None:
    for through in _fields:
        m2m_changed.disconnect(sender=through, dispatch_uid="audit_django")
    _fields.clear()
    try:
        models = registry.tracked_models()
    except ConfigurationError:
        return  # the system checks say it better than a failed start
    for model in models:
        if (tracked := registry.tracked(model)) is None:
            continue
        for spec in tracked.m2m:
            through = spec.field.remote_field.through
            _fields.setdefault(through, (tracked, spec))
            if through._meta.auto_created:  # rows of one's own through model are seen however they come
                m2m_changed.connect(_changed, sender=through, dispatch_uid="audit_django")


@dataclass(frozen=True, slots=True)
class _Through:
    """The two columns of a through table."""

    model: type[Model]
    owner: str
    other: str
    owner_attname: str
    other_attname: str

    @classmethod
    def of(cls, spec: M2MSpec) -> _Through:
        model = spec.field.remote_field.through
        names = spec.field.m2m_field_name(), spec.field.m2m_reverse_field_name()
        owner, other = (model._meta.get_field(name) for name in names)
        return cls(
            model, owner.attname, other.attname, owner.target_field.attname, other.target_field.attname
        )

    def links(self, rows: QuerySet[Any]) -> list[Link]:
        return list(rows.order_by("pk").select_for_update().values_list(self.owner, self.other))


@discreet
def _changed(
    sender: type[Model],
    instance: Model,
    action: str,
    reverse: bool,
    pk_set: Collection[Any] | None,
    using: str,
    **kwargs: Any,
) -> None:
    if action != "post_add" or not pk_set or sender not in _fields or capture_is_off():
        return
    tracked, spec = _fields[sender]
    with guard.recording(using, tracked.type, required=tracked.required):
        through = _Through.of(spec)
        own_key = getattr(instance, through.other_attname if reverse else through.owner_attname)
        pairs = [(own_key, key) for key in sorted(pk_set, key=_place)]
        links: list[Link] = [(other, own) for own, other in pairs] if reverse else pairs
        if spec.field.remote_field.symmetrical:
            links = _both_ways(links)
        with joined(using) as state:
            _record(state, spec, links, instance, using)


def has_own_through(model: type[Model]) -> bool:
    """Whether ``model`` is an application's own through model of an audited field."""
    concrete: Any = model._meta.concrete_model
    return concrete in _fields and not concrete._meta.auto_created


def record_links(state: TransactionState, model: type[Model], rows: Sequence[Model], using: str) -> None:
    """These rows of an application's own through model are new."""
    tracked, spec = _fields[model._meta.concrete_model]  # type: ignore[index]
    through = _Through.of(spec)
    with guard.recording(using, tracked.type, required=tracked.required):
        links = [(getattr(row, through.owner), getattr(row, through.other)) for row in rows]
        _record(state, spec, links, None, using)


def _place(key: Any) -> tuple[str, Any]:
    """Where a key stands in a list, whatever order the rows were linked in."""
    return type(key).__name__, key


def _both_ways(links: Iterable[Link]) -> list[Link]:
    return list(dict.fromkeys(pair for one, other in links for pair in ((one, other), (other, one))))


def _record(
    state: TransactionState, spec: M2MSpec, links: Sequence[Link], instance: Model | None, using: str
) -> None:
    """One event for each object that declares the field."""
    through = _Through.of(spec)
    owners = _objects(spec.field.model, through.owner_attname, {owner for owner, _ in links}, instance, using)
    owners = as_audited(spec.field.model, owners, using)
    others = _objects(
        spec.field.related_model, through.other_attname, {other for _, other in links}, instance, using
    )
    by_owner: dict[Any, list[Any]] = {}
    for key, other in links:
        by_owner.setdefault(key, []).append(other)
    for key, owner in owners.items():
        tracked = registry.tracked(type(owner))
        if tracked is None or (tracked.condition is not None and not tracked.condition(owner)):
            continue
        change = spec.change([_reference(other, others) for other in by_owner.get(key, ())], [])
        push_or_join(
            state, tracked, tracked.target(owner.pk, label_of(owner)), {spec.field.name: change}, owner
        )


def _objects(
    model: type[Model], attname: str, keys: Collection[Any], instance: Model | None, using: str
) -> dict[Any, Model]:
    """The objects by what the through table refers to them with: the key, or another unique field (``to_field``)."""
    found = {}
    if instance is not None and isinstance(instance, model) and getattr(instance, attname) in keys:
        found[getattr(instance, attname)] = instance
    missing = [key for key in keys if key not in found]
    found.update({getattr(item, attname): item for item in objects_of(model, attname, missing, using)})
    return found


def _reference(key: Any, objects: dict[Any, Model]) -> dict[str, Any]:
    if key not in objects:
        return {"pk": plain(key), "repr": None}
    item = objects[key]
    return {"pk": plain_value(item._meta.pk, item.pk), "repr": label_of(item)}


def is_audited(through: type[Model]) -> bool:
    """Whether this is the through table of an audited field."""
    return through in _fields


def owner_of(through: type[Model]) -> Tracked:
    """The audited model that declares the field of this through table."""
    return _fields[through][0]


@dataclass(frozen=True)
class Unlinked:
    """What a deletion unlinks: rows of one through table, with the objects on both sides as they were."""

    spec: M2MSpec
    links: Sequence[Link]
    owners: dict[Any, Model]
    others: dict[Any, Model]

    @cached_property
    def _by_owner(self) -> dict[Any, list[Any]]:
        found: dict[Any, list[Any]] = {}
        for owner, other in sorted(self.links, key=lambda link: _place(link[1])):
            found.setdefault(owner, []).append(other)
        return found

    def change_of(self, owner: Model) -> Any:
        """The change of the field of ``owner``, if it has any."""
        return self.change_for(getattr(owner, _Through.of(self.spec).owner_attname))

    def change_for(self, owner_key: Any) -> Any:
        """The change of the field of one owner; ``None`` when nothing of it is unlinked."""
        references = [_reference(other, self.others) for other in self._by_owner.get(owner_key, ())]
        return self.spec.change([], references) if references else None


def unlinked_by_deletion(
    rows: QuerySet[Any] | Sequence[Model], through_model: type[Model], using: str
) -> Unlinked:
    """Read what is about to be unlinked because one side is deleted: three queries a table."""
    _, spec = _fields[through_model]
    through = _Through.of(spec)
    take_write_lock(using, through_model)
    if isinstance(rows, QuerySet):
        links = through.links(rows)
    else:
        links = [(getattr(row, through.owner), getattr(row, through.other)) for row in rows]
    owners = _objects(spec.field.model, through.owner_attname, {own for own, _ in links}, None, using)
    owners = as_audited(spec.field.model, owners, using)
    others = _objects(
        spec.field.related_model, through.other_attname, {other for _, other in links}, None, using
    )
    return Unlinked(spec, links, owners, others)

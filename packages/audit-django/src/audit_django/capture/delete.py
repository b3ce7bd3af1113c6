"""Deleting: ``Model.delete()``, ``QuerySet.delete()``, the admin, and all that goes or changes with it.

All of them end in ``Collector.delete``, which knows every row: those that are deleted, those that a cascade deletes, and those
whose relation is set to something else. What Django deletes or changes without looking is read first, under a lock.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Model, QuerySet
from django.db.models.deletion import Collector
from django.db.models.signals import pre_delete

from audit_core.context import audit_context, current
from audit_core.diff import FIELD, Change
from audit_core.event import Target
from audit_core.privacy.frames import discreet
from audit_django import registry
from audit_django.capture import changes, guard, m2m, update
from audit_django.capture.before import Row
from audit_django.capture.push import push, push_or_join
from audit_django.capture.transactions import TransactionState, joined, take_write_lock
from audit_django.fields import Tracked
from audit_django.labels import BATCH, as_audited, label_of
from audit_django.recording import capture_is_off, get_recorder

_delete = Collector.delete


def install() -> None:
    """Wrap ``Collector.delete``. Doing it again changes nothing."""
    Collector.delete = delete  # type: ignore[method-assign]


@discreet
@functools.wraps(_delete)
def delete(self: Collector) -> Any:
    """Delete what was collected, and record each audited object that goes or changes with it."""
    involved = list(_involved(self))
    if not involved or capture_is_off():
        return _delete(self)
    label, required = involved[0].type, any(tracked.required for tracked in involved)
    with joined(self.using) as state:
        plan = None

        def read() -> None:
            nonlocal plan
            with guard.recording(self.using, label, required=required):
                plan = _Plan.of(self)

        if any(pre_delete.has_listeners(model) for model in self.data):
            # Handlers may change and delete rows themselves: read when the last of them has run.
            def instances() -> Iterator[Any]:
                yield from type(self).instances_with_model(self)
                read()

            self.instances_with_model = instances  # type: ignore[method-assign]
        else:
            read()
        result = _delete(self)
        if plan is not None:
            with guard.recording(self.using, label, required=required), audit_context(**plan.who):
                plan.record(state)
    return result


def _involved(collector: Collector) -> Iterator[Tracked]:
    models = [*collector.data, *(rows.model for rows in collector.fast_deletes)]
    models += [relation.model for relation, _ in collector.field_updates]
    models += [
        child
        for relation, _ in collector.field_updates
        for child in registry.audited_children(relation.model)
    ]
    for model in models:
        if (tracked := registry.tracked(model)) is not None:
            yield tracked
        elif m2m.is_audited(model):
            yield m2m.owner_of(model)


@dataclass(frozen=True)
class _Change:
    """One event to come: of an object that goes, or of one that a relation is taken from."""

    tracked: Tracked
    instance: Model
    target: Target
    diff: Mapping[str, Change]

    def hides(self, other: _Change) -> bool:
        """Whether a sensitive relation of this object may refer to the other one."""
        return any(
            spec.sensitive and spec.relation != FIELD and isinstance(other.instance, spec.field.related_model)
            for spec in self.tracked.fields
        )


@dataclass
class _Plan:
    """What a deletion will have done, as read before it."""

    origin: type[Model] | None
    gone: list[_Change] = field(default_factory=list)
    changed: list[_Change] = field(default_factory=list)
    who: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, collector: Collector) -> _Plan:
        using = collector.using
        origin = collector.origin
        scope = current()
        recorder = get_recorder()
        plan = cls(
            (origin.model if isinstance(origin, QuerySet) else type(origin)) if origin is not None else None
        )
        # Now: Django takes the key from the instances that it deletes, and the actor may be one of them.
        plan.who = {"actor": recorder.actor(scope.actor), "on_behalf_of": recorder.actor(scope.on_behalf_of)}
        _pin(collector)
        unlinked = [m2m.unlinked_by_deletion(rows, model, using) for model, rows in _through_rows(collector)]
        # Rows that refer to a parent are collected for it and for its child.
        rows_by_model = {
            tracked: list({(type(row), row.pk): row for row in rows}.values())
            for tracked, rows in _rows(collector)
        }
        parts = _parts_of_children(rows_by_model)
        going = {model._meta.concrete_model for model in collector.data}
        for tracked, rows in rows_by_model.items():
            plan._add_gone(
                tracked, [row for row in rows if (type(row), row.pk) not in parts], unlinked, using, going
            )
        gone = {change.target.key for change in plan.gone}
        plan._add_detached(collector, gone)
        plan._add_unlinked(unlinked, gone)
        return plan

    def _add_gone(
        self,
        tracked: Tracked,
        rows: Sequence[Model],
        unlinked: Sequence[m2m.Unlinked],
        using: str,
        going: set[Any],
    ) -> None:
        rows = [row for row in rows if tracked.condition is None or tracked.condition(row)]
        # With keep_parents the parents' rows and values stay.
        specs = [
            s
            for s in tracked.fields
            if s.field.model in going
            or not issubclass(tracked.model, s.field.model)
            or s.field.model is tracked.model
        ]
        values = [{spec.attname: row.__dict__.get(spec.attname) for spec in specs} for row in rows]
        for row, diff in zip(rows, changes.deleted(specs, values, using), strict=True):
            for links in unlinked:
                if isinstance(row, links.spec.field.model) and (change := links.change_of(row)):
                    diff[links.spec.field.name] = change
            self.gone.append(_Change(tracked, row, tracked.target(tracked.key_of(row), label_of(row)), diff))

    def _add_detached(self, collector: Collector, gone: set[Any]) -> None:
        """The objects whose relation is set to null, to a default or to something else."""
        updates: Any = collector.field_updates
        for (relation, value), groups in updates.items():
            if registry.tracked(relation.model) is None and not registry.audited_children(relation.model):
                continue
            for group in groups:
                if isinstance(group, QuerySet):
                    update.is_told(group)
                found = {row.pk: row for row in _read(relation.model, group, collector.using)}
                for row in as_audited(relation.model, found, collector.using).values():
                    tracked = registry.tracked(type(row))
                    spec = next((s for s in tracked.fields if s.field == relation), None) if tracked else None
                    if tracked is None or spec is None:
                        continue
                    after = {spec.attname: getattr(value, relation.target_field.attname, value)}
                    target = tracked.target(row.pk, label_of(row))
                    before = Row({spec.attname: row.__dict__.get(spec.attname)})
                    diff = changes.updated([spec], None, before, after, collector.using)
                    if (
                        diff
                        and target.key not in gone
                        and (tracked.condition is None or tracked.condition(row))
                    ):
                        self.changed.append(_Change(tracked, row, target, diff))

    def _add_unlinked(self, unlinked: Sequence[m2m.Unlinked], gone: set[Any]) -> None:
        """The objects that stay, but lose a link to one that goes."""
        for links in unlinked:
            for key, owner in links.owners.items():
                tracked = registry.tracked(type(owner))
                change = links.change_for(key)
                if tracked is None or change is None:
                    continue
                target = tracked.target(owner.pk, label_of(owner))
                if target.key not in gone and (tracked.condition is None or tracked.condition(owner)):
                    self.changed.append(_Change(tracked, owner, target, {links.spec.field.name: change}))

    def record(self, state: TransactionState) -> None:
        """One event for each, that of the object whose deletion was asked for first."""
        origin = self.origin._meta.concrete_model if self.origin else None
        roots = [item for item in self.gone if origin is not None and type(item.instance) is origin]
        root = roots[0] if len(roots) == 1 else None
        if root is not None:
            push(
                state,
                root.tracked,
                "delete",
                root.target,
                root.diff,
                instance=root.instance,
                extra=self._with(root),
            )
        for item in self.gone:
            if item is not root:
                related = (root.target,) if root and not item.hides(root) else ()
                push(
                    state,
                    item.tracked,
                    "delete",
                    item.target,
                    item.diff,
                    instance=item.instance,
                    related=related,
                )
        for item in self.changed:
            push_or_join(state, item.tracked, item.target, item.diff, item.instance)

    def _with(self, root: _Change) -> Mapping[str, Any]:
        """What went with the root, counted by kind."""
        counts = Counter(item.tracked for item in self.gone if item is not root)
        if not counts:
            return {}
        return {
            "deleted_with": [
                {"kind": tracked.kind, "kind_plural": tracked.kind_plural, "count": count}
                for tracked, count in counts.most_common()
            ]
        }


def _pin(collector: Any) -> None:
    """Let fast deletes of audited rows delete the rows that are there now, locked, and no others."""
    pinned: list[Any] = []
    for rows in collector.fast_deletes:
        if registry.tracked(rows.model) is None and not m2m.is_audited(rows.model):
            pinned.append(rows)
            continue
        concrete = rows.model._meta.concrete_model
        take_write_lock(collector.using, concrete)
        keys = list(rows.order_by("pk").values_list("pk", flat=True))
        for start in range(0, len(keys), BATCH):
            found: QuerySet[Any] = QuerySet(model=concrete, using=collector.using)
            found = found.filter(pk__in=keys[start : start + BATCH])
            locked = list(found.order_by("pk").select_for_update())
            part: QuerySet[Any] = QuerySet(model=rows.model, using=collector.using)
            part = part.filter(pk__in=[row.pk for row in locked])
            part._result_cache = locked
            part._audit_locked = True  # type: ignore[attr-defined]
            pinned.append(part)
    collector.fast_deletes = pinned


def _through_rows(collector: Collector) -> Iterator[tuple[type[Model], Any]]:
    for rows in collector.fast_deletes:
        if m2m.is_audited(rows.model):
            yield rows.model, list(rows)
    for model, instances in collector.data.items():
        if m2m.is_audited(model):
            yield model, list(instances)


def _rows(collector: Collector) -> Iterator[tuple[Tracked, Iterator[Model]]]:
    """The audited rows that go, as the database holds them."""
    groups: list[tuple[type[Model], Any]] = [*collector.data.items()]
    groups += [(rows.model, rows) for rows in collector.fast_deletes]
    merged: dict[Tracked, list[Any]] = {}
    for model, group in groups:
        if (tracked := registry.tracked(model)) is not None:
            merged.setdefault(tracked, []).append((model, group))
    for tracked, parts in merged.items():
        yield tracked, (row for model, group in parts for row in _read(model, group, collector.using))


def _read(model: type[Model], group: Any, using: str) -> Iterator[Model]:
    """The rows of a queryset or of instances, locked in the order of their keys."""
    concrete = model._meta.concrete_model or model
    take_write_lock(using, concrete)
    if isinstance(group, QuerySet) and getattr(group, "_audit_locked", False):
        yield from group
        return
    if isinstance(group, QuerySet) and group._result_cache is None:
        keys = list(group.order_by("pk").values_list("pk", flat=True))
    else:
        keys = sorted({instance.pk for instance in group}, key=lambda key: (str(type(key)), key))
    for start in range(0, len(keys), BATCH):
        batch = keys[start : start + BATCH]
        yield from (
            QuerySet(model=concrete, using=using).filter(pk__in=batch).order_by("pk").select_for_update()
        )


def _parts_of_children(rows_by_model: Mapping[Tracked, Sequence[Model]]) -> set[tuple[type[Model], Any]]:
    """The parents' rows of multi-table children that go too: the event is the child's."""
    return {
        (parent, getattr(row, parent._meta.pk.attname))
        for rows in rows_by_model.values()
        for row in rows
        for parent in row._meta.get_parent_list()
    }

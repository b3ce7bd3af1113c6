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

from audit_core.diff import Change
from audit_core.event import Target
from audit_django import registry
from audit_django.capture import changes, guard, m2m
from audit_django.capture.before import Row
from audit_django.capture.push import push, push_or_join
from audit_django.capture.transactions import TransactionState, joined, take_write_lock
from audit_django.fields import Tracked
from audit_django.labels import BATCH, label_of
from audit_django.recording import capture_is_off

_delete = Collector.delete


def install() -> None:
    """Wrap ``Collector.delete``. Doing it again changes nothing."""
    Collector.delete = delete  # type: ignore[method-assign]


@functools.wraps(_delete)
def delete(self: Collector) -> Any:
    """Delete what was collected, and record each audited object that goes or changes with it."""
    involved = list(_involved(self))
    if not involved or capture_is_off():
        return _delete(self)
    label, required = involved[0].type, any(tracked.required for tracked in involved)
    with joined(self.using) as state:
        plan = None
        with guard.recording(self.using, label, required=required):
            plan = _Plan.of(self)
        result = _delete(self)
        if plan is not None:
            with guard.recording(self.using, label, required=required):
                plan.record(state)
    return result


def _involved(collector: Collector) -> Iterator[Tracked]:
    models = [*collector.data, *(rows.model for rows in collector.fast_deletes)]
    models += [relation.model for relation, _ in collector.field_updates]
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


@dataclass
class _Plan:
    """What a deletion will have done, as read before it."""

    origin: type[Model] | None
    gone: list[_Change] = field(default_factory=list)
    changed: list[_Change] = field(default_factory=list)

    @classmethod
    def of(cls, collector: Collector) -> _Plan:
        using = collector.using
        origin = collector.origin
        plan = cls(
            (origin.model if isinstance(origin, QuerySet) else type(origin)) if origin is not None else None
        )
        unlinked = [m2m.unlinked_by_deletion(rows, model, using) for model, rows in _through_rows(collector)]
        rows_by_model = {tracked: list(rows) for tracked, rows in _rows(collector)}
        parts = _parts_of_children(rows_by_model)
        for tracked, rows in rows_by_model.items():
            plan._add_gone(
                tracked, [row for row in rows if (type(row), row.pk) not in parts], unlinked, using
            )
        gone = {change.target.key for change in plan.gone}
        plan._add_detached(collector, gone)
        plan._add_unlinked(unlinked, gone)
        return plan

    def _add_gone(
        self, tracked: Tracked, rows: Sequence[Model], unlinked: Sequence[m2m.Unlinked], using: str
    ) -> None:
        rows = [row for row in rows if tracked.condition is None or tracked.condition(row)]
        values = [{spec.attname: row.__dict__.get(spec.attname) for spec in tracked.fields} for row in rows]
        for row, diff in zip(rows, changes.deleted(tracked.fields, values, using), strict=True):
            for links in unlinked:
                if isinstance(row, links.spec.field.model) and (change := links.change_for(row.pk)):
                    diff[links.spec.field.name] = change
            self.gone.append(_Change(tracked, row, tracked.target(row.pk, label_of(row)), diff))

    def _add_detached(self, collector: Collector, gone: set[Any]) -> None:
        """The objects whose relation is set to null, to a default or to something else."""
        for (relation, value), groups in collector.field_updates.items():
            tracked = registry.tracked(relation.model)
            spec = next((s for s in tracked.fields if s.field == relation), None) if tracked else None
            if tracked is None or spec is None:
                continue
            after = {spec.attname: getattr(value, "pk", value)}
            for group in groups:
                for row in _read(relation.model, group, collector.using):
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
                related = (root.target,) if root else ()
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


def _through_rows(collector: Collector) -> Iterator[tuple[type[Model], Any]]:
    for rows in collector.fast_deletes:
        if m2m.is_audited(rows.model):
            yield rows.model, rows
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

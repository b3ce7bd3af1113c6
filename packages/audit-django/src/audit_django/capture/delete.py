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
from audit_django.capture import changes, collected, guard, m2m, update
from audit_django.capture.before import Row
from audit_django.capture.push import push, push_or_join
from audit_django.capture.transactions import TransactionState, joined
from audit_django.fields import Tracked
from audit_django.labels import as_audited, label_of
from audit_django.recording import capture_is_off, get_recorder

_delete = Collector.delete


def install() -> None:
    """Wrap ``Collector.delete``. Doing it again changes nothing."""
    Collector.delete = delete  # type: ignore[method-assign]


@discreet
@functools.wraps(_delete)
def delete(self: Collector) -> Any:
    """Delete what was collected, and record each audited object that goes or changes with it."""
    involved = list(collected.involved(self))
    if not involved or capture_is_off():
        return _delete(self)
    label, required = involved[0].type, any(tracked.required for tracked in involved)
    with joined(self.using) as state:
        plan = None

        def read() -> None:
            nonlocal plan
            with guard.recording(self.using, label, required=required):
                plan = _Plan.of(self, state)

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
    def of(cls, collector: Collector, state: TransactionState) -> _Plan:
        using = collector.using
        origin = collector.origin
        scope = current()
        recorder = get_recorder()
        plan = cls(
            (origin.model if isinstance(origin, QuerySet) else type(origin)) if origin is not None else None
        )
        # Now: Django takes the key from the instances that it deletes, and the actor may be one of them.
        plan.who = {"actor": recorder.actor(scope.actor), "on_behalf_of": recorder.actor(scope.on_behalf_of)}
        collected.hold(collector)
        rows_of = collected.rows_of(collector, state)
        unlinked = [
            links
            for model, rows in rows_of.items()
            if m2m.is_audited(model)
            for links in m2m.unlinked_by_deletion(rows, model, state)
        ]
        rows_by_model: dict[Tracked, dict[Any, Model]] = {}
        for model, rows in rows_of.items():
            if (tracked := registry.tracked(model)) is not None:
                # Rows that refer to a parent are collected for it and for its child.
                rows_by_model.setdefault(tracked, {}).update({(type(row), row.pk): row for row in rows})
        parts = collected.parts_of_children(rows_by_model)
        going = {model._meta.concrete_model for model in collector.data}
        for tracked, by_place in rows_by_model.items():
            whole = [row for place, row in by_place.items() if place not in parts]
            plan._add_gone(tracked, whole, unlinked, using, going)
        gone = {change.target.key for change in plan.gone}
        plan._add_detached(collector, gone, state)
        plan._add_unlinked(unlinked, gone)
        return plan

    def _add_gone(
        self,
        tracked: Tracked,
        rows: Sequence[Model],
        unlinked: Sequence[m2m.Links],
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
                if change := links.change_of(row, tracked):
                    diff[change.field] = change
            self.gone.append(_Change(tracked, row, tracked.target(tracked.key_of(row), label_of(row)), diff))

    def _add_detached(self, collector: Collector, gone: set[Any], state: TransactionState) -> None:
        """The objects whose relation is set to null, to a default or to something else."""
        updates: Any = collector.field_updates
        for (relation, value), groups in updates.items():
            if registry.tracked(relation.model) is None and not registry.audited_children(relation.model):
                continue
            for group in groups:
                if isinstance(group, QuerySet):
                    update.is_told(group)
                found = {row.pk: row for row in collected.read(relation.model, group, state)}
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

    def _add_unlinked(self, unlinked: Sequence[m2m.Links], gone: set[Any]) -> None:
        """The objects that stay, but lose a link to one that goes."""
        for links in unlinked:
            for owner, tracked, change in links.changes():
                target = tracked.target(owner.pk, label_of(owner))
                if target.key not in gone:
                    self.changed.append(_Change(tracked, owner, target, {change.field: change}))

    def record(self, state: TransactionState) -> None:
        """One event for each, that of the object whose deletion was asked for first."""
        origin = self.origin._meta.concrete_model if self.origin else None
        roots = [item for item in self.gone if origin is not None and type(item.instance) is origin]
        root = roots[0] if len(roots) == 1 else None
        for number, item in enumerate(sorted(self.gone, key=lambda item: item is not root), 1):
            push(
                state,
                item.tracked,
                "delete",
                item.target,
                item.diff,
                instance=item.instance,
                related=(root.target,) if root and item is not root and not item.hides(root) else (),
                extra=self._with(root) if root and item is root else None,
            )
            if number % update.PART == 0:  # events that wait are held twice
                state.flush()
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

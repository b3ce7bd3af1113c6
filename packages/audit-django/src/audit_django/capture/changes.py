"""From values before and after to the diff of an event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import Model

from audit_core.codec import canonical
from audit_core.diff import FIELD, Change
from audit_core.plugins.manager import get_plugin_manager
from audit_core.privacy import Secret
from audit_django.capture.before import Row
from audit_django.fields import FieldSpec
from audit_django.labels import Labels

_SCALARS = frozenset({str, int, float, bool, bytes})
_VALUES = _SCALARS | {
    Decimal,
    UUID,
    date,
    datetime,
    time,
    timedelta,
}  # in fields of Django's own: equal are the same


def created(
    specs: Sequence[FieldSpec],
    instance: Model,
    after: Mapping[str, Any],
    using: str,
    labels: Labels | None = None,
) -> dict[str, Change]:
    """The diff of a row that is new: every value that is not null. ``labels`` as in :func:`updated`."""
    vendor = connections[using].vendor
    written = [(spec, spec.plain_written(after[spec.attname], vendor)) for spec in specs]
    pairs = [(spec, None, value) for spec, value in written if value is not None]
    return _changes(pairs, labels or _at_hand(specs, None, instance, using))


def updated(
    specs: Sequence[FieldSpec],
    instance: Model | None,
    before: Row,
    after: Mapping[str, Any],
    using: str,
    labels: Labels | None = None,
) -> dict[str, Change]:
    """The diff of a row that was there: the values that are not the same once the field has normalized them.

    ``labels`` are those of related objects, where they were looked up for many rows at once.
    """
    pairs = list(_different(specs, before, after, using))
    if not pairs:
        return {}
    return _changes(pairs, labels or _at_hand([pair[0] for pair in pairs], before, instance, using))


def is_same(specs: Sequence[FieldSpec], before: Row, after: Mapping[str, Any], using: str) -> bool:
    """Whether :func:`updated` has nothing to say."""
    return next(_different(specs, before, after, using), None) is None


def _different(
    specs: Sequence[FieldSpec], before: Row, after: Mapping[str, Any], using: str
) -> Iterator[tuple[FieldSpec, Any, Any]]:
    vendor = connections[using].vendor
    for spec in specs:
        old, new = before.values[spec.attname], after[spec.attname]
        if type(old) is type(new) and (
            old is None or (type(old) in (_SCALARS if spec.reread else _VALUES) and old == new)
        ):
            continue
        plain_old, plain_new = spec.plain(old), spec.plain_written(new, vendor)
        if not _same(plain_old, plain_new):
            yield spec, plain_old, plain_new


def deleted(
    specs: Sequence[FieldSpec], rows: Sequence[Mapping[str, Any]], using: str
) -> list[dict[str, Change]]:
    """The diffs of rows of one model that are gone: every value that was not null."""
    labels = Labels(using)
    plain_rows = [{spec.name: spec.plain(row[spec.attname]) for spec in specs} for row in rows]
    for spec in specs:
        if spec.relation != FIELD and not spec.sensitive:
            labels.fetch(spec, [row[spec.name] for row in plain_rows])
    return [
        _changes([(spec, row[spec.name], None) for spec in specs if row[spec.name] is not None], labels)
        for row in plain_rows
    ]


def labels_of(
    specs: Sequence[FieldSpec],
    rows: Sequence[Mapping[str, Any]],
    using: str,
    instances: Sequence[Model] = (),
) -> Labels:
    """The labels that the relations of many rows need: one query a relation, and none for what ``instances`` hold."""
    labels, vendor = Labels(using), connections[using].vendor
    for spec in specs:
        if spec.relation == FIELD or spec.sensitive:
            continue
        at_hand = (spec.field.get_cached_value(i) for i in instances if spec.field.is_cached(i))
        for related in {id(related): related for related in at_hand}.values():
            labels.learn(spec, related)
        keys = dict.fromkeys(row[spec.attname] for row in rows)
        labels.fetch(spec, [spec.plain_written(key, vendor) for key in keys])
    return labels


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, dict | list) and isinstance(new, dict | list):
        return canonical(old) == canonical(new)  # in Python {"a": 1} equals {"a": True}
    return type(old) is type(new) and bool(old == new)


def _changes(pairs: Sequence[tuple[FieldSpec, Any, Any]], labels: Labels) -> dict[str, Change]:
    hooks = get_plugin_manager()
    compare = hooks.diff_field if hooks.implements("audit_diff_field") else None
    diff = {}
    for spec, old, new in pairs:
        if spec.sensitive:
            diff[spec.name] = spec.change(_sealed(spec, old), _sealed(spec, new))
        elif spec.relation != FIELD:
            labels.fetch(spec, (old, new))
            diff[spec.name] = spec.change(labels.reference(spec, old), labels.reference(spec, new))
        else:
            answer = compare(spec.field, old, new) if compare else None
            if answer is None:
                diff[spec.name] = spec.change(old, new)
            elif answer:
                diff[spec.name] = spec.change(answer["before"], answer["after"])
    return diff


def _at_hand(specs: Sequence[FieldSpec], before: Row | None, instance: Model | None, using: str) -> Labels:
    """The labels of related objects that were read with the row or are held by the instance."""
    labels = Labels(using)
    for spec in specs:
        if spec.relation != FIELD and not spec.sensitive:
            if before is not None:
                labels.learn(spec, before.related.get(spec.name))
            if instance is not None and spec.field.is_cached(instance):
                labels.learn(spec, spec.field.get_cached_value(instance))
    return labels


def _sealed(spec: FieldSpec, value: Any) -> Any:
    """What the recorder is given to seal. That a value is missing is no secret; a password does not even get that far."""
    if value is None or value == "":
        return value
    return {"sealed": {}} if spec.never_stored else Secret(value)

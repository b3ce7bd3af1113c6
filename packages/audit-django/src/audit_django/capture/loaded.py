"""What an instance was loaded with, for models registered with ``before="instance"``.

It costs no query, and misses what others have done since. Loading keeps the tuple that Django has made of the row anyway, and
copies nothing but what can be changed in place (JSON, arrays). After a save it is what was saved; after a rollback it is
forgotten, and the database is asked.
"""

from __future__ import annotations

import copy
import functools
import marshal
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from weakref import ref

from django.db.models import JSONField, Model

from audit_core.errors import ConfigurationError
from audit_django import registry
from audit_django.capture.before import Row
from audit_django.capture.transactions import TransactionState
from audit_django.fields import FieldSpec, Tracked

_LOADED = "_audit_loaded"  # on ModelState
_IMMUTABLE = frozenset({str, int, float, bool, bytes, type(None)})
_originals: dict[type[Model], dict[str, Any]] = {}


class Loaded(tuple[Any, ...]):
    """Names and values as they were loaded. It is not pickled: a cache shall not hold every value twice."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return _nothing, ()


_loaded_as: Callable[[tuple[Any, ...]], Loaded] = functools.partial(
    tuple.__new__, Loaded
)  # quicker than a call


def _nothing() -> None:
    """What an unpickled instance was loaded with: nobody knows."""


class _Frozen:
    """A copy of a value that may be changed in place."""

    __slots__ = ("_data", "_is_copy")

    def __init__(self, value: Any) -> None:
        try:
            self._data, self._is_copy = marshal.dumps(value), False  # ten times as fast as a deep copy
        except ValueError:
            self._data, self._is_copy = copy.deepcopy(value), True

    def value(self) -> Any:
        return self._data if self._is_copy else marshal.loads(self._data)  # noqa: S302 - our own bytes


def install() -> None:
    """Watch the models that are registered so, now and whenever registrations change."""
    registry.on_change(_watch_all)


def _watch_all() -> None:
    for model, methods in _originals.items():
        for name, method in methods.items():
            delattr(model, name) if method is None else setattr(model, name, method)
    _originals.clear()
    try:
        models = registry.tracked_models()
    except ConfigurationError:
        return  # the system checks say it better than a failed start
    for model in models:
        tracked = registry.tracked(model)
        if tracked is not None and tracked.before == "instance":
            _watch(model, mutable_names(tracked))


@lru_cache
def mutable_names(tracked: Tracked) -> frozenset[str]:
    """The columns whose values may be changed in place: JSON, and what is no field of Django's own (arrays, objects)."""
    return frozenset(
        spec.attname
        for spec in tracked.fields
        if isinstance(spec.field, JSONField)
        or not type(spec.field).__module__.startswith("django.db.models.")
    )


def _watch(model: type[Model], mutable: frozenset[str]) -> None:
    from_db_: Any = model.from_db.__func__  # type: ignore[attr-defined]
    refresh: Any = model.refresh_from_db
    _originals[model] = {name: model.__dict__.get(name) for name in ("from_db", "refresh_from_db")}

    @functools.wraps(from_db_)
    def from_db(cls: type[Model], db: str | None, field_names: Any, values: Any, **kwargs: Any) -> Model:
        # Before the instance is made: it is given the very objects.
        kept = _frozen(field_names, values, mutable) if mutable else values
        instance: Model = from_db_(cls, db, field_names, values, **kwargs)
        instance._state._audit_loaded = _loaded_as((field_names, kept))  # type: ignore[attr-defined]
        return instance

    @functools.wraps(refresh)
    def refresh_from_db(
        self: Model, using: Any = None, fields: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        refresh(self, using, fields, *args, **kwargs)
        columns = self._meta.concrete_fields
        read = [f.attname for f in columns if fields is None or f.name in fields or f.attname in fields]
        _keep(self, {name: self.__dict__[name] for name in read if name in self.__dict__}, mutable)

    model.from_db = classmethod(from_db)  # type: ignore[assignment, arg-type]
    model.refresh_from_db = refresh_from_db  # type: ignore[method-assign]


def _frozen(names: Iterable[str], values: Iterable[Any], mutable: frozenset[str]) -> list[Any]:
    return [
        _Frozen(value) if name in mutable and type(value) not in _IMMUTABLE else value
        for name, value in zip(names, values, strict=True)
    ]


def _keep(instance: Model, values: Mapping[str, Any], mutable: frozenset[str]) -> None:
    """From now on ``instance`` counts as loaded with these values too."""
    merged = {
        **_loaded(instance),
        **dict(zip(values, _frozen(values, values.values(), mutable), strict=True)),
    }
    instance._state._audit_loaded = Loaded((tuple(merged), tuple(merged.values())))  # type: ignore[attr-defined]


def _loaded(instance: Model) -> dict[str, Any]:
    loaded = getattr(instance._state, _LOADED, None)
    return {} if loaded is None else dict(zip(*loaded, strict=True))


def read(
    instance: Model, tracked: Tracked, specs: Sequence[FieldSpec], using: str, *, partial: bool
) -> Row | None:
    """What ``instance`` was loaded with; ``None`` where that is not known. ``partial``: not all columns are written."""
    values = _loaded(instance)
    names = [spec.attname for spec in specs]
    key = [column.attname for column in tracked.model._meta.pk_fields]
    if not values or instance._state.db != using or not values.keys() >= {*names, *key}:
        return None
    if any(values[name] != instance.__dict__.get(name) for name in key):
        return None  # it is another object's row now
    held = {name: v.value() if isinstance(v, _Frozen) else v for name, v in values.items()}
    whole = None
    if partial:  # its label must not show what is not written
        whole = copy.copy(instance)
        whole.__dict__.update(held)
    return Row({name: held[name] for name in names}, whole=whole)


def saved(
    instance: Model,
    tracked: Tracked,
    specs: Sequence[FieldSpec],
    after: Mapping[str, Any],
    state: TransactionState,
) -> None:
    """``instance`` counts as loaded with what it was saved with, unless the transaction is rolled back."""
    vendor = state.connection.vendor
    values = {
        column.attname: instance.__dict__.get(column.attname) for column in tracked.model._meta.pk_fields
    }
    values |= {spec.attname: spec.as_kept(after[spec.attname], vendor) for spec in specs}
    _keep(instance, values, mutable_names(tracked))
    model_state = ref(instance._state)

    def forget() -> None:
        if (found := model_state()) is not None:
            found.__dict__.pop(_LOADED, None)

    state.pending.on_undo(forget)

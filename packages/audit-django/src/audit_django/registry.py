"""What is audited: the models, the options of each, and what capture has to know of their fields."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, overload

from django.apps import apps
from django.core.signals import setting_changed
from django.db.models import Model
from django.db.models.signals import class_prepared
from django.utils.module_loading import autodiscover_modules

from audit_core.errors import ConfigurationError
from audit_django.conf import BEFORE, ON_ERROR, get_settings
from audit_django.fields import Subject, Tracked, build, is_password
from audit_django.values import target_field

_M = TypeVar("_M", bound=type[Model])


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How one model is audited (see :func:`register`)."""

    fields: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    sensitive: Sequence[str] = ()
    m2m: Sequence[str] | None = None
    owner: Sequence[str] = ()
    condition: Callable[[Any], bool] | None = None
    before: str = "database"
    on_error: str | None = None
    subject: Subject | None = None


_registered: dict[str, Options] = {}  # by lower-case label: a model may be registered before it exists
_tracked: dict[type[Model], Tracked | None] = {}


def register(
    model: type[Model] | str,
    *,
    fields: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    sensitive: Sequence[str] = (),
    m2m: Sequence[str] | None = None,
    owner: Sequence[str] = (),
    condition: Callable[[Any], bool] | None = None,
    before: str = "database",
    on_error: str | None = None,
    subject: Subject | None = None,
) -> None:
    """Audit ``model`` (a class or ``"policies.Policy"``). Neither its managers nor its base classes change.

    - ``fields``: only these; ``exclude``: all but these. The primary key and many-to-many fields are not among them.
    - ``sensitive``: fields whose values never leave the recorder in the clear.
    - ``m2m``: these many-to-many fields; all of them when not given, none for ``()``.
    - ``owner``: relations of which a change is a move ("moved it from Bob to Carol").
    - ``condition``: called with the instance; an event is recorded only when it returns true.
    - ``before``: where the values before a save come from: ``"database"``, read under a row lock, or ``"instance"``, what it
      was loaded with: no query, and what others have done since is missed.
    - ``on_error``: ``"required"`` (a write whose event cannot be written fails) or ``"best_effort"`` (it succeeds, and the
      loss is counted and recorded). The setting ``ON_ERROR`` when not given.
    - ``subject``: the person whom the values of a row belong to: the name of a field (``"pk"``, ``"customer"``) or a function of
      the instance. Sensitive values are sealed under a key of that person's own, which can be destroyed; else under the tenant's.

    Registering a model again replaces its options. Raises :class:`~audit_core.errors.ConfigurationError` for an option that
    cannot be; names of fields are checked when the models are loaded.
    """
    for name, value, known in (("before", before, BEFORE), ("on_error", on_error or "required", ON_ERROR)):
        if value not in known:
            raise ConfigurationError(
                f"register({model!r}): {name} is {value!r}. Write one of: {', '.join(known)}."
            )
    for name, names in (
        ("fields", fields),
        ("exclude", exclude),
        ("sensitive", sensitive),
        ("m2m", m2m),
        ("owner", owner),
    ):
        if isinstance(names, str):
            raise ConfigurationError(
                f"register({model!r}): {name} is one string. Write a list: {name}=[{names!r}]."
            )
    label = model if isinstance(model, str) else _concrete(model)._meta.label
    _registered[label.lower()] = Options(
        fields=fields,
        exclude=exclude,
        sensitive=sensitive,
        m2m=m2m,
        owner=owner,
        condition=condition,
        before=before,
        on_error=on_error,
        subject=subject,
    )
    forget()


def unregister(model: type[Model] | str) -> None:
    """Stop auditing a model that was registered. What was recorded stays."""
    label = model if isinstance(model, str) else _concrete(model)._meta.label
    _registered.pop(label.lower(), None)
    forget()


@overload
def audited(model: _M, /) -> _M: ...
@overload
def audited(**options: Any) -> Callable[[_M], _M]: ...
def audited(model: Any = None, /, **options: Any) -> Any:
    """A class decorator with the options of :func:`register`: ``@audited`` or ``@audited(sensitive=["ssn"])``."""

    def decorate(cls: _M) -> _M:
        register(cls, **options)
        return cls

    return decorate if model is None else decorate(model)


class AuditableMixin:
    """Audits the models that inherit from it; ``audit_options`` are the keyword arguments of :func:`register`.

    Any audited model, with or without this mixin, may have ``get_audit_context``.
    """

    __module__ = "audit_django"  # where it is imported from, also by the migrations of models that have it

    audit_options: dict[str, Any] = {}  # noqa: RUF012  read, never changed

    def get_audit_context(self) -> dict[str, Any]:
        """What :func:`audit_core.context.audit_context` takes, for the events of this object: ``{"actor": …}``."""
        return {}


def _register_mixin(sender: type[Model], **kwargs: Any) -> None:
    if sender._meta.apps is not apps:
        return  # a historical model of a migration
    apps.lazy_model_operation(_made, (sender._meta.app_label, sender._meta.model_name))


def _made(model: type[Model]) -> None:
    """A model can be found now, which it cannot yet when its class is prepared."""
    apps.get_models.cache_clear()  # type: ignore[attr-defined]  # as Django does just after this
    if issubclass(model, AuditableMixin) and not model._meta.proxy:
        register(model, **model.audit_options)
    else:
        forget()


class_prepared.connect(_register_mixin)


_listeners: list[Callable[[], None]] = []
_discovered = False


def autodiscover() -> None:
    """Import the ``audit`` module of every installed app, as the admin does with ``admin``."""
    global _discovered
    autodiscover_modules("audit")
    _discovered = True
    forget()


def on_change(listener: Callable[[], None]) -> None:
    """Call ``listener`` once all apps are loaded, and whenever what is audited may have changed."""
    if listener not in _listeners:
        _listeners.append(listener)


def tracked(model: type[Model]) -> Tracked | None:
    """What capture has to know of ``model``, or ``None`` when it is not audited. Cheap: made once for each class."""
    try:
        return _tracked[model]
    except KeyError:
        pass
    result = None
    if apps.models_ready:
        source = _audited_model(_concrete(model))
        if source is not None:
            result = build(source, _options(source), get_settings())
        _tracked[model] = result
    return result


def describe(model: type[Model]) -> Tracked:
    """What is known of a model whether it is audited or not: for custom events about it."""
    return build(_concrete(model), _options(_concrete(model)), get_settings())


def _audited_model(model: type[Model]) -> type[Model] | None:
    """The model under whose name a write to ``model`` is recorded: itself, or the nearest parent that is audited."""
    meta = model._meta
    if meta.apps is not apps or meta.app_label == "audit_django" or meta.auto_created or meta.swapped:
        return None  # historical models of migrations are not the application's own
    if meta.label_lower in get_settings().excluded_models and meta.label_lower not in _registered:
        return None
    if get_settings().models == "all" or meta.label_lower in _registered:
        return model
    return next(
        (parent for parent in meta.get_parent_list() if parent._meta.label_lower in _registered), None
    )


def _options(model: type[Model]) -> Options:
    options = _registered.get(model._meta.label_lower) or Options()
    parents = [_registered.get(parent._meta.label_lower) for parent in model._meta.get_parent_list()]
    above = [parent for parent in parents if parent is not None]
    # A multi-table child has its parents' fields: what is secret or left out there is so here.
    return replace(
        options,
        sensitive=[*options.sensitive, *(name for parent in above for name in parent.sensitive)],
        exclude=[*options.exclude, *(name for parent in above for name in parent.exclude)],
        subject=next((o.subject for o in (options, *above) if o.subject is not None), None),
    )


def is_sensitive(field: Any) -> bool:
    """Whether the values of a field never leave the recorder: it, or what it refers to, is named so or declared so."""
    pattern = get_settings().sensitive_names
    declared = field.name in _options(field.model).sensitive
    if declared or is_password(field) or (pattern and pattern.search(field.name)):
        return True
    target = target_field(field)
    return target is not None and is_sensitive(target)


_secrets: dict[type[Model], Sequence[str]] = {}


def secrets_of(instance: Model) -> list[str]:
    """The sensitive values that ``instance`` holds, as text: labels must not show them."""
    model = instance.__class__  # not type(): the user of a request is a lazy object
    if model not in _secrets:
        own = {name for m in model.__mro__ if hasattr(m, "_meta") for name in _options(m).sensitive}
        _secrets[model] = [
            field.attname
            for field in model._meta.concrete_fields
            if not field.is_relation and (field.name in own or is_sensitive(field))
        ]
    values = (instance.__dict__.get(name) for name in _secrets[model])
    return sorted((str(v) for v in values if v not in (None, "")), key=len, reverse=True)


_children: dict[type[Model], list[type[Model]]] = {}


def audited_children(model: type[Model]) -> list[type[Model]]:
    """The multi-table children that are audited under their own name, the deepest last."""
    if model not in _children:
        below = (m for m in apps.get_models() if model in m._meta.get_parent_list())
        found = [m for m in below if (known := tracked(m)) is not None and known.model is m]
        _children[model] = sorted(found, key=lambda m: len(m._meta.get_parent_list()))
    return _children[model]


def tracked_models() -> list[type[Model]]:
    """The models that are audited, by label."""
    models = (model for model in apps.get_models() if _audited_model(_concrete(model)) is model)
    return sorted(models, key=lambda model: model._meta.label)


def history_types(model: type[Model]) -> list[str]:
    """The target types under which the history of an object of ``model`` is found.

    Its own and those of its multi-table children, whose events hold the parent's fields too; if only a parent is audited,
    the parent's.
    """
    concrete = _concrete(model)
    source = _audited_model(concrete) or concrete
    children = [child for child in apps.get_models() if issubclass(child, concrete) and not child._meta.proxy]
    return list(dict.fromkeys([source._meta.label, *(child._meta.label for child in children)]))


def problems() -> list[str]:
    """What is wrong with the registrations: models and fields that do not exist."""
    found = []
    labels = {model._meta.label_lower: model for model in apps.get_models()}
    for label, options in _registered.items():
        model = labels.get(label)
        if model is None:
            found.append(f"register({label!r}): there is no such model.{_suggest(label, list(labels))}")
            continue
        meta = model._meta
        columns = [field.name for field in meta.concrete_fields]
        relations = [field.name for field in meta.many_to_many]
        for option, known in (("fields", columns), ("exclude", columns + relations), ("sensitive", columns),
                              ("owner", columns), ("m2m", relations)):  # fmt: skip
            found += [
                f"register({meta.label!r}): {option} names {name!r}, which the model does not have."
                f"{_suggest(name, known)}"
                for name in getattr(options, option) or ()
                if name not in known
            ]
        keys = {field.name for field in meta.pk_fields}
        found += [
            f"register({meta.label!r}): sensitive names {name!r}, the primary key, which stands in every event as the "
            "target's id. Do not audit the model, or give it another key."
            for name in options.sensitive
            if name in keys
        ]
        if isinstance(options.subject, str) and (
            problem := _subject_problem(model, options.subject, columns)
        ):
            found.append(f"register({meta.label!r}): subject names {options.subject!r}, {problem}")
    return found


def _subject_problem(model: type[Model], name: str, columns: Sequence[str]) -> str | None:
    if name == "pk":
        return None
    if name not in columns:
        return f"which the model does not have.{_suggest(name, columns)}"
    field: Any = model._meta.get_field(name)
    if is_sensitive(field):
        return "a sensitive field, but the table of keys names the person. Name another, or a function that gives a pseudonym."
    if field.is_relation and not field.target_field.primary_key:
        return "which refers to another field than the primary key. Name a function that gives one name for each person."
    return None


def _suggest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _concrete(model: type[Model]) -> type[Model]:
    return model._meta.concrete_model or model


def forget() -> None:
    """Make everything anew that was derived from options and settings."""
    _tracked.clear()
    _secrets.clear()
    _children.clear()
    if _discovered and apps.models_ready:
        for listener in _listeners:
            listener()


def _forget_settings(*, setting: str, **kwargs: Any) -> None:
    if setting in ("AUDIT", "AUTH_USER_MODEL", "INSTALLED_APPS", "LANGUAGE_CODE", "USE_I18N"):
        forget()


setting_changed.connect(_forget_settings)

"""What is audited: the models, the options of each, and what capture has to know of their fields."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar, overload

from django.apps import apps
from django.core.signals import setting_changed
from django.db.models import Model
from django.db.models.signals import class_prepared
from django.utils.module_loading import autodiscover_modules

from audit_django.conf import get_settings
from audit_django.fields import Tracked, build, is_password
from audit_django.options import Options, options_of, problems_of, suggestion
from audit_django.values import source_fields, target_field

_M = TypeVar("_M", bound=type[Model])


_registered: dict[str, Options] = {}  # by lower-case label: a model may be registered before it exists
_tracked: dict[type[Model], Tracked | None] = {}


def register(model: type[Model] | str, **options: Any) -> None:
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
    label = model if isinstance(model, str) else _concrete(model)._meta.label
    _registered[label.lower()] = options_of(model, options)
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


def is_sensitive(field: Any, declared: Collection[str] = ()) -> bool:
    """Whether the values of a field never leave the recorder: it, what it refers to, or what the database computes it from is
    named so or declared so. ``declared``: for a multi-table child, whose fields may be its parents'.
    """
    pattern = get_settings().sensitive_names
    if field.name in declared or field.name in _options(field.model).sensitive:
        return True
    if is_password(field) or (pattern and pattern.search(field.name)):
        return True
    if field.generated:
        return any(is_sensitive(source, declared) for source in source_fields(field))
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
            if not field.is_relation and is_sensitive(field, own)
        ]
    values = (instance.__dict__.get(name) for name in _secrets[model])
    texts = {text for value in values for text in _texts(value)}
    return sorted(texts, key=len, reverse=True)


def _texts(value: Any) -> Iterator[str]:
    """``value`` as text, and each value of a document."""
    if value is None or value in ("", [], {}):
        return
    yield str(value)
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


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
    models = {model._meta.label_lower: model for model in apps.get_models()}
    for label, options in _registered.items():
        if label in models:
            found += problems_of(models[label], options, is_sensitive)
        else:
            found.append(f"register({label!r}): there is no such model.{suggestion(label, models)}")
    return found


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

"""What an application may say of a model that is audited: the options of :func:`audit_django.register`, and mistakes in them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from django.db.models import Model

from audit_core.errors import ConfigurationError
from audit_django.conf import BEFORE, ON_ERROR
from audit_django.fields import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How one model is audited (see :func:`~audit_django.register`)."""

    fields: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    sensitive: Sequence[str] = ()
    m2m: Sequence[str] | None = None
    owner: Sequence[str] = ()
    condition: Callable[[Any], bool] | None = None
    before: str = "database"
    on_error: str | None = None
    subject: Subject | None = None


IsSensitive = Callable[[Any, Collection[str]], bool]
"""Whether a field is sensitive, given the names that its model declares so."""

_NAMES = [field.name for field in fields(Options)]
_LISTS = ("fields", "exclude", "sensitive", "m2m", "owner")


def options_of(model: type[Model] | str, given: Mapping[str, Any]) -> Options:
    """The options as ``register(model, …)`` was given them. Raises :class:`ConfigurationError` for one that cannot be."""
    for name, value in given.items():
        if name not in _NAMES:
            raise ConfigurationError(
                f"register({model!r}): there is no option {name!r}.{suggestion(name, _NAMES)}"
            )
        known = {"before": BEFORE, "on_error": (*ON_ERROR, None)}.get(name)
        if known and value not in known:
            words = ", ".join(word for word in known if word)
            raise ConfigurationError(f"register({model!r}): {name} is {value!r}. Write one of: {words}.")
        if name in _LISTS and isinstance(value, str):
            raise ConfigurationError(
                f"register({model!r}): {name} is one string. Write a list: {name}=[{value!r}]."
            )
    return Options(**given)


def problems_of(model: type[Model], options: Options, is_sensitive: IsSensitive) -> list[str]:
    """What is wrong with the options of ``model``: names that it does not have, fields that cannot be that."""
    meta = model._meta
    columns = [field.name for field in meta.concrete_fields]
    relations = [field.name for field in meta.many_to_many]
    links = [name for name in options.sensitive if name in relations]
    known_names = {
        "fields": columns,
        "exclude": columns + relations,
        "sensitive": columns + links,
        "m2m": relations,
        "owner": columns,
    }
    found = [
        f"register({meta.label!r}): sensitive names {name!r}, a many-to-many field, whose events have the keys and labels of "
        "other objects. Declare sensitive what their labels are made of, or exclude the field."
        for name in links
    ]
    found += [
        f"register({meta.label!r}): {option} names {name!r}, which the model does not have.{suggestion(name, known)}"
        for option, known in known_names.items()
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
    if isinstance(options.subject, str):
        problem = _subject_problem(model, options, options.subject, columns, is_sensitive)
        found += (
            [f"register({meta.label!r}): subject names {options.subject!r}, {problem}"] if problem else []
        )
    return found


def _subject_problem(
    model: type[Model], options: Options, name: str, columns: Sequence[str], is_sensitive: IsSensitive
) -> str | None:
    if name == "pk":
        return None
    if name not in columns:
        return f"which the model does not have.{suggestion(name, columns)}"
    field: Any = model._meta.get_field(name)
    if is_sensitive(field, options.sensitive):
        return "a sensitive field, but the table of keys names the person. Name another, or a function that gives a pseudonym."
    if field.is_relation and not field.target_field.primary_key:
        return "which refers to another field than the primary key. Name a function that gives one name for each person."
    return None


def suggestion(word: str, known: Collection[str]) -> str:
    """`` Did you mean 'word'?`` for the one of these names that is close; else nothing."""
    close = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""

"""The line of filters: each a chip that says its value, offers others, and can be dropped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.apps import apps
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from audit_core.event import Event
from audit_core.summarizers import words
from audit_django.registry import tracked_models
from audit_django.timeline.filters import NAMES, PRESETS, Filters
from audit_django.timeline.rows import ACTIONS, action_word, actor_name


@dataclass(frozen=True, slots=True)
class Choice:
    """One value that a filter can take."""

    text: str
    address: str
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Chip:
    """One filter. ``value`` is empty where it is not set.

    ``drop`` is the address without it, ``kept`` the parameters of the others.
    """

    name: str
    label: str
    value: str
    drop: str
    kept: Sequence[tuple[str, str]] = ()
    choices: Sequence[Choice] = ()


def chips(filters: Filters, events: Iterable[Event]) -> list[Chip]:
    """The chips for ``filters``.

    The names of actors and objects, and actions of the application's own, are taken from the ``events`` that
    are shown: no query is made for a chip.
    """
    seen = list(events)
    actors = {e.actor.id: actor_name(e.actor) for e in reversed(seen) if e.actor and e.actor.id}
    choices = {
        "model": _models(filters),
        "actor": [
            _choice(filters, "actor", id, name)
            for id, name in sorted(actors.items(), key=lambda item: item[1])
        ],
        "action": _actions(filters, seen),
        "dates": [_choice(filters, "range", key, str(name)) for key, name in PRESETS.items()],
    }
    values = {
        "q": f"“{filters.q}”" if filters.q else "",
        "model": model_name(filters.model) if filters.model else "",
        "object": _object_name(filters, seen),
        "actor": actors.get(filters.actor, filters.actor),
        "action": action_word(filters.action) if filters.action else "",
        "dates": dates_text(filters),
        "request": filters.request[:8],
    }
    return [
        Chip(
            name,
            str(NAMES[name]),
            values[name],
            without.address(),
            list(without.items()),
            choices.get(name, ()),
        )
        for name, without in ((name, filters.without(name)) for name in NAMES)
        if values[name] or name not in ("q", "request")  # these two are set elsewhere
    ]


def model_name(label: str) -> str:
    """What people call the model with this label; of one that is no longer there, the label's last part."""
    try:
        return capfirst(str(apps.get_model(label)._meta.verbose_name))
    except (LookupError, ValueError):
        return label.rpartition(".")[2]


def dates_text(filters: Filters) -> str:
    """The dates in words, as they were asked for."""
    if filters.range:
        return str(PRESETS[filters.range])
    if filters.since and filters.until:
        if filters.since == filters.until:
            return filters.since
        return _("%(since)s to %(until)s") % {"since": filters.since, "until": filters.until}
    if filters.since:
        return _("from %s") % filters.since
    return _("up to %s") % filters.until if filters.until else ""


def _models(filters: Filters) -> list[Choice]:
    labels = dict.fromkeys(model._meta.label for model in tracked_models())
    if filters.model:
        labels.setdefault(filters.model)
    named = sorted((model_name(label), label) for label in labels)
    return [_choice(filters, "model", label, name) for name, label in named]


def _actions(filters: Filters, seen: Sequence[Event]) -> list[Choice]:
    names = dict.fromkeys([*ACTIONS, *(event.action for event in seen), *filter(None, [filters.action])])
    return [_choice(filters, "action", name, action_word(name)) for name in names]


def _choice(filters: Filters, parameter: str, value: str, text: str) -> Choice:
    return Choice(text, filters.but(**{parameter: value}).address(), getattr(filters, parameter) == value)


def _object_name(filters: Filters, seen: Sequence[Event]) -> str:
    for event in seen:
        if event.target and event.target.id == filters.object and event.target.repr:
            return words.text(event.target.repr)
    return f"#{filters.object}" if filters.object else ""

"""Who did it and what it was done to, in words."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from audit_core.event import Actor, Event, Target
from audit_core.summarizers.values import Style, class_words, object_label
from audit_core.summarizers.words import HIDDEN, clip, counted, lower, mapping, plural, text, with_article


class Thing(NamedTuple):
    """What a sentence is about (``"policy P-1007"``, ``"830 policies"``), and how later clauses call it."""

    words: str
    pronoun: str = "it"


NOTHING = Thing("")


def count_of(event: Event) -> int | None:
    """How many objects the event is about, where it is about more than its target tells."""
    value = mapping(event.extra).get("count")
    return value if type(value) is int and value >= 0 else None


def subject(event: Event, style: Style, *, nobody: str = "The system") -> str:
    """The subject of the sentence: the actor, and on whose behalf. ``nobody`` stands for an unknown actor."""
    words = actor_words(event.actor, style, ip=text(event.context.ip), nobody=nobody)
    if event.on_behalf_of is None:
        return words
    behalf = actor_words(event.on_behalf_of, style)
    if event.on_behalf_of.type != "user" and behalf.startswith(_WITH_ARTICLE):
        behalf = behalf[0].lower() + behalf[1:]
    return f"{words}, on behalf of {behalf},"


_WITH_ARTICLE = ("The ", "A ", "An ")


def actor_words(actor: Actor | None, style: Style, *, ip: str = "", nobody: str = "The system") -> str:
    """An actor at the start of a sentence."""
    if actor is None:
        return nobody
    kind = text(actor.type) or "user"
    name = clip(_name(actor), style.limit)
    if kind == "user":
        return name or (f"User {clip(text(actor.id), style.limit)}" if text(actor.id) else "A user")
    if kind == "anonymous":
        return f"An anonymous user from {clip(ip, 45)}" if ip else "An anonymous user"
    if kind == "system":
        return name if name and name.lower() not in ("system", "the system") else "The system"
    name = name or clip(text(actor.id), style.limit)
    if kind in ("command", "task"):
        return f"The {kind} `{name}`" if name else f"A {kind}"
    if kind == "service":
        return f"The service {name}" if name and not name.lower().startswith("the ") else name or "A service"
    if name:
        return name
    words = clip(with_article(lower(text(kind.replace("_", " ")))), style.limit)
    return words[0].upper() + words[1:]


def _name(actor: Actor) -> str:
    """The best name that is not sealed; if all that there is are sealed, what says so."""
    names = [words for value in (actor.repr, actor.username, actor.email) if (words := text(value))]
    plain = [words for words in names if words != HIDDEN]
    return plain[0] if plain else f"A user {HIDDEN}" if names else ""


def thing(target: Target | None, style: Style, *, n: int | None = None) -> Thing:
    """The object of the sentence. ``n`` is how many, for a target that names a type and no object."""
    if target is None:
        return NOTHING if n is None else Thing(counted(n, "record", "records"), "it" if n == 1 else "them")
    kind = kind_words(target, style)
    label, key = object_label(text(target.repr)), clip(text(target.id), style.limit)
    if not label and not key:
        many = lower(text(target.kind_plural)) or plural(kind)
        return Thing(
            counted(n, kind, clip(many, style.limit)) if n is not None else many, "it" if n == 1 else "them"
        )
    if label == HIDDEN and key:
        label = ""
    if not label or label.lower() == kind.lower():
        return Thing(f"{kind} {key}" if key else kind)
    return Thing(_without_doubling(kind, clip(label, style.limit)))


def kind_words(target: Target, style: Style) -> str:
    """What people call one object of this type."""
    kind = lower(text(target.kind)) or class_words(text(target.type).rpartition(".")[2])
    return clip(kind, style.limit)


def _without_doubling(kind: str, label: str) -> str:
    found = _kind_in_label(kind).search(label)
    if found is None:
        return f"{kind} {label}"
    if found.start() > 0:
        return label
    rest = label[found.end() :].lstrip(" :")
    return f"{kind} {rest}" if rest else label


@lru_cache(maxsize=1024)
def _kind_in_label(kind: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(kind)}(?!\w)", re.IGNORECASE)

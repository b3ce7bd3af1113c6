"""What of an event is found by its words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from audit_core.diff import Change
from audit_core.event import Actor, Event, RecordedEvent, Target
from audit_core.privacy import is_sealed


def searchable_text(recorded: RecordedEvent) -> str:
    """The labels, values, reason and sentence of an event, a line each, in lower case.

    Sealed values are left out, their masks included: whoever may not see a value may not search for it
    either.
    """
    parts = [*_texts(recorded.event), recorded.summary]
    return "\n".join(part for part in parts if part).casefold()


def matches_words(text: str, searchable: str) -> bool:
    """Whether all words of ``text``, as they stand between white space, occur in a
    :func:`searchable_text`.
    """
    return all(word in searchable for word in text.casefold().split())


def _texts(event: Event) -> Iterator[str | None]:
    yield event.action
    yield event.reason
    for actor in (event.actor, event.on_behalf_of):
        if isinstance(actor, Actor):
            yield from (actor.repr, actor.username, actor.email)
    for target in (event.target, *event.related):
        if isinstance(target, Target):
            yield from (target.repr, target.id, target.kind, target.type)
    for change in event.diff.values():
        yield from _change_texts(change)


def _change_texts(change: Change) -> Iterator[str | None]:
    yield change.name
    yield change.field
    for value in (change.before, change.after, change.added, change.removed, change.display):
        if not (change.sensitive and is_sealed(value)):
            yield from _values(value)


def _values(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _values(item)
    elif isinstance(value, Sequence):
        for item in value:
            yield from _values(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)

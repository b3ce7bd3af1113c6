"""The words by which an event is found, the same in every storage that searches text.

They are an event's labels, the values as people see them, its reason, address and sentence; sealed values have none. A search
looks for events that have all of its words, the last of which may be the beginning of one, so that typing finds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from audit_core.event import Event, RecordedEvent
from audit_core.privacy import is_sealed

WORD = re.compile(r"[^\W_]{1,400}")  # PostgreSQL's words end at 2,046 bytes
MOST_WORDS = 250  # of one search: SQLite's expressions end at a depth of a thousand
MAX_VALUE_CHARACTERS = 500  # of one value: what is found further in is found in the event itself
MAX_ITEMS = 20  # of one list or mapping
MAX_CHARACTERS = 8000  # of all words of one event


def words_of(recorded: RecordedEvent, *further: str | None) -> list[str]:
    """The different words of an event and of its sentence, if it has one already, in lower case, in the order of their places.

    The words of ``further`` texts stand last, where the limit cuts first.
    """
    texts = _texts(recorded.event)
    if recorded.summary:
        texts.append(recorded.summary)
    texts += filter(None, further)
    words = list(dict.fromkeys(WORD.findall(" ".join(texts).lower())))
    left = MAX_CHARACTERS - sum(map(len, words)) - len(words)
    while left < 0:
        left += len(words.pop()) + 1
    return words


def words_in(text: str) -> list[str]:
    """The words of a search, in lower case."""
    return WORD.findall(text.lower())[:MOST_WORDS]


def _texts(event: Event) -> list[str]:
    texts = [event.action]
    if (actor := event.actor) is not None:
        texts += filter(None, (actor.repr, actor.username, actor.email))
    if (target := event.target) is not None:
        texts += filter(None, (target.kind or target.type.rpartition(".")[2], target.repr, target.id))
    texts += (related.repr or "" for related in event.related)
    texts += filter(None, (event.reason, event.context.ip))
    for change in event.diff.values():
        texts.append(change.label or change.field)
        if change.sensitive:
            continue
        if change.display:
            texts += change.display.values()
        for value in (change.before, change.after, *change.added, *change.removed):
            if type(value) is str:
                texts.append(value[:MAX_VALUE_CHARACTERS])
            elif value is not None:
                texts += _words_of(value)
    return texts


def _words_of(value: Any) -> Iterator[str]:
    kind = type(value)
    if kind is str:
        yield value[:MAX_VALUE_CHARACTERS]
    elif kind is int or kind is float:
        yield str(value)
    elif kind is dict and not is_sealed(value):
        if "repr" in value:
            yield from _words_of(value["repr"])  # which may be sealed, or unknown
        elif "base64" not in value and "sha256" not in value:
            for item in list(value.values())[:MAX_ITEMS]:
                yield from _words_of(item)
    elif kind is list:
        for item in value[:MAX_ITEMS]:
            yield from _words_of(item)

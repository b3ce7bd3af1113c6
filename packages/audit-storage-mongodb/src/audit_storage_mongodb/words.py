"""The words by which an event is found: those that the database storage of audit-django finds it by.

They are kept as an array with a multikey index. Unlike MongoDB's ``$text``, which looks for any of the words it is
given and knows whole words in one language only, such an array answers "all of these words" and "begins with".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from audit_core.event import Event, RecordedEvent
from audit_core.privacy import is_sealed

WORD = re.compile(r"[^\W_]{1,400}")
MAX_VALUE_CHARACTERS = 500  # of one value: what is found further in is found in the event itself
MAX_CHARACTERS = 8000  # of all words of one event, a space between two
MAX_ITEMS = 20  # of one list or mapping


def words_of(recorded: RecordedEvent) -> list[str]:
    """The different words of an event's labels, values, reason and sentence, in lower case. Sealed values have none."""
    texts = _texts(recorded.event)
    if recorded.summary:
        texts.append(recorded.summary)
    text = " ".join(dict.fromkeys(WORD.findall(" ".join(texts).lower())))
    if len(text) > MAX_CHARACTERS:
        text = text[:MAX_CHARACTERS].rsplit(" ", 1)[0]
    return text.split()


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
            yield str(value["repr"])[:MAX_VALUE_CHARACTERS]
        elif "base64" not in value and "sha256" not in value:
            for item in list(value.values())[:MAX_ITEMS]:
                yield from _words_of(item)
    elif kind is list:
        for item in value[:MAX_ITEMS]:
            yield from _words_of(item)

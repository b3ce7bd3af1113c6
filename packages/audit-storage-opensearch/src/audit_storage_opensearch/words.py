"""The words by which an event is found: those of the database storage, and those of the context behind them.

Both sides of a search are cut into words here, not by an analyzer, so that every store finds the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from audit_core.event import Event, RecordedEvent
from audit_core.privacy import is_sealed

WORD = re.compile(r"[^\W_]{1,400}")
MAX_VALUE_CHARACTERS = 500  # of one value
MAX_CHARACTERS = 8000  # of one event
MOST_WORDS = 250  # of one search; OpenSearch takes 1,024 clauses
_MOST_ITEMS = 20  # of one list or document


def words_of(text: str) -> list[str]:
    """The words of ``text`` in lower case, each once, in their order."""
    return list(dict.fromkeys(WORD.findall(text.lower())))


def search_words(recorded: RecordedEvent) -> str:
    """The different words of an event's labels, values, reason, sentence and context, with spaces between them.

    Nothing of a sealed value is among them, nor its mask.
    """
    text = " ".join(words_of(" ".join(_texts(recorded))))
    return text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS].rsplit(" ", 1)[0]


def _texts(recorded: RecordedEvent) -> Iterator[str]:
    event = recorded.event
    yield event.action
    if (actor := event.actor) is not None:
        yield from filter(None, (actor.repr, actor.username, actor.email))
    if (target := event.target) is not None:
        yield from filter(None, (target.kind or target.type.rpartition(".")[2], target.repr, target.id))
    yield from (related.repr or "" for related in event.related)
    yield from filter(None, (event.reason, event.context.ip))
    yield from _diff_texts(event)
    # What the database storage does not look into stands last, where a limit cuts it off first.
    yield recorded.summary or ""
    context = event.context
    yield from filter(None, (context.path, context.user_agent, context.request_id, context.source))


def _diff_texts(event: Event) -> Iterator[str]:
    for change in event.diff.values():
        yield change.label or change.field
        if change.sensitive:
            continue
        if change.display:
            yield from change.display.values()
        for value in (change.before, change.after, *change.added, *change.removed):
            yield from _value_texts(value)


def _value_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value[:MAX_VALUE_CHARACTERS]
    elif isinstance(value, dict) and not is_sealed(value):
        if "repr" in value:
            yield str(value["repr"])[:MAX_VALUE_CHARACTERS]
        elif "base64" not in value and "sha256" not in value:
            for item in list(value.values())[:_MOST_ITEMS]:
                yield from _value_texts(item)
    elif isinstance(value, list):
        for item in value[:_MOST_ITEMS]:
            yield from _value_texts(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)

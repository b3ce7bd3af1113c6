"""The words by which an event is found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from audit_core.event import Event, RecordedEvent
from audit_core.privacy import is_sealed
from audit_core.privacy.sealing import mask_of
from audit_django.models.search import WORD, field_token, mask_token

MAX_VALUE_CHARACTERS = 500  # of one value: what is found further in is found in the event itself
MAX_CHARACTERS = 8000  # of one event


def search_words(recorded: RecordedEvent) -> str:
    """The different words of an event's labels, values, reason and sentence (if it has one already), in lower case, and one token
    for each changed field and each mask.

    Sealed values add nothing else. The text is what a full-text index is built over, so it has no punctuation at which the three
    databases would split differently.
    """
    event = recorded.event
    texts = _texts(event)
    if recorded.summary:
        texts.append(recorded.summary)
    words = dict.fromkeys(WORD.findall(" ".join(texts).lower()))
    text = " ".join(words)
    if len(text) > MAX_CHARACTERS:
        text = text[:MAX_CHARACTERS].rsplit(" ", 1)[0]
    tokens = [*map(field_token, event.diff), *_mask_tokens(event)]
    return " ".join([text, *tokens] if text else tokens)


def _mask_tokens(event: Event) -> Iterator[str]:
    for change in event.diff.values():
        if change.sensitive:
            for mask in (mask_of(change.before), mask_of(change.after)):
                if mask is not None:
                    yield mask_token(mask)


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
            yield str(value["repr"])[:MAX_VALUE_CHARACTERS]
        elif "base64" not in value and "sha256" not in value:
            for item in list(value.values())[:20]:
                yield from _words_of(item)
    elif kind is list:
        for item in value[:20]:
            yield from _words_of(item)

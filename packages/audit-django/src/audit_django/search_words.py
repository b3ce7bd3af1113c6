"""The text that the full-text index of a database is built over."""

from __future__ import annotations

from collections.abc import Iterator

from audit_core.event import Event, RecordedEvent
from audit_core.privacy.sealing import mask_of
from audit_core.words import words_of
from audit_django.models.search import field_token, mask_token


def search_words(recorded: RecordedEvent) -> str:
    """The words of an event (:mod:`audit_core.words`), and one token for each changed field and each mask.

    There is no punctuation in it, at which the three databases would split differently.
    """
    event = recorded.event
    return " ".join([*words_of(recorded), *map(field_token, event.diff), *_mask_tokens(event)])


def _mask_tokens(event: Event) -> Iterator[str]:
    for change in event.diff.values():
        if change.sensitive:
            for mask in (mask_of(change.before), mask_of(change.after)):
                if mask is not None:
                    yield mask_token(mask)

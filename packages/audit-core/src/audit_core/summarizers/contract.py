"""What a summarizer promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from audit_core.event import Event

MAX_SUMMARY_CHARACTERS = 240


@runtime_checkable
class Summarizer(Protocol):
    """Writes one sentence for each event."""

    def summarize(self, events: Sequence[Event], language: str) -> Sequence[str]:
        """As many sentences as events, in their order, each one line of plain text of at most 240 characters.

        ``language`` is a BCP 47 tag (``"en"``, ``"de-CH"``). A summarizer that does not know it answers in
        English. Sealed values are said to be hidden and never appear, in any form.
        """

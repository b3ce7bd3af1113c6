"""The built-in summarizer: rules and nothing else, so it is always there, always the same, and asks nobody.

A sentence is a subject (:mod:`~audit_core.summarizers.parties`), a predicate made of what was done
(:mod:`~audit_core.summarizers.facts`) and to which fields (:mod:`~audit_core.summarizers.clauses`), and the
reason. When it is too long it is told again with fewer clauses, then with shorter labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from audit_core.errors import ConfigurationError
from audit_core.event import Event
from audit_core.summarizers.contract import MAX_SUMMARY_CHARACTERS
from audit_core.summarizers.facts import tell
from audit_core.summarizers.values import Style
from audit_core.summarizers.words import clip, text

_REASON = " — reason: "
_RESERVED_FOR_REASON = 80
# Tried in turn until the sentence fits: clauses, and characters of one label.
_FITS = ((3, 60), (2, 60), (2, 40), (1, 60), (1, 40), (1, 30), (0, 30))


class GrammarSummarizer:
    """Writes English by rule. ``time_zone`` is the IANA name of the zone in which times are told.

    Raises :class:`~audit_core.errors.ConfigurationError` for a zone that this machine does not know.
    """

    def __init__(self, *, time_zone: str = "UTC") -> None:
        self._zone = _zone(time_zone)

    def summarize(self, events: Sequence[Event], language: str) -> Sequence[str]:
        """One sentence for each event, in English whatever ``language`` is."""
        return [sentence(event, time_zone=self._zone) for event in events]


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC  # needs no time zone database
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"The grammar summarizer does not know the time zone {name!r}. Give time_zone an IANA name such "
            f"as 'Europe/Zurich'; on a system without a time zone database, install the package tzdata."
        ) from error


def sentence(event: Event, *, time_zone: tzinfo = UTC) -> str:
    """What happened, in one sentence of at most 240 characters; times in ``time_zone``. Never raises."""
    reason = text(event.reason).rstrip(" .")
    room = MAX_SUMMARY_CHARACTERS - 1
    if reason:
        room -= len(_REASON) + min(len(reason), _RESERVED_FOR_REASON)
    for clauses, limit in _FITS:
        body = tell(event, Style(time_zone, limit, clauses))
        if len(body) <= room:
            break
    else:
        body = clip(body, room)
    if reason:
        body = body.rstrip(" .") + _REASON
        body += clip(reason, MAX_SUMMARY_CHARACTERS - 1 - len(body))
    return body.rstrip(" .") + "."

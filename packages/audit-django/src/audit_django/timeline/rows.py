"""An event as one row of the list, and rows grouped by day."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import groupby
from uuid import UUID

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audit_core.diff import FIELD, Change
from audit_core.event import Actor, Category, Event, Outcome, RecordedEvent, Target
from audit_core.summarizers import words
from audit_core.summarizers.grammar import sentence as grammar_sentence
from audit_django.timeline.filters import Filters

_DONE = {
    "create": gettext_lazy("Created"),
    "update": gettext_lazy("Changed"),
    "delete": gettext_lazy("Deleted"),
    "view": gettext_lazy("Viewed"),
    "login": gettext_lazy("Logged in"),
    "logout": gettext_lazy("Logged out"),
    "login_failed": gettext_lazy("Login failed"),
    "export": gettext_lazy("Exported"),
}
ACTIONS = tuple(_DONE)
_HUES = {
    Category.CHANGE: "update",
    Category.CUSTOM: "update",
    Category.AUTH: "auth",
    Category.SECURITY: "security",
}
_CLIPPED = (
    60,
    40,
    30,
)  # the lengths to which the grammar summarizer cuts a label that is too long for its sentence


@dataclass(frozen=True, slots=True)
class Row:
    """What a row shows. ``more`` counts the fields that changed and that the sentence does not name."""

    id: UUID
    moment: datetime
    action: str
    hue: str
    sentence: SafeString
    more: int
    event: Event = field(repr=False)


@dataclass(frozen=True, slots=True)
class Day:
    """The rows of one day of the current time zone."""

    date: date
    rows: Sequence[Row]

    @property
    def name(self) -> str:
        """``Today``, ``Yesterday`` or nothing."""
        ago = (timezone.localdate() - self.date).days
        return {0: _("Today"), 1: _("Yesterday")}.get(ago, "")


def rows(events: Iterable[RecordedEvent], filters: Filters | None = None, base: str | None = "") -> list[Row]:
    """The rows of ``events``; their links add to ``filters`` at the address ``base`` (``None``: no links)."""
    return [row(recorded, filters or Filters(), base) for recorded in events]


def by_day(found: Iterable[Row]) -> list[Day]:
    """``found`` in days, its order kept."""
    return [Day(day, list(group)) for day, group in groupby(found, key=lambda item: item.moment.date())]


def row(recorded: RecordedEvent, filters: Filters, base: str | None) -> Row:
    """One event as a row."""
    event = recorded.event
    sentence = recorded.summary or grammar_sentence(event, time_zone=timezone.get_current_timezone())
    return Row(
        id=recorded.id,
        moment=timezone.localtime(event.occurred_at),
        action=action_word(event.action, event.outcome),
        hue=hue(event),
        sentence=linked(sentence, event, filters, base),
        more=_more(event, sentence),
        event=event,
    )


def action_word(action: str, outcome: str = Outcome.SUCCESS) -> str:
    """``"Created"``, ``"Delete failed"``; an action of the application's own as it is called."""
    if outcome == Outcome.FAILURE and action != "login_failed":
        return _("%s failed") % _humanized(action)
    return str(_DONE.get(action) or _humanized(action))


def _humanized(action: str) -> str:
    return (words.text(action.replace("_", " ").replace(".", " ")) or "?").capitalize()


def hue(event: Event) -> str:
    """The name of the color of an event."""
    if event.outcome == Outcome.FAILURE or event.action == "login_failed":
        return "security"
    if event.category == Category.CHANGE and event.action in ("create", "delete"):
        return event.action
    return _HUES.get(Category(event.category), "access") if event.category in set(Category) else "access"


_COUNTED = re.compile(r"\band ([\d,]+) more fields?\b")


def _more(event: Event, sentence: str) -> int:
    """How many changed fields the sentence does not tell of."""
    if event.action == "delete":  # the sentence says all: everything is gone
        return 0
    if counted := _COUNTED.search(sentence):
        return int(counted[1].replace(",", ""))
    changes = (change for change in event.diff.values() if change.role != "automatic")
    return sum(not _tells(sentence.casefold(), change) for change in changes)


def _tells(sentence: str, change: Change) -> bool:
    """By the field's name, or by what a relation leads to: "moved it to Carol", "added the tag Critical", "for Jane Doe"."""
    references = [change.after, *change.added, *change.removed] if change.relation != FIELD else []
    labels = [str(item.get("repr") or "") for item in references if isinstance(item, Mapping)]
    words_said = [change.name, *filter(None, labels)]
    return any(re.search(rf"(?<!\w){re.escape(said.casefold())}(?!\w)", sentence) for said in words_said)


def linked(sentence: str, event: Event, filters: Filters, base: str | None) -> SafeString:
    """``sentence``, escaped, with the labels of actor and object in it as links that filter."""
    sentence = words.text(sentence)
    parts, position = [], 0
    for labels, address, title in _links(event, filters) if base is not None else ():
        start, end = _find(sentence, labels, position)
        if end:
            parts.append(format_html("{}", sentence[position:start]))
            parts.append(
                format_html(
                    '<a href="{}{}" title="{}"><bdi>{}</bdi></a>', base, address, title, sentence[start:end]
                )
            )
            position = end
    parts.append(format_html("{}", sentence[position:]))
    return mark_safe("".join(parts))  # noqa: S308  every part is escaped above


def _links(event: Event, filters: Filters) -> Iterable[tuple[Sequence[str], str, str]]:
    """In the order in which a sentence names them."""
    for actor in (event.actor, event.on_behalf_of):
        if actor is not None and actor.id:
            yield (
                _with_clipped([actor_name(actor)]),
                filters.but(actor=actor.id).address(),
                _("Only what this actor did"),
            )
    target = event.target
    if target is not None and target.id:
        address = filters.but(model=target.type).but(object=target.id).address()
        yield _with_clipped(_target_labels(target)), address, _("Only this object")


def actor_name(actor: Actor) -> str:
    """The best name of ``actor``, as one line of visible text."""
    names = (actor.repr, actor.username, actor.email, actor.id)
    return next((text for name in names if (text := words.text(name or ""))), "?")


def _target_labels(target: Target) -> list[str]:
    label, kind = words.text(target.repr or ""), words.text(target.kind or "")
    # A label that begins with its kind is not doubled in a sentence ("policy P-1007").
    short = label[len(kind) :].strip() if kind and label.casefold().startswith(f"{kind.casefold()} ") else ""
    return [text for text in (label, short) if text] or [target.id or ""]


def _with_clipped(labels: Sequence[str]) -> list[str]:
    return [
        *labels,
        *(words.clip(label, limit) for label in labels for limit in _CLIPPED if len(label) > limit),
    ]


def _find(sentence: str, labels: Sequence[str], start: int) -> tuple[int, int]:
    """Where the first of ``labels`` stands in ``sentence`` as whole words; an end of 0 when none does."""
    for label in labels:
        if match := re.compile(rf"(?<!\w){re.escape(label)}(?!\w)").search(sentence, start):
            return match.span()
    return 0, 0

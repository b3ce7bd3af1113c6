"""The filters of the timeline: read from the address, written back into it, and turned into a query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, time, timedelta
from urllib.parse import urlencode

from django.apps import apps
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audit_core.codec import safe_text
from audit_core.query import EventQuery, InvalidQuery
from audit_django.registry import history_types

MAX_LENGTH = 255  # of one filter: no column that is asked is longer
PRESETS = {
    "today": gettext_lazy("Today"),
    "yesterday": gettext_lazy("Yesterday"),
    "7d": gettext_lazy("Last 7 days"),
    "30d": gettext_lazy("Last 30 days"),
    "month": gettext_lazy("This month"),
}
NAMES = {
    "q": gettext_lazy("Text"),
    "model": gettext_lazy("Model"),
    "object": gettext_lazy("Object"),
    "actor": gettext_lazy("Actor"),
    "action": gettext_lazy("Action"),
    "dates": gettext_lazy("Dates"),
    "request": gettext_lazy("Request"),
}
_OF_QUERY = {
    "text": "q",
    "target_types": "model",
    "target_id": "object",
    "actor_id": "actor",
    "actions": "action",
    "request_id": "request",
    "since": "dates",
    "until": "dates",
}  # EventQuery's names in ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What the address asks for, as text; what is empty does not filter.

    ``range`` is one of :data:`PRESETS`; ``since`` and ``until`` are days (ISO 8601), both inclusive, in the
    current time zone. Together they are the filter called ``dates``.
    """

    q: str = ""
    model: str = ""
    object: str = ""
    actor: str = ""
    action: str = ""
    range: str = ""
    since: str = ""
    until: str = ""
    request: str = ""

    @classmethod
    def read(cls, data: Mapping[str, str]) -> Filters:
        """The filters in the parameters of an address; unknown ones are left alone."""
        values = {f.name: safe_text(data.get(f.name, "")).strip()[:MAX_LENGTH] for f in fields(cls)}
        if values["range"] not in PRESETS:
            values["range"] = ""
        elif values["since"] or values["until"]:
            values["range"] = ""  # days that were picked win over a preset
        return cls(**values)

    def items(self) -> Iterator[tuple[str, str]]:
        """The parameters that are not empty."""
        return ((f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name))

    def __bool__(self) -> bool:
        return any(True for _item in self.items())

    def address(self, **more: str) -> str:
        """The query string of these filters, ``"?"`` for none: relative to the timeline's own address."""
        return "?" + urlencode([*self.items(), *((name, value) for name, value in more.items() if value)])

    def but(self, **changes: str) -> Filters:
        """The same with these changed. New dates replace all old ones, another model drops the object."""
        if changes.keys() & {"range", "since", "until"}:
            changes = {"range": "", "since": "", "until": "", **changes}
        if "model" in changes and changes["model"] != self.model:
            changes = {"object": "", **changes}
        return replace(self, **changes)

    def without(self, name: str) -> Filters:
        """The same without the filter called ``name`` in :data:`NAMES`."""
        return self.but(range="") if name == "dates" else self.but(**{name: ""})

    def active(self) -> list[str]:
        """The names in :data:`NAMES` of the filters that are set."""
        return [name for name in NAMES if (self.has_dates if name == "dates" else getattr(self, name))]

    @property
    def has_dates(self) -> bool:
        return bool(self.range or self.since or self.until)

    def query(
        self, tenants: Sequence[str] | None, *, limit: int, cursor: str | None = None, newer: bool = False
    ) -> EventQuery:
        """The question to a storage.

        Raises :class:`~audit_core.query.InvalidQuery`, whose ``filter`` is one of :data:`NAMES`.
        """
        if self.object and not self.model:
            raise InvalidQuery(_("An id belongs to one model only. Choose the model too."), filter="object")
        if self.q and not any(character.isalnum() for character in self.q):
            raise InvalidQuery(_("The text to search for has no letter or digit in it."), filter="q")
        since, until = self.bounds()
        if since and until and since >= until:
            raise InvalidQuery(_("The first day is after the last, so nothing can match."), filter="dates")
        try:
            return EventQuery(
                text=self.q,
                target_types=types_of(self.model) if self.model else (),
                target_id=self.object or None,
                actor_id=self.actor or None,
                actions=[self.action] if self.action else (),
                request_id=self.request or None,
                tenants=tenants,
                since=since,
                until=until,
                limit=limit,
                cursor=cursor,
                newer=newer,
            )
        except InvalidQuery as error:
            raise translated(error) from None

    def bounds(self) -> tuple[datetime | None, datetime | None]:
        """The first moment of the dates and the first moment after them."""
        today = timezone.localdate()
        first: date | None
        last: date | None = None
        match self.range:
            case "today":
                first = today
            case "yesterday":
                first = last = today - timedelta(days=1)
            case "7d":
                first = today - timedelta(days=6)
            case "30d":
                first = today - timedelta(days=29)
            case "month":
                first = today.replace(day=1)
            case _:
                first, last = _day(self.since), _day(self.until)
        return _midnight(first), _midnight(last + timedelta(days=1)) if last else None


def translated(error: InvalidQuery) -> InvalidQuery:
    """The same error with the filter's name as the timeline has it."""
    return InvalidQuery(str(error), filter=_OF_QUERY.get(error.filter or "", error.filter))


def types_of(model: str) -> Sequence[str]:
    """The target types of a model's history. The events of a model that is no longer there still are."""
    try:
        return history_types(apps.get_model(model))
    except (LookupError, ValueError):
        return [model]


def _day(text: str) -> date | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or not 1900 <= day.year <= 9000:
        raise InvalidQuery(_("“%s” is no date. Write it as 2026-11-21.") % text, filter="dates")
    return day


def _midnight(day: date | None) -> datetime | None:
    return datetime.combine(day, time.min, tzinfo=timezone.get_current_timezone()) if day else None

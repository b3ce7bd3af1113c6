"""The default storage: the trail's own tables. Nothing is written twice, and what is committed is seen at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import F, Q, QuerySet
from django.db.models.constants import OnConflict
from django.db.models.expressions import RawSQL
from django.utils.dateparse import parse_datetime

from audit_core.errors import PartialWrite
from audit_core.event import RecordedEvent, format_timestamp
from audit_core.query import EventQuery, InvalidQuery, Page, decode_cursor, encode_cursor
from audit_django.capture.transactions import joined
from audit_django.insert import insert
from audit_django.models import AuditEvent, LogEntry, Summary
from audit_django.models.search import field_token
from audit_django.outbox import column_key, insert_events

RECENT_ROWS = 5000  # read one by one, that takes some ten milliseconds
SEARCHABLE_VENDORS = frozenset({"postgresql", "sqlite", "mysql"})


class DatabaseStorage:
    """Searches the events of one database alias in three queries, whatever the filters and whatever is shown.

    As a sink it is for another database than the log's own, which has the events already: an archive, whose tables nothing else
    writes.
    """

    def __init__(self, using: str = "default", language: str = "en") -> None:
        self.using = using
        self.language = language

    def write(self, events: Sequence[RecordedEvent]) -> None:
        """Keep events of another log, with the seq and the sentence that they have there.

        Raises :class:`~audit_core.errors.PartialWrite` for texts that are no event.
        """
        connection = connections[self.using]
        refused = _without_event(events)
        events = [event for event in events if event.id not in refused]
        with joined(self.using):
            insert_events(connection, events, OnConflict.IGNORE)
            numbered = [(e.seq, e.id, e.leaf_hash) for e in events if e.seq is not None]
            insert(connection, LogEntry, numbered, OnConflict.IGNORE)
            sentences = [(e.id, self.language, e.summary) for e in events if e.summary is not None]
            insert(connection, Summary, sentences, OnConflict.IGNORE)
        if refused:
            raise PartialWrite(refused)

    def search(self, query: EventQuery) -> Page:
        """See :class:`~audit_core.query.EventQuery`. A history and a text search come in the order of recording."""
        if query.tenants is not None and not query.tenants:
            return Page()
        if query.newer:
            (number,) = decode_cursor(query.cursor or "", int)
            return self._newer(self._matching(query).filter(number__gt=number), query)
        by_number = query.is_history or bool(query.text or query.field)
        if query.text or query.field:
            found = self._by_words(query)
        else:
            order = ["-number"] if by_number else ["-occurred_at", "-number"]
            found = list(self._older(query, by_number).order_by(*order)[: query.limit + 1])
        page = found[: query.limit]
        next_cursor = _cursor(page[-1], by_number) if len(found) > query.limit else None
        newest = encode_cursor(max(row.number for row in page)) if page else None
        return Page(self._recorded(page), next_cursor, newest)

    def get(self, event_id: UUID) -> RecordedEvent:
        """The event of this id. Raises ``KeyError`` when it is not there."""
        row = self._rows().filter(event_id=event_id).first()
        if row is None:
            raise KeyError(event_id)
        return self._recorded([row])[0]

    def head(self) -> str:
        """The cursor after which nothing has been recorded yet: where ``newer`` starts on an empty page."""
        number = self._rows().order_by("-number").values_list("number", flat=True).first()
        return encode_cursor(number or 0)

    def check(self) -> list[str]:
        """What is wrong, in words."""
        connection = connections[self.using]
        if connection.vendor not in SEARCHABLE_VENDORS:
            return [f"The audit trail does not know how to search text on {connection.vendor}."]
        if AuditEvent._meta.db_table not in connection.introspection.table_names():
            return [
                f"The audit tables are missing on {self.using!r}: run `manage.py migrate --database {self.using}`."
            ]
        return []

    def _rows(self) -> QuerySet[AuditEvent]:
        return AuditEvent.objects.using(self.using)

    def _newer(self, rows: QuerySet[AuditEvent], query: EventQuery) -> Page:
        # The oldest of the new ones first, so that a page which is full goes on where it ended.
        found = sorted(rows.order_by("number")[: query.limit], key=lambda row: -row.number)
        newest = encode_cursor(found[0].number) if found else query.cursor
        if not query.is_history and not query.text:
            found.sort(key=lambda row: (row.occurred_at, row.number), reverse=True)
        return Page(self._recorded(found), None, newest)

    def _by_words(self, query: EventQuery) -> list[AuditEvent]:
        """The newest that match, one more than a page holds.

        A common word is soon found among the newest events, read one by one; for a rare one the words' own index is asked.
        SQLite's goes by number and does both. PostgreSQL cannot know which word is rare: the sum in the ordering keeps it from
        reading the whole table by number. MariaDB's gives all that match, so for a common word it must not be asked.
        """
        wanted = query.limit + 1
        vendor = connections[self.using].vendor
        if vendor != "sqlite":
            # MIN and MAX of a key are constants to a planner: LIMIT 1 in a subquery is not.
            after: Any = RawSQL(f"SELECT MAX(number) - {RECENT_ROWS} FROM {AuditEvent._meta.db_table}", ())  # noqa: S608, S611
            if query.cursor is not None:
                after = decode_cursor(query.cursor, int)[0] - RECENT_ROWS
            recent = self._older(query, True, lookup="search__words_here").filter(number__gt=after)
            found = list(recent.order_by("-number")[:wanted])
            if len(found) == wanted:
                return found
        order = (F("number") + 0).desc() if vendor == "postgresql" else F("number").desc()
        return list(self._older(query, True).order_by(order)[:wanted])

    def _older(
        self, query: EventQuery, by_number: bool, lookup: str = "search__words"
    ) -> QuerySet[AuditEvent]:
        """What matches, from the cursor on."""
        rows = self._matching(query, lookup)
        return rows if query.cursor is None else self._after(rows, query.cursor, by_number)

    def _after(self, rows: QuerySet[AuditEvent], cursor: str, by_number: bool) -> QuerySet[AuditEvent]:
        if by_number:
            (number,) = decode_cursor(cursor, int)
            return rows.filter(number__lt=number)
        text, number = decode_cursor(cursor, str, int)
        moment = parse_datetime(text)
        if moment is None:
            raise InvalidQuery("This page address is damaged. Go back to the first page.", filter="cursor")
        # The first condition is what the index is entered by; the second settles ties.
        return rows.filter(occurred_at__lte=moment).exclude(occurred_at=moment, number__gte=number)

    def _matching(self, query: EventQuery, lookup: str = "search__words") -> QuerySet[AuditEvent]:
        rows = self._rows()
        if words := " ".join([*map(field_token, filter(None, [query.field])), query.text]).strip():
            rows = rows.filter(**{lookup: words})
        conditions: dict[str, Any] = {
            "target_type__in": [column_key(name, 150) for name in query.target_types] or None,
            "target_id": column_key(query.target_id, 255),
            "actor_id": column_key(query.actor_id, 255),
            "category__in": list(query.categories) or None,
            "action__in": list(query.actions) or None,
            "outcome": query.outcome,
            "request_id": column_key(query.request_id, 100),
            "occurred_at__gte": query.since,
            "occurred_at__lt": query.until,
        }
        given = {lookup: value for lookup, value in conditions.items() if value is not None}
        for lookup, value in list(given.items()):
            if (
                lookup.endswith("__in") and len(value) == 1
            ):  # an equality keeps the index's order for the rest
                given[lookup.removesuffix("__in")] = given.pop(lookup)[0]
        if query.tenants is not None:
            given["tenant__in"] = [column_key(name, 100) for name in query.tenants]
        return rows.filter(Q(**given))

    def _recorded(self, rows: Iterable[AuditEvent]) -> list[RecordedEvent]:
        rows = list(rows)
        ids = [row.event_id for row in rows]
        if not ids:
            return []
        seqs = dict(
            LogEntry.objects.using(self.using).filter(event_id__in=ids).values_list("event_id", "seq")
        )
        summaries = dict(
            Summary.objects.using(self.using)
            .filter(event_id__in=ids, language=self.language)
            .values_list("event_id", "text")
        )
        return [row.recorded(seq=seqs.get(row.event_id), summary=summaries.get(row.event_id)) for row in rows]


def _without_event(events: Sequence[RecordedEvent]) -> dict[UUID, str]:
    """Why the text of these is no event, by their ids."""
    found = {}
    for recorded in events:
        try:
            recorded.event  # noqa: B018 - parsed when first asked for
        except ValueError as error:
            found[recorded.id] = str(error)
    return found


def _cursor(row: AuditEvent, by_number: bool) -> str:
    if by_number:
        return encode_cursor(row.number)
    return encode_cursor(format_timestamp(row.occurred_at), row.number)

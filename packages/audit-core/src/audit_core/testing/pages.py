"""The part of the search contract that is about pages and cursors."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from audit_core.event import RecordedEvent
from audit_core.query import EventQuery, InvalidQuery, Page, encode_cursor
from audit_core.testing.events import ALICE, BOB, make_event

NOON = datetime(2026, 3, 3, 12, 0, tzinfo=UTC)


class PageTests:
    """Keyset pages, live updates, damaged cursors."""

    numbers_events: bool = False
    """Whether the storage gives seq by itself (it is the log) and ignores the one it is given."""

    @pytest.fixture
    def storage(self) -> Any:
        """Override: an empty storage for one test."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a fixture `storage` that returns an empty storage."
        )

    def keep(self, storage: Any, events: Sequence[RecordedEvent]) -> None:
        """Bring ``events`` into ``storage``, in this order, so that a search finds them at once."""
        storage.write(events)

    _seq = 0

    def add(self, storage: Any, *events: RecordedEvent) -> list[RecordedEvent]:
        """Keep ``events``, numbered after those before."""
        numbered = []
        for event in events:
            self._seq += 1
            numbered.append(replace(event, seq=self._seq))
        self.keep(storage, numbered)
        return numbered

    def found(self, storage: Any, **filters: Any) -> list[UUID]:
        """The ids of the first page."""
        return [event.id for event in storage.search(EventQuery(**filters)).events]

    def pages(self, storage: Any, **filters: Any) -> Iterator[Page]:
        """All pages, from the newest event to the oldest."""
        cursor = None
        while True:
            page: Page = storage.search(EventQuery(cursor=cursor, **filters))
            yield page
            cursor = page.next
            if cursor is None:
                return

    def walk(self, storage: Any, **filters: Any) -> list[UUID]:
        """The ids of all pages."""
        return [event.id for page in self.pages(storage, **filters) for event in page.events]

    def make_series(self, count: int, **values: Any) -> list[RecordedEvent]:
        """``count`` events, a minute apart, oldest first."""
        return [make_event(occurred_at=NOON + timedelta(minutes=n), **values) for n in range(count)]

    # pages

    def test_pages_follow_one_another_without_gap_or_repeat(self, storage: Any) -> None:
        events = self.add(storage, *self.make_series(10))
        sizes = [len(page.events) for page in self.pages(storage, limit=3)]
        assert sizes == [3, 3, 3, 1]
        assert self.walk(storage, limit=3) == [event.id for event in reversed(events)]

    def test_events_of_one_moment_without_a_seq_have_an_order_too(self, storage: Any) -> None:
        events = [make_event(occurred_at=NOON) for _ in range(7)]
        self.keep(storage, events)
        for history in ({}, {"target_types": ["policies.Policy"], "target_id": "1"}):
            assert sorted(self.walk(storage, limit=2, **history)) == sorted(event.id for event in events)

    def test_the_last_full_page_has_no_next(self, storage: Any) -> None:
        self.add(storage, *self.make_series(6))
        assert [len(page.events) for page in self.pages(storage, limit=3)] == [3, 3]

    def test_pages_stay_put_while_events_come_in(self, storage: Any) -> None:
        events = self.add(storage, *self.make_series(6))
        first = storage.search(EventQuery(limit=3))
        self.add(storage, make_event(occurred_at=NOON + timedelta(days=1)))
        rest = storage.search(EventQuery(limit=3, cursor=first.next))
        assert [e.id for e in [*first.events, *rest.events]] == [e.id for e in reversed(events)]

    def test_pages_of_a_history_stay_put_while_events_come_in(self, storage: Any) -> None:
        history: dict[str, Any] = {"target_types": ["policies.Policy"], "target_id": "1", "limit": 3}
        events = self.add(storage, *self.make_series(6))
        first = storage.search(EventQuery(**history))
        self.add(storage, make_event(occurred_at=NOON - timedelta(days=1)))
        rest = storage.search(EventQuery(cursor=first.next, **history))
        assert [e.id for e in [*first.events, *rest.events]] == [e.id for e in reversed(events)]

    def test_filters_hold_on_every_page(self, storage: Any) -> None:
        events = []
        for n in range(8):
            events += self.add(
                storage, make_event(actor=(ALICE, BOB)[n % 2], occurred_at=NOON + timedelta(minutes=n))
            )
        expected = [event.id for event in reversed(events) if event.event.actor == BOB]
        assert self.walk(storage, actor_id=BOB.id, limit=1) == expected

    # newer

    def test_newer_gives_what_came_since(self, storage: Any) -> None:
        self.add(storage, *self.make_series(3))
        page = storage.search(EventQuery(limit=2))
        nothing = storage.search(EventQuery(limit=2, cursor=page.newest, newer=True))
        assert (list(nothing.events), nothing.next) == ([], None)
        new = self.add(storage, *(make_event(occurred_at=NOON + timedelta(hours=n)) for n in (1, 2)))
        since = storage.search(EventQuery(cursor=nothing.newest, newer=True))
        assert [event.id for event in since.events] == [new[1].id, new[0].id]
        assert since.next is None

    def test_newer_leaves_no_gap_when_more_came_than_fit(self, storage: Any) -> None:
        self.add(storage, *self.make_series(1))
        newest = storage.search(EventQuery()).newest
        new = self.add(storage, *(make_event(occurred_at=NOON + timedelta(hours=n + 1)) for n in range(5)))
        seen: list[UUID] = []
        while (page := storage.search(EventQuery(limit=2, cursor=newest, newer=True))).events:
            assert len(page.events) <= 2
            seen += [event.id for event in reversed(page.events)]
            newest = page.newest
        assert seen == [event.id for event in new]

    def test_newer_of_a_history_goes_by_its_order(self, storage: Any) -> None:
        history: dict[str, Any] = {"target_types": ["policies.Policy"], "target_id": "1"}
        self.add(storage, make_event(occurred_at=NOON))
        newest = storage.search(EventQuery(**history)).newest
        [late] = self.add(storage, make_event(occurred_at=NOON - timedelta(hours=1)))
        page = storage.search(EventQuery(cursor=newest, newer=True, **history))
        assert [event.id for event in page.events] == [late.id]

    def test_newer_keeps_the_filters(self, storage: Any) -> None:
        self.add(storage, make_event(actor=BOB, occurred_at=NOON))
        newest = storage.search(EventQuery(actor_id=BOB.id)).newest
        later = NOON + timedelta(hours=1)
        _, mine = self.add(
            storage, make_event(actor=ALICE, occurred_at=later), make_event(actor=BOB, occurred_at=later)
        )
        assert self.found(storage, actor_id=BOB.id, cursor=newest, newer=True) == [mine.id]

    # damaged cursors

    @pytest.mark.parametrize(
        "cursor",
        [
            "",
            "!",
            "not a cursor",
            "é",
            "\x00",
            "a" * 20_000,
            encode_cursor(),
            encode_cursor("x", "y", "z", 4, 5, 6, 7),
        ],
        ids=lambda cursor: ascii(cursor[:20]),
    )
    def test_a_damaged_cursor_is_refused(self, storage: Any, cursor: str) -> None:
        self.add(storage, make_event())
        with pytest.raises(InvalidQuery) as caught:
            storage.search(EventQuery(cursor=cursor))
        assert caught.value.filter == "cursor"

    def test_a_nested_cursor_is_refused(self, storage: Any) -> None:
        bomb = base64.urlsafe_b64encode(b"[" * 100_000).decode()
        with pytest.raises(InvalidQuery):
            storage.search(EventQuery(cursor=bomb))

    @pytest.mark.parametrize("replacement", [2**70, -(2**70), True, None, [], 0.5])
    def test_a_forged_cursor_breaks_nothing(self, storage: Any, replacement: Any) -> None:
        self.add(storage, *self.make_series(3))
        cursor = storage.search(EventQuery(limit=1)).next
        try:
            position = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        except ValueError:
            pytest.skip("this storage's cursors are not those of encode_cursor()")
        for place in range(len(position)):
            forged = [replacement if n == place else item for n, item in enumerate(position)]
            try:
                page = storage.search(EventQuery(cursor=encode_cursor(*forged)))
            except InvalidQuery as error:
                assert error.filter == "cursor"
            else:
                assert len(page.events) <= 3

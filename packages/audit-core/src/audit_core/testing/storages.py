"""The contract of :class:`~audit_core.storages.contract.Storage` as tests."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from audit_core.codec import leaf_hash
from audit_core.diff import FOREIGN_KEY, MANY_TO_MANY, Change
from audit_core.errors import PartialWrite
from audit_core.event import RecordedEvent, Target
from audit_core.ids import uuid7
from audit_core.query import EventQuery
from audit_core.storages.contract import (
    CompactableStorage,
    PrunableStorage,
    ReadableStorage,
    SearchableStorage,
    Storage,
    VerifiableStorage,
)
from audit_core.testing.events import make_event, make_events


class StorageContract:
    """Subclass it and give the fixture ``storage``: an empty storage for each test.

    A storage that can neither search nor be read back overrides :meth:`stored` as well.
    """

    @pytest.fixture
    def storage(self) -> Any:
        """Override: an empty storage for one test."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a fixture `storage` that returns an empty storage."
        )

    def stored(self, storage: Any) -> Sequence[RecordedEvent]:
        """Everything that ``storage`` holds, in any order."""
        if not isinstance(storage, SearchableStorage):
            if isinstance(storage, ReadableStorage):
                return list(storage.read())
            raise NotImplementedError(
                f"{type(self).__name__}: the storage can neither search nor be read back, so override stored()."
            )
        events: list[RecordedEvent] = []
        page = storage.search(EventQuery(limit=100))
        while True:
            events += page.events
            if page.next is None:
                return events
            page = storage.search(EventQuery(limit=100, cursor=page.next))

    def assert_stored(self, storage: Any, expected: Sequence[RecordedEvent]) -> None:
        """``storage`` holds exactly these events, each once, as they were recorded."""
        kept = sorted(self.stored(storage), key=lambda event: event.id)
        wanted = sorted(expected, key=lambda event: event.id)
        assert [event.id for event in kept] == [event.id for event in wanted]
        for got, event in zip(kept, wanted, strict=True):
            assert got.text == event.text
            assert got.leaf_hash == event.leaf_hash
            assert (got.seq, got.summary) == (event.seq, event.summary)
            assert got.event == event.event

    def close_thread(self) -> None:
        """Called at the end of each thread that the suite starts: close what belongs to the thread (its
        connection).
        """

    def test_it_is_a_storage(self, storage: Any) -> None:
        assert isinstance(storage, Storage)

    def test_setup_may_be_called_again(self, storage: Any) -> None:
        if not hasattr(storage, "setup"):
            pytest.skip("this storage needs no setup()")
        events = make_events(2, first_seq=1)
        storage.setup()
        storage.write(events)
        storage.setup()
        self.assert_stored(storage, events)

    def test_a_good_storage_has_no_problems(self, storage: Any) -> None:
        if not hasattr(storage, "check"):
            pytest.skip("this storage has no check()")
        assert list(storage.check()) == []

    def test_it_keeps_what_is_written(self, storage: Any) -> None:
        events = make_events(5, first_seq=1, summary="Alice changed the premium.")
        storage.write(events[:2])
        storage.write(events[2:])
        self.assert_stored(storage, events)

    def test_writing_nothing_is_no_error(self, storage: Any) -> None:
        storage.write([])
        self.assert_stored(storage, [])

    def test_seq_and_summary_may_be_missing(self, storage: Any) -> None:
        events = [make_event()]
        storage.write(events)
        self.assert_stored(storage, events)

    def test_writing_again_changes_nothing(self, storage: Any) -> None:
        events = make_events(4, first_seq=1, summary="the first sentence")
        storage.write(events)
        storage.write(events)
        storage.write([make_event(id=event.id, action="forged", seq=event.seq) for event in events[:1]])
        self.assert_stored(storage, events)

    def test_a_batch_may_hold_known_and_new_events(self, storage: Any) -> None:
        events = make_events(6, first_seq=1)
        storage.write(events[:4])
        storage.write(events[2:])
        self.assert_stored(storage, events)

    def test_one_batch_may_hold_an_event_twice(self, storage: Any) -> None:
        [event] = make_events(1, first_seq=1)
        storage.write([event, event])
        self.assert_stored(storage, [event])

    def test_of_one_id_in_a_batch_the_first_is_kept(self, storage: Any) -> None:
        [event] = make_events(1, first_seq=1)
        storage.write([event, make_event(id=event.id, action="forged", seq=1)])
        self.assert_stored(storage, [event])

    def test_two_workers_may_write_the_same_batch(self, storage: Any) -> None:
        # A worker that lost its lease while it was writing is still writing when the next one begins.
        events = make_events(50, first_seq=1)
        failures: list[BaseException] = []
        start = threading.Barrier(2)

        def write() -> None:
            try:
                start.wait(30)
                storage.write(events)
            except BaseException as error:
                failures.append(error)
            finally:
                self.close_thread()

        threads = [threading.Thread(target=write) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not failures
        self.assert_stored(storage, events)

    def test_it_keeps_a_batch_of_a_thousand(self, storage: Any) -> None:
        events = make_events(1000, targets=50, first_seq=1)
        storage.write(events)
        self.assert_stored(storage, events)

    def test_it_keeps_every_kind_of_change(self, storage: Any) -> None:
        diff = {
            "empty": Change(field="empty", before=None, after=""),
            "number": Change(field="number", before=-1, after=2**53 - 1),
            "float": Change(field="float", before=0.5, after="1e400"),
            "flag": Change(field="flag", before=False, after=True),
            "document": Change(field="document", before={"a": [1, {"b": None}]}, after=[]),
            "owner": Change(
                field="owner",
                relation=FOREIGN_KEY,
                before={"pk": 7, "repr": "A"},
                after={"pk": "x", "repr": "B"},
            ),
            "tags": Change(
                field="tags",
                relation=MANY_TO_MANY,
                added=[{"pk": 1, "repr": "C"}],
                removed=[{"pk": 4, "repr": "L"}],
            ),
            "ssn": Change(
                field="ssn",
                before=None,
                after={"sealed": {"mac": "1f:aa"}},
                sensitive=True,
                label="Nº",
                position=3,
            ),
        }
        related = [Target(type="b.B", id="2", repr="Bee"), Target(type="c.C")]
        events = [make_event(diff=diff, related=related, extra={"n": {"a.b": 1, "$c": 2, "": 3}}, seq=1)]
        storage.write(events)
        self.assert_stored(storage, events)

    def test_it_keeps_every_text(self, storage: Any) -> None:
        texts = [
            "",
            " ",
            "null",
            "Ünï cödé",
            "🦊",
            "a\u2028b",
            "\x01\x1f",
            '<script>"&',
            "' OR 1=1 --",
            "=1+1",
            "%_\\",
        ]
        events = [
            make_event(diff={"name": (None, text)}, reason=text, seq=n)
            for n, text in enumerate(texts, start=1)
        ]
        storage.write(events)
        self.assert_stored(storage, events)

    def test_it_keeps_a_large_event(self, storage: Any) -> None:
        events = [make_event(diff={f"text_{n}": (None, "é" * 30_000) for n in range(4)}, seq=1)]  # 240 kB
        storage.write(events)
        self.assert_stored(storage, events)

    def test_it_keeps_events_without_target_or_actor(self, storage: Any) -> None:
        events = [make_event("login_failed", target=None, actor=None, diff={}, category="auth", seq=1)]
        storage.write(events)
        self.assert_stored(storage, events)

    def test_a_text_that_is_no_event_keeps_out_no_other(self, storage: Any) -> None:
        events = make_events(2, first_seq=1)
        broken = RecordedEvent(uuid7(), "[]", leaf_hash("[]"), seq=3)
        try:
            storage.write([events[0], broken, events[1]])
        except PartialWrite as refused:
            assert set(refused.reasons) == {broken.id}
            self.assert_stored(storage, events)
        else:
            pytest.skip("this storage keeps any text")

    def test_a_microsecond_is_kept(self, storage: Any) -> None:
        moment = datetime(2026, 3, 3, 9, 0, 0, 1, tzinfo=UTC)
        events = [
            make_event(occurred_at=moment, seq=1),
            make_event(occurred_at=moment.replace(microsecond=0), seq=2),
        ]
        storage.write(events)
        self.assert_stored(storage, events)

    # pruning, where the storage can

    def _prunable(self, storage: Any) -> PrunableStorage:
        if not isinstance(storage, PrunableStorage):
            pytest.skip("this storage cannot prune")
        return storage

    def test_pruning_removes_what_occurred_before(self, storage: Any) -> None:
        prunable = self._prunable(storage)
        moment = datetime(2026, 3, 3, tzinfo=UTC)
        old = [
            make_event(occurred_at=moment - timedelta(days=n, microseconds=1), seq=4 - n) for n in (3, 2, 1)
        ]
        new = [
            make_event(occurred_at=moment, seq=4),
            make_event(occurred_at=moment + timedelta(days=1), seq=5),
        ]
        storage.write([*old, *new])
        assert prunable.prune(moment, dry_run=True) == 3
        self.assert_stored(storage, [*old, *new])
        assert prunable.prune(moment) == 3
        self.assert_stored(storage, new)
        assert prunable.prune(moment) == 0

    # reading back, where the storage can

    @pytest.fixture
    def three_days(self, storage: Any) -> list[RecordedEvent]:
        """Four events on each of three days (in UTC), in ``storage``: the first moment, the last, and two tenants between."""
        if not isinstance(storage, ReadableStorage):
            pytest.skip("this storage cannot be read back")
        day = datetime(2026, 3, 3, tzinfo=UTC)
        last = timedelta(days=1, microseconds=-1)
        noon = timedelta(hours=12)
        elsewhere = timezone(timedelta(hours=2))  # where the last moment is in the day after
        moments = [(timedelta(), None), (noon, "acme"), (noon, "other"), (last, None)]
        events = [
            make_event(
                occurred_at=(day + timedelta(days=n) + after).astimezone(elsewhere),
                tenant=tenant,
                seq=n * 4 + number,
            )
            for n in range(3)
            for number, (after, tenant) in enumerate(moments, start=1)
        ]
        storage.write(events)
        return events

    @pytest.mark.parametrize(
        ("since", "until", "tenants", "seqs"),
        [
            (None, None, None, range(1, 13)),
            (date(2026, 3, 4), None, None, range(5, 13)),
            (None, date(2026, 3, 4), None, range(1, 9)),
            (date(2026, 3, 4), date(2026, 3, 4), None, range(5, 9)),
            (date(2026, 3, 6), None, None, []),
            (None, None, ["acme"], [2, 6, 10]),
            (None, None, ["acme", "other"], [2, 3, 6, 7, 10, 11]),
            (None, None, [None], [1, 4, 5, 8, 9, 12]),
            (None, None, [], []),
            (date(2026, 3, 5), None, ["acme", "nobody"], [10]),
        ],
    )
    def test_days_and_tenants_are_read_back(
        self,
        storage: Any,
        three_days: list[RecordedEvent],
        since: date | None,
        until: date | None,
        tenants: list[str | None] | None,
        seqs: Sequence[int],
    ) -> None:
        read = list(storage.read(since=since, until=until, tenants=tenants))
        by_seq = {event.seq: event for event in three_days}
        assert sorted(read, key=lambda event: event.seq or 0) == [by_seq[seq] for seq in seqs]

    # compacting and verifying, where the storage can

    def test_compacting_changes_no_event(self, storage: Any) -> None:
        if not isinstance(storage, CompactableStorage):
            pytest.skip("this storage cannot be compacted")
        day = datetime(2025, 3, 3, 12, tzinfo=UTC)
        events = make_events(12, first_seq=1, occurred_at=day)
        for start in range(0, 12, 3):
            storage.write(events[start : start + 3])
        assert storage.compact(since=date(2025, 3, 4)).objects == 0
        assert storage.compact(until=date(2025, 3, 2)).objects == 0
        told: list[int] = []
        planned = storage.compact(dry_run=True, progress=told.append)
        assert (planned.days, planned.objects, planned.into, told) == (1, 4, 1, [])
        assert storage.compact(progress=told.append) == planned
        assert sum(told) == planned.objects
        self.assert_stored(storage, events)
        storage.write(events)
        assert storage.compact().objects == 0
        self.assert_stored(storage, events)

    def test_what_nobody_changed_is_verified(self, storage: Any) -> None:
        if not isinstance(storage, VerifiableStorage):
            pytest.skip("this storage cannot be verified")
        storage.write(make_events(4, first_seq=1, occurred_at=datetime(2025, 3, 3, 12, tzinfo=UTC)))
        if isinstance(storage, CompactableStorage):
            storage.compact()
        told: list[int] = []
        assert list(storage.verify(until=date(2025, 3, 2), progress=told.append)) == []
        assert told == []
        assert list(storage.verify(progress=told.append)) == []
        assert sum(told) > 0

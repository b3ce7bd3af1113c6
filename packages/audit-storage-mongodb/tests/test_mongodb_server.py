"""What the contracts do not ask, against the server."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from pymongo import ASCENDING, DESCENDING

from audit_core.errors import ConfigurationError, RetryableError
from audit_core.event import RecordedEvent
from audit_core.query import EventQuery
from audit_core.testing import make_event, make_events
from audit_storage_mongodb import health
from audit_storage_mongodb.documents import LAYOUT, MAX_TEXT_BYTES
from audit_storage_mongodb.indexes import INDEXES

pytestmark = pytest.mark.integration

NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)
DAY = 24 * 60 * 60


def ids(storage, **filters):
    return [event.id for event in storage.search(EventQuery(**filters)).events]


class TestSetup:
    def test_every_index_is_made(self, storage):
        made = {
            name: tuple(field for field, _ in index["key"])
            for name, index in storage._events.index_information().items()
        }
        assert made == {"_id_": ("_id",), **INDEXES}
        assert list(storage._chunks.index_information()) == ["_id_"]

    @pytest.mark.parametrize("call", ["write", "search", "get"])
    def test_without_setup_nothing_is_made_in_passing(self, make_storage, call):
        storage = make_storage(setup=False)
        event = make_event(seq=1)
        argument = {"write": [event], "search": EventQuery(), "get": event.id}[call]
        with pytest.raises(ConfigurationError, match="missing. Run `audit setup`"):
            getattr(storage, call)(argument)
        assert storage._events.name not in storage._events.database.list_collection_names()
        assert "is missing. Run `audit setup`." in storage.check()[0]
        storage.setup()
        storage.write([make_event(seq=1)])
        assert len(ids(storage)) == 1

    def test_a_missing_index_is_named_and_made_again(self, storage):
        storage._events.drop_index("audit_actor")
        [problem] = storage.check()
        assert "no index on actor_id, time_order" in problem
        storage.setup()
        assert storage.check() == []

    def test_an_index_of_another_name_will_do(self, make_storage):
        storage = make_storage(setup=False)
        storage._events.create_index([("tenant", ASCENDING), ("time_order", DESCENDING)], name="mine")
        storage.setup()
        assert "audit_tenant" not in storage._events.index_information()
        assert storage.check() == []

    def test_a_call_has_its_time_but_an_index_takes_what_it_needs(self, make_storage):
        storage = make_storage(timeout_seconds=0.001)  # it has been set up
        with pytest.raises(RetryableError):
            storage.write(make_events(100, first_seq=1))
        assert storage.prune(datetime.now(UTC) + timedelta(days=1), dry_run=True) in (0, 100)

    def test_a_unique_index_is_warned_of(self, storage):
        storage._events.create_index([("seq", ASCENDING)], name="mine", unique=True)
        [problem] = storage.check()
        assert "unique index mine" in problem

    def test_a_unique_index_loses_no_event_in_silence(self, storage):
        first, second = make_event(seq=1), make_event(seq=1)
        storage._events.create_index([("seq", ASCENDING)], name="mine", unique=True)
        storage.write([first])
        storage.write([first])
        with pytest.raises(ConfigurationError, match=r"unique index \((mine|on seq)\) keeps events out"):
            storage.write([first, second])
        storage._events.drop_index("mine")
        storage.write([first, second])
        assert len(ids(storage)) == 2

    def test_an_index_in_the_way_is_a_matter_for_a_person(self, storage):
        storage._events.drop_index("audit_actor")
        storage._events.create_index([("nothing", ASCENDING)], name="audit_actor")
        with pytest.raises(ConfigurationError, match="Drop the index"):
            storage.setup()


class TestRetention:
    def test_a_server_with_ttl_indexes_gets_them(self, make_storage, is_mongodb):
        if not is_mongodb:
            pytest.skip("this server has no TTL indexes")
        storage = make_storage(retention_days=30)
        assert storage.check() == []
        later = make_storage(collection=storage._events.name, retention_days=90)
        assert later.check() == []
        for collection, days in ((later._events, 90), (later._chunks, 91)):
            assert collection.index_information()["audit_retention"]["expireAfterSeconds"] == days * DAY
        assert "A TTL index removes after" in storage.check()[0]
        keeps_all = make_storage(collection=storage._events.name)
        assert "retention_days is not set" in keeps_all.check()[0]

    def test_a_server_without_them_works_and_says_so(self, make_storage, is_mongodb):
        if is_mongodb:
            pytest.skip("this server has TTL indexes")
        storage = make_storage(retention_days=30)
        storage.setup()
        events, chunks = storage.check()
        assert f"No TTL index removes after 30 days what is in {storage._events.full_name}." in events
        assert "prune()" in events
        assert "after 31 days" in chunks
        storage.write([make_event(seq=1)])
        assert len(ids(storage)) == 1


class TestLargeEvents:
    @pytest.fixture
    def in_chunks(self, monkeypatch):
        monkeypatch.setattr("audit_storage_mongodb.documents.MAX_TEXT_BYTES", 600)

    def test_an_event_above_16_mb_is_kept_whole(self, storage):
        # Above one document, with characters of two bytes that a chunk may end within, and a message's 48 MB in one batch.
        large = [make_event(extra={"note": "é" * (9_000_000 + n)}, seq=n) for n in (1, 2, 3)]
        small = make_event(seq=4)
        storage.write([*large, small])
        assert [storage.get(event.id).text == event.text for event in [*large, small]] == [True] * 4
        assert len(storage._events.find_one({"_id": large[0].id})["chunks"]) == 2
        assert len(large[0].text.encode()) > 16 * 2**20 > MAX_TEXT_BYTES

    def test_chunks_are_read_wherever_events_are(self, storage, in_chunks):
        events = make_events(3, first_seq=1, reason="ü" * 1500)
        events += make_events(2, first_seq=4)
        storage.write(events)
        storage.write(events)
        assert storage._chunks.count_documents({}) > 6
        found = storage.search(EventQuery()).events
        assert {event.id: event for event in found} == {event.id: event for event in events}

    def test_of_two_texts_for_one_id_none_is_mixed(self, storage, in_chunks):
        first = make_event(reason="a" * 1500, seq=1, occurred_at=NOON)
        second = make_event(reason="b" * 1500, seq=1, occurred_at=NOON, id=first.id)
        storage.write([first])
        storage.write([second])
        assert storage.get(first.id).text == first.text
        # Chunks of a writer that died before its event was there do not get into another one's either.
        storage._events.delete_many({})
        storage.write([second])
        assert storage.get(first.id).text == second.text

    def test_a_lost_chunk_is_no_short_event(self, storage, in_chunks):
        event = make_event(reason="a" * 1500, seq=1)
        storage.write([event])
        storage._chunks.delete_one({"_id": {"$gt": ""}})
        with pytest.raises(RetryableError, match="is missing in .*_chunks"):
            storage.get(event.id)

    def test_chunks_are_pruned_with_their_events(self, storage, in_chunks):
        old, new = (
            make_event(reason="a" * 1500, seq=n, occurred_at=NOON + timedelta(days=n)) for n in (1, 2)
        )
        storage.write([old, new])
        assert storage.prune(NOON + timedelta(days=2)) == 1
        assert storage.get(new.id).text == new.text
        assert {chunk["event"] for chunk in storage._chunks.find()} == {new.id}


class TestOrder:
    def test_events_without_seq_come_after_all_others(self, storage):
        events = [make_event(occurred_at=NOON, seq=seq) for seq in (7, None, 2, None)]
        storage.write(events)
        expected = [events[n].id for n in (3, 1, 0, 2)]
        history = {"target_types": ["policies.Policy"], "target_id": "1"}
        for filters in ({}, history):
            assert ids(storage, **filters) == expected
            page, seen = storage.search(EventQuery(limit=1, **filters)), []
            while True:
                seen += [event.id for event in page.events]
                if page.next is None:
                    break
                page = storage.search(EventQuery(limit=1, cursor=page.next, **filters))
            assert seen == expected

    def test_two_logs_may_use_one_seq(self, storage):
        events = [make_event(occurred_at=NOON, seq=1) for _ in range(3)]
        storage.write(events)
        first = storage.search(EventQuery(limit=2))
        rest = storage.search(EventQuery(limit=2, cursor=first.next))
        assert {event.id for event in [*first.events, *rest.events]} == {event.id for event in events}

    def test_a_page_of_a_thousand_comes_at_once(self, storage):
        storage.write(make_events(1001, first_seq=1))
        page = storage.search(EventQuery(limit=1000))
        assert [event.seq for event in page.events] == list(range(1001, 1, -1))
        assert [event.seq for event in storage.search(EventQuery(cursor=page.next)).events] == [1]


class TestText:
    def test_the_last_word_may_be_begun(self, storage):
        storage.write(
            [make_event("approved", summary="Alice approved the Straße.", seq=1), make_event(diff={}, seq=2)]
        )
        assert len(ids(storage, text="straß")) == 1
        assert len(ids(storage, text="ALICE appro")) == 1
        assert len(ids(storage, text="alic approved")) == 0

    def test_an_event_of_a_newer_schema_is_kept_as_it_is(self, storage):
        event = make_event(seq=1)
        text = event.text.replace('"schema_version":1', '"schema_version":9,"zone":"new"')
        newer = RecordedEvent(event.id, text, event.leaf_hash, seq=1)
        storage.write([newer])
        assert storage.get(event.id).text == text

    def test_a_document_of_a_newer_layout_is_not_guessed_at(self, storage):
        event = make_event(seq=1)
        storage.write([event])
        storage._events.update_one({"_id": event.id}, {"$set": {"layout": LAYOUT + 1}})
        with pytest.raises(ConfigurationError, match="newer audit-storage-mongodb"):
            storage.get(event.id)

    def test_a_page_of_large_events_may_be_sorted_on_the_disk(self, storage, monkeypatch):
        # MongoDB 4.4 and 5 give up at 100 MB in memory (error 292) unless they are told so.
        storage.write(make_events(3, first_seq=1))
        find, asked = storage._events.find, {}
        monkeypatch.setattr(
            storage._events, "find", lambda *a, **options: asked.update(options) or find(*a, **options)
        )
        assert len(ids(storage, text="alice")) == 3
        assert asked["allow_disk_use"] is True


class TestPrune:
    def test_many_are_removed_in_batches(self, storage, monkeypatch):
        monkeypatch.setattr("audit_storage_mongodb.storage.PRUNE_BATCH", 3)
        storage.write(
            [make_event(occurred_at=NOON + timedelta(microseconds=n), seq=n + 1) for n in range(10)]
        )
        assert storage.prune(NOON + timedelta(microseconds=8), dry_run=True) == 8
        assert storage.prune(NOON + timedelta(microseconds=8)) == 8
        assert len(ids(storage)) == 2


class TestCheck:
    def test_a_clock_that_is_an_hour_off_is_seen(self, storage, monkeypatch):
        class Late(datetime):
            @classmethod
            def now(cls, tz=None):
                return datetime.now(tz) + timedelta(hours=1)

        monkeypatch.setattr(health, "datetime", Late)
        storage._events.drop_index("audit_actor")
        problem, another = storage.check()
        assert "no index on actor_id" in another
        assert "3,600 s apart" in problem or "3,599 s apart" in problem

    def test_wrong_credentials_are_told_from_an_outage(self, make_storage, storage, uri):
        wrong = make_storage(
            uri=uri.replace("://", "://mallory:s3cr3t@"), collection=storage._events.name, setup=False
        )
        with pytest.raises(ConfigurationError, match="refused the credentials.*authSource") as caught:
            wrong.write([make_event(seq=1)])
        [problem] = wrong.check()
        assert "refused the credentials" in problem
        assert "s3cr3t" not in f"{caught.value}{problem}"

    def test_it_changes_nothing(self, make_storage):
        storage = make_storage(setup=False)
        storage.check()
        assert storage._events.name not in storage._events.database.list_collection_names()


def test_eight_writers_of_overlapping_batches_keep_each_event_once(storage):
    events = make_events(120, first_seq=1)
    failures = []

    def write(start):
        try:
            for first in range(0, 120, 20):
                storage.write([events[(start + first + n) % 120] for n in range(40)])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n * 15,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    assert [event.seq for event in storage.search(EventQuery(limit=1000)).events] == list(range(120, 0, -1))


def test_pages_are_read_from_the_indexes(storage, is_mongodb):
    if not is_mongodb:
        pytest.skip("this server scans, and does not say how a query is answered")
    storage.write(make_events(200, first_seq=1, tenant="acme"))
    storage.search(EventQuery())
    for filters, name in (
        ({"tenant": "acme"}, "audit_tenant"),
        ({"target_type": "policies.Policy", "target_id": "1"}, "audit_history"),
    ):
        key = "order" if "target_id" in filters else "time_order"
        plan = storage._events.find(filters).sort(key, DESCENDING).limit(10).explain()
        assert name in str(plan["queryPlanner"]["winningPlan"])
        assert "'SORT'" not in str(plan["queryPlanner"]["winningPlan"])


def test_pages_are_right_over_two_thousand_documents(storage):
    moment = datetime(2026, 3, 3, tzinfo=UTC)
    events = [
        make_event(
            occurred_at=moment
            + timedelta(seconds=n * 7919 % 2000),  # in another order than they were recorded in
            tenant=("acme", "other")[n % 2],
            target=f"policies.Policy:{n % 4}",
            seq=n + 1,
        )
        for n in range(2000)
    ]
    storage.write(events)

    def walk(**filters):
        found, cursor = [], None
        while True:
            page = storage.search(EventQuery(limit=100, cursor=cursor, **filters))
            found += [event.seq for event in page.events]
            if (cursor := page.next) is None:
                return found

    by_time = sorted(events, key=lambda event: (event.event.occurred_at, event.seq), reverse=True)
    assert walk() == [event.seq for event in by_time]
    assert walk(tenants=["acme"]) == [event.seq for event in by_time if event.event.tenant == "acme"]
    assert walk(target_types=["policies.Policy"], target_id="3") == list(range(2000, 0, -4))

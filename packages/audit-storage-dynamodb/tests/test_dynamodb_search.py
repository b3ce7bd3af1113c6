"""Which index answers, in how many requests, and what happens when it takes too many."""

from datetime import timedelta
from uuid import UUID

import pytest

from audit_core.event import Target
from audit_core.query import EventQuery, InvalidQuery, Page
from audit_core.testing import make_event, make_events
from audit_core.testing.events import BOB
from audit_core.testing.pages import NOON

pytestmark = pytest.mark.integration


def series(count, **values):
    """Events a second apart, always in the same shards, their ids in the other direction."""
    return [
        make_event(
            id=UUID(int=7 << 120 | 1000 - n), occurred_at=NOON + timedelta(seconds=n), seq=n + 1, **values
        )
        for n in range(count)
    ]


def ids(events):
    return [event.id for event in events]


@pytest.mark.parametrize(
    ("filters", "queries"),
    [
        ({}, 4),
        ({"tenants": ["acme"]}, 4),
        ({"actor_id": "7"}, 4),
        ({"target_types": ["policies.Policy"], "target_id": "1"}, 1),
        ({"target_types": ["policies.Policy", "a.A"], "target_id": "1"}, 2),
    ],
)
def test_a_page_takes_one_request_a_shard_and_one_for_the_events(storage, faults, filters, queries):
    storage.write(series(60, tenant="acme"))
    with faults.count(storage) as calls:
        page = storage.search(EventQuery(limit=20, **filters))
        older = storage.search(EventQuery(limit=20, cursor=page.next, **filters))
    assert calls == {"Query": 2 * queries, "BatchGetItem": 2}
    assert len({*ids(page.events), *ids(older.events)}) == 40


def test_the_events_of_all_shards_come_in_one_order(storage):
    events = series(40)
    storage.write(events)
    page = storage.search(EventQuery(limit=40))
    assert ids(page.events) == ids(reversed(events))
    assert page.next is None


def test_one_shard_may_hold_a_whole_page(storage, monkeypatch):
    monkeypatch.setattr("audit_storage_dynamodb.keys.shard_of", lambda id: 3)
    events = series(40)
    storage.write(events)
    assert ids(storage.search(EventQuery(limit=30)).events) == ids(reversed(events[10:]))


def test_more_than_a_hundred_events_are_one_page(storage):
    events = series(150)
    storage.write(events)
    page = storage.search(EventQuery(limit=120))
    assert ids(page.events) == ids(reversed(events[30:]))
    rest = storage.search(EventQuery(limit=120, cursor=page.next))
    assert ids(rest.events) == ids(reversed(events[:30]))


def test_many_tenants_are_filtered_out_of_everything(storage, faults):
    events = [
        make_event(tenant=f"t{n}", occurred_at=NOON + timedelta(seconds=n), seq=n + 1) for n in range(70)
    ]
    storage.write(events)
    for count in (12, 60):  # more than are read side by side; more than fit into a filter
        with faults.count(storage) as calls:
            found = storage.search(EventQuery(tenants=[f"t{n}" for n in range(count)], limit=100)).events
        assert ids(found) == ids(reversed(events[:count]))
        assert calls["Query"] < 20


def test_one_day_of_a_tenant(storage):
    events = [
        make_event(tenant="acme", occurred_at=NOON + timedelta(hours=6 * n), seq=n + 1) for n in range(12)
    ]
    storage.write([*events, make_event(tenant="globex", occurred_at=NOON, seq=99)])
    midnight = NOON.replace(hour=0) + timedelta(days=1)
    query = {"tenants": ["acme"], "since": midnight, "until": midnight + timedelta(days=1), "limit": 2}
    first = storage.search(EventQuery(**query))
    second = storage.search(EventQuery(cursor=first.next, **query))
    assert ids([*first.events, *second.events]) == ids(reversed(events[2:6]))
    assert second.next is None


def test_a_history_within_a_time_and_a_tenant(storage):
    events = series(6, tenant="acme")
    storage.write(events)
    history = {"target_types": ["policies.Policy"], "target_id": "1"}
    found = storage.search(
        EventQuery(since=NOON + timedelta(seconds=1), until=NOON + timedelta(seconds=4), **history)
    ).events
    assert ids(found) == ids(reversed(events[1:4]))
    assert storage.search(EventQuery(tenants=["globex"], **history)).events == []
    assert storage.search(EventQuery(actor_id="9", **history)).events == []


def test_two_names_of_one_key_are_read_once(storage):
    event = make_event(target="a\x00b:1", tenant="a\x00b", seq=1)
    storage.write([event])
    types = ["a\x00b", "a\\u0000b", "a\x00b"]
    assert ids(storage.search(EventQuery(target_types=types, target_id="1")).events) == [event.id]
    assert ids(storage.search(EventQuery(tenants=types)).events) == [event.id]


def test_an_object_that_has_no_key_has_no_history(storage):
    storage.write([make_event(target=Target(type="a.A"), seq=1)])
    assert storage.search(EventQuery(target_types=["a.A"], target_id="")).events == []
    assert len(storage.search(EventQuery(target_types=["a.A"])).events) == 1


def test_what_has_no_seq_is_newest_in_a_history(storage):
    numbered, waiting = make_event(seq=7), make_event()
    storage.write([waiting, numbered])
    found = storage.search(EventQuery(target_types=["policies.Policy"], target_id="1")).events
    assert ids(found) == [waiting.id, numbered.id]


def test_a_cursor_of_a_history_is_no_cursor_of_a_listing(storage):
    storage.write(series(3))
    cursor = storage.search(EventQuery(target_types=["policies.Policy"], target_id="1", limit=1)).next
    with pytest.raises(InvalidQuery) as caught:
        storage.search(EventQuery(cursor=cursor))
    assert caught.value.filter == "cursor"


# too much to read


def test_a_rare_word_is_found_in_pages_that_end_early(storage, faults, monkeypatch):
    monkeypatch.setattr("audit_storage_dynamodb.reading.MAX_REQUESTS", 7)
    events = series(300)
    needles = [
        make_event(occurred_at=NOON + timedelta(seconds=n), seq=1000 + n, reason="needle") for n in (20, 400)
    ]
    storage.write([*events, *needles])
    found, pages = [], 0
    cursor = None
    while pages == 0 or cursor is not None:
        with faults.count(storage) as calls:
            page = storage.search(EventQuery(text="needle", limit=5, cursor=cursor))
        assert calls.total() <= 8  # the last events are looked at, too
        found.append(ids(page.events))
        cursor, pages = page.next, pages + 1
    assert found[0] == [needles[1].id]
    assert found[1] == []  # nothing so far, and it goes on
    assert [id for page in found for id in page] == [needles[1].id, needles[0].id]


def test_what_is_no_word_is_not_looked_for(storage, faults):
    storage.write(series(3))
    with faults.count(storage) as calls:
        assert storage.search(EventQuery(text="•")) == Page()
    assert not calls


def test_a_filter_that_matches_little_ends_early_too(storage, faults, monkeypatch):
    monkeypatch.setattr("audit_storage_dynamodb.reading.MAX_REQUESTS", 6)
    monkeypatch.setattr("audit_storage_dynamodb.reading.GROWTH", 1)
    events = series(200)
    events[199] = make_event("delete", occurred_at=NOON + timedelta(seconds=199), seq=200)
    events[2] = make_event("delete", occurred_at=NOON + timedelta(seconds=2), seq=3)
    storage.write(events)
    with faults.count(storage) as calls:
        page = storage.search(EventQuery(actions=["delete"], limit=10))
    assert calls["Query"] <= 6
    assert ids(page.events) == [events[199].id]
    assert page.next is not None
    monkeypatch.setattr("audit_storage_dynamodb.reading.MAX_REQUESTS", 100)
    rest = storage.search(EventQuery(actions=["delete"], limit=10, cursor=page.next))
    assert ids(rest.events) == [events[2].id]
    assert rest.next is None


def test_newer_goes_on_where_it_ended_early(storage, monkeypatch):
    storage.write(series(1))
    newest = storage.search(EventQuery()).newest
    monkeypatch.setattr("audit_storage_dynamodb.reading.MAX_REQUESTS", 5)
    monkeypatch.setattr("audit_storage_dynamodb.reading.GROWTH", 1)
    new = [
        make_event(
            actor=BOB if n == 70 else None, occurred_at=NOON + timedelta(hours=1, seconds=n), seq=n + 2
        )
        for n in range(80)
    ]
    storage.write(new)
    found = []
    calls = 0
    while (
        page := storage.search(EventQuery(text="bob", cursor=newest, newer=True, limit=4))
    ).newest != newest:
        found += ids(page.events)
        newest = page.newest
        calls += 1
    assert calls > 5
    assert found == [new[70].id]


def test_an_event_that_is_gone_is_left_out(storage, faults):
    events = series(4)
    storage.write(events)

    def hide(parsed):
        for items in parsed["Responses"].values():
            items[:] = [item for item in items if item["event_id"]["S"] != str(events[2].id)]

    with faults.change_response(storage, "BatchGetItem", hide):
        found = storage.search(EventQuery()).events
    assert ids(found) == ids([events[3], events[1], events[0]])


def test_keys_that_are_handed_back_come_again(storage, faults):
    events = make_events(6, first_seq=1)
    storage.write(events)
    handed_back = []

    def change(parsed):
        if not handed_back:
            [(table, items)] = parsed["Responses"].items()
            handed_back.extend(items[:2])
            keys = [{"event_id": item["event_id"], "item": {"S": "event"}} for item in handed_back]
            del items[:2]
            parsed["UnprocessedKeys"] = {table: {"Keys": keys}}

    with faults.change_response(storage, "BatchGetItem", change):
        found = storage.search(EventQuery()).events
    assert handed_back
    assert sorted(ids(found)) == sorted(ids(events))

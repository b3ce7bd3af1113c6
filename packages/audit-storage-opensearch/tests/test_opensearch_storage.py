"""What is OpenSearch's own, against a real server."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from opensearchpy import AuthorizationException
from opensearchpy import ConnectionError as LostConnection

from audit_core.errors import ConfigurationError, PartialWrite, RetryableError
from audit_core.event import Context
from audit_core.query import EventQuery, InvalidQuery
from audit_core.testing import make_event, make_events
from audit_storage_opensearch.indices import month_of

pytestmark = pytest.mark.integration

NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)


def uuid7_of(moment, tail=0):
    return UUID(int=int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0b10 << 62 | tail)


def ids(page):
    return [event.id for event in page.events]


# where events are kept


def test_a_month_has_an_index_and_the_first_of_an_id_wins(storage, bare, index):
    first = make_event(id=uuid7_of(NOON), occurred_at=NOON, seq=1)
    forged = make_event("forged", id=first.id, occurred_at=NOON + timedelta(days=90), tenant="other", seq=2)
    storage.write([first])
    storage.write([forged])
    storage.write([make_event(id=uuid7_of(NOON + timedelta(days=90)), seq=3)])
    assert sorted(bare.indices.get_alias(index=f"{index}-*")) == [
        f"{index}-v1-2026.03",
        f"{index}-v1-2026.06",
    ]
    assert len(storage.search(EventQuery()).events) == 2
    assert storage.get(first.id).text == first.text


def test_an_id_without_a_time_has_its_place_too(storage, bare, index):
    event = make_event(id=uuid4(), seq=1)
    storage.write([event, replace(event, seq=2)])
    assert list(bare.indices.get_alias(index=f"{index}-*")) == [f"{index}-v1-undated"]
    assert storage.get(event.id).seq == 1


def test_what_was_written_is_got_before_it_is_searched(make_storage, bare, index):
    storage = make_storage(refresh=False, index_settings={"number_of_replicas": 0, "refresh_interval": "-1"})
    [event] = make_events(1, first_seq=1)
    storage.write([event])
    assert storage.get(event.id) == event
    assert ids(storage.search(EventQuery())) == []
    bare.indices.refresh(index=index)
    assert ids(storage.search(EventQuery())) == [event.id]


def test_waiting_for_the_refresh(make_storage):
    storage = make_storage(refresh="wait_for")
    [event] = make_events(1, first_seq=1)
    storage.write([event])
    assert ids(storage.search(EventQuery())) == [event.id]


def test_many_writers_may_begin_a_month_at_once(make_storage):
    storage = make_storage(refresh=False)
    events = make_events(40, first_seq=1)
    failures, start = [], threading.Barrier(8)

    def write(part):
        try:
            start.wait(30)
            storage.write(part)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(events[n % 4 * 10 :][:10],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert {storage.get(event.id).id for event in events} == {event.id for event in events}


def test_a_batch_is_cut_by_bytes(make_storage, between):
    sizes = []

    def act(send, method, path, body):
        if path == "/_bulk":
            sizes.append(len(body))
        return send()

    storage = make_storage(max_bulk_bytes=1024 * 1024, **between(act))
    events = [make_event(diff={"text": (None, f"{n} " + "é" * 30_000)}, seq=n + 1) for n in range(60)]
    storage.write(events[:1])
    sizes.clear()
    storage.write(events)
    assert len(sizes) > 3
    assert max(sizes) <= 1024 * 1024
    assert len(storage.search(EventQuery(limit=100)).events) == 60


def test_an_event_of_several_megabytes(storage):
    event = make_event(diff={f"f{n}": ("é" * 30_000, "x" * 60_000) for n in range(60)}, seq=1)
    storage.write([event])
    assert storage.get(event.id) == event


def test_an_acknowledgement_that_is_lost(make_storage, between):
    lose = [True]

    def act(send, method, path, body):
        answer = send()
        if path == "/_bulk" and lose.pop():
            lose.append(False)
            raise LostConnection("N/A", "connection reset", OSError())
        return answer

    make_storage().write(make_events(1, first_seq=1000))  # so that the month is there
    options = between(act)
    storage = make_storage(**{**options, "client": {**options["client"], "max_retries": 0}})
    events = make_events(20, first_seq=1)
    with pytest.raises(RetryableError):
        storage.write(events)
    storage.write(events)
    assert len(storage.search(EventQuery(limit=100)).events) == 21


# what is missing or refused


def test_a_storage_that_was_never_set_up(make_storage, bare, index):
    storage = make_storage(set_up=False)
    [event] = make_events(1)
    for act in (
        lambda: storage.write([event]),
        lambda: storage.search(EventQuery()),
        lambda: storage.get(event.id),
    ):
        with pytest.raises(ConfigurationError, match="setup"):
            act()
    assert bare.indices.get_alias(index=f"{index}*") == {}  # nothing was made by the way
    assert any("template" in problem for problem in storage.check())


def test_a_storage_that_is_empty(storage):
    assert ids(storage.search(EventQuery())) == []
    assert storage.histogram(EventQuery(), "day") == []
    assert storage.prune(NOON) == 0
    with pytest.raises(KeyError):
        storage.get(uuid4())


def test_an_index_that_was_dropped_is_made_again(storage, bare, index):
    events = make_events(2, first_seq=1)
    storage.write(events[:1])
    bare.indices.delete(index=f"{index}-v1-{month_of(events[0].id)}")
    storage.write(events)
    assert len(storage.search(EventQuery()).events) == 2


def test_a_full_disk_loses_nothing(storage, bare, index):
    events = make_events(3, first_seq=1)
    storage.write(events[:1])
    bare.indices.put_settings(index=index, body={"index.blocks.read_only_allow_delete": True})
    with pytest.raises(RetryableError, match="flood-stage"):
        storage.write(events)
    assert any("read_only_allow_delete" in problem for problem in storage.check())
    bare.indices.put_settings(index=index, body={"index.blocks.read_only_allow_delete": None})
    storage.write(events)
    assert len(storage.search(EventQuery()).events) == 3


def test_an_event_that_no_field_can_hold_is_named(storage):
    events = make_events(3, first_seq=1)
    with pytest.raises(PartialWrite) as caught:
        storage.write([events[0], replace(events[1], seq=2**70), events[2]])
    assert caught.value.reasons.keys() == {events[1].id}
    assert len(storage.search(EventQuery()).events) == 2


def test_a_lost_alias_is_told(storage, bare, index):
    events = make_events(2, first_seq=1)
    storage.write(events[:1])
    month = month_of(events[0].id)
    bare.indices.delete_alias(index=f"{index}-v1-{month}", name=f"{index}-{month}")
    with pytest.raises(ConfigurationError, match="alias"):
        storage.write(events)


def test_setup_adds_fields_that_an_older_version_did_not_have(make_storage, bare, index):
    storage = make_storage()
    bare.indices.put_index_template(
        name=f"{index}-v1",
        body={
            "index_patterns": [f"{index}-v1-*"],
            "template": {"mappings": {"dynamic": "strict", "properties": {"id": {"type": "keyword"}}}, "aliases": {index: {}}},
        },
    )  # fmt: skip
    event = make_event(seq=1, diff={"a": (1, 2)})
    with pytest.raises(ConfigurationError, match="setup"):  # and not parked
        storage.write([event])
    assert len(storage.check()) >= 2
    bare.indices.delete(index=f"{index}-v1-{month_of(event.id)}")
    storage.setup()
    storage.write([event])
    assert storage.check() == []


def test_without_index_state_management_check_says_so(make_storage):
    [problem] = make_storage(retention_days=365).check()
    assert "Index State Management" in problem


def test_a_copy_that_has_no_place_is_told(make_storage):
    storage = make_storage(index_settings={})
    storage.write(make_events(1))
    [problem] = storage.check()
    assert "fewer copies" in problem


# searching


def test_no_time_is_out_of_order(storage):
    moments = [
        datetime(1, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        NOON, NOON + timedelta(microseconds=1), NOON + timedelta(microseconds=999), datetime(2300, 1, 1, tzinfo=UTC),
    ]  # fmt: skip
    events = [make_event(occurred_at=moment, seq=6 - n) for n, moment in enumerate(moments)]
    storage.write(events)
    expected = [event.id for event in reversed(events)]
    assert ids(storage.search(EventQuery())) == expected
    assert ids(storage.search(EventQuery(since=NOON + timedelta(microseconds=1)))) == expected[:3]


def test_events_without_a_number_are_the_newest_of_a_history(storage):
    numbered = make_event(seq=1, occurred_at=NOON + timedelta(hours=1))
    waiting = [make_event(occurred_at=NOON), make_event(occurred_at=NOON)]
    storage.write([*waiting, numbered])
    history = {"target_types": ["policies.Policy"], "target_id": "1", "limit": 1}
    found, cursor = [], None
    while True:
        page = storage.search(EventQuery(cursor=cursor, **history))
        found += ids(page)
        if page.next is None:
            break
        cursor = page.next
    assert found == [waiting[1].id, waiting[0].id, numbered.id]


@pytest.mark.parametrize("length", [255, 256, 400, 512, 513, 40_000])
def test_a_long_value_is_found(storage, length):
    long, other = "x" * length, "x" * (length - 1) + "y"
    storage.write([make_event(tenant=long, diff={long: (1, 2)}, seq=1), make_event(tenant=other, seq=2)])
    assert [event.seq for event in storage.search(EventQuery(tenants=[long])).events] == [1]
    assert [event.seq for event in storage.search(EventQuery(field=long)).events] == [1]


def test_a_word_of_the_context_is_found_and_the_last_may_be_a_beginning(storage):
    storage.write([make_event(context=Context(path="/policies/42/", user_agent="Firefox/130"), seq=1)])
    for text, found in (("firefox", 1), ("fire", 1), ("fire 42", 0), ("42 fire", 1), ("irefox", 0)):
        assert len(storage.search(EventQuery(text=text)).events) == found, text


def test_a_long_word_is_found_whole(storage):
    word = "é" * 399
    storage.write(
        [make_event(diff={"a": (None, f"{word}z")}, seq=1), make_event(diff={"a": (None, f"{word}y")}, seq=2)]
    )
    assert [event.seq for event in storage.search(EventQuery(text=f"{word}z update")).events] == [1]


def test_a_histogram_counts_by_the_clocks_of_a_zone(storage):
    late = datetime(2026, 3, 3, 23, 30, tzinfo=UTC)  # the 4th in Vienna
    storage.write([make_event(occurred_at=moment, tenant=tenant, seq=n + 1) for n, (moment, tenant) in enumerate(
        [(NOON, "a"), (NOON + timedelta(hours=1), "a"), (late, "a"), (late, "b"), (NOON + timedelta(days=40), "a")]
    )])  # fmt: skip
    query = EventQuery(tenants=["a"])
    day = datetime(2026, 3, 3, tzinfo=UTC)
    assert storage.histogram(query, "day") == [(day, 3), (datetime(2026, 4, 12, tzinfo=UTC), 1)]
    assert [count for _, count in storage.histogram(query, "day", time_zone="Europe/Vienna")] == [2, 1, 1]
    assert storage.histogram(query, "day", time_zone="Europe/Vienna")[1].start == day + timedelta(hours=23)
    assert sum(count for _, count in storage.histogram(EventQuery(), "minute")) == 5
    assert storage.histogram(EventQuery(tenants=[]), "day") == []


@pytest.mark.parametrize(
    ("interval", "zone", "name"), [("fortnight", "UTC", "interval"), ("day", "Mars/X", "time_zone")]
)
def test_a_histogram_of_nonsense(storage, interval, zone, name):
    with pytest.raises(InvalidQuery) as caught:
        storage.histogram(EventQuery(), interval, time_zone=zone)
    assert caught.value.filter == name


# pruning


def months(storage):
    """Three events in each of three months."""
    events = []
    for month in (1, 2, 3):
        for day in (1, 10, 20):
            moment = datetime(2026, month, day, tzinfo=UTC)
            events.append(make_event(id=uuid7_of(moment, day), occurred_at=moment, seq=len(events) + 1))
    storage.write(events)
    return events


def test_pruning_drops_whole_indices_and_cuts_the_one_between(storage, bare, index):
    events = months(storage)
    before = datetime(2026, 2, 15, tzinfo=UTC)
    assert storage.prune(before, dry_run=True) == 5
    assert storage.prune(before) == 5
    assert sorted(bare.indices.get_alias(index=index)) == [f"{index}-v1-2026.02", f"{index}-v1-2026.03"]
    assert ids(storage.search(EventQuery())) == [event.id for event in reversed(events[5:])]
    assert bare.indices.get_settings(index=index, flat_settings=True, name="index.blocks.*") == {}


def test_an_old_index_with_a_newer_event_is_not_dropped(storage):
    # An import has ids of today and times of long ago; a clock may have been wrong.
    moment = datetime(2026, 1, 5, tzinfo=UTC)
    old = make_event(id=uuid7_of(moment, 1), occurred_at=moment, seq=1)
    newer = make_event(id=uuid7_of(moment, 2), occurred_at=NOON, seq=2)
    storage.write([old, newer])
    assert storage.prune(NOON) == 1
    assert ids(storage.search(EventQuery())) == [newer.id]


def test_an_event_that_arrives_while_an_index_is_dropped_stays(make_storage, between):
    late = make_event(id=uuid7_of(datetime(2026, 1, 25, tzinfo=UTC)), occurred_at=NOON, seq=100)
    writer = make_storage()

    def act(send, method, path, body):
        if path.endswith("/_block/write") and "2026.01" in path:
            writer.write([late])
        return send()

    storage = make_storage(**between(act))
    months(storage)
    assert storage.prune(datetime(2026, 2, 1, tzinfo=UTC)) == 3
    assert late.id in ids(storage.search(EventQuery()))
    writer.write([make_event(id=uuid7_of(datetime(2026, 1, 26, tzinfo=UTC)), seq=101)])  # nothing is blocked


def test_a_write_while_an_index_is_dropped_comes_again(make_storage, between):
    late = make_event(id=uuid7_of(datetime(2026, 1, 25, tzinfo=UTC)), occurred_at=NOON, seq=100)
    writer = make_storage()

    def act(send, method, path, body):
        if method == "DELETE":
            with pytest.raises(RetryableError, match="takes no writes"):
                writer.write([late])
        return send()

    storage = make_storage(**between(act))
    months(storage)
    assert storage.prune(datetime(2026, 2, 1, tzinfo=UTC)) == 3
    writer.write([late])
    assert late.id in ids(storage.search(EventQuery()))


def test_nothing_goes_while_a_part_of_the_index_does_not_answer(make_storage, between, bare, index):
    # What is in the part that does not answer may be newer than all that is counted.
    moment = datetime(2026, 1, 5, tzinfo=UTC)
    place = f"{index}-v1-2026.01"
    halved = {"number_of_replicas": 0, "number_of_shards": 2, "routing.allocation.total_shards_per_node": 1}

    def act(send, method, path, body):
        if path.endswith("/_refresh"):  # it says so after a minute
            return 200, {"content-type": "application/json"}, '{"_shards": {"failed": 1}}'
        return send()

    storage = make_storage(index_settings=halved, **between(act))
    bare.indices.create(
        index=place,
        body={"aliases": {f"{index}-2026.01": {}}},
        params={"wait_for_active_shards": "0"},
    )
    bare.cluster.health(index=place, params={"wait_for_no_initializing_shards": "true"})
    ids_there = [
        event_id
        for event_id in (uuid7_of(moment, tail) for tail in range(20))
        if bare.search_shards(index=place, params={"routing": str(event_id)})["shards"][0]
    ]
    assert 0 < len(ids_there) < 20
    storage.write([make_event(id=event_id, occurred_at=moment, seq=1) for event_id in ids_there])
    for dry_run in (True, False):
        with pytest.raises(RetryableError, match="503"):
            storage.prune(NOON, dry_run=dry_run)
    assert bare.indices.exists(index=place)
    assert all(storage.get(event_id) for event_id in ids_there)


def test_a_pruning_that_may_not_delete_blocks_nobody(make_storage, between):
    def act(send, method, path, body):
        if method == "DELETE":
            raise AuthorizationException(
                403, "security_exception", {"error": "no permissions for [indices:admin/delete]"}
            )
        return send()

    storage = make_storage(**between(act))
    events = months(storage)
    with pytest.raises(ConfigurationError, match="indices:admin/delete"):
        storage.prune(datetime(2026, 2, 1, tzinfo=UTC))
    storage.write([*events, make_event(id=uuid7_of(datetime(2026, 1, 26, tzinfo=UTC)), seq=100)])

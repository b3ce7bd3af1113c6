"""Keys and items; no server is needed."""

import time
from collections import Counter
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from audit_core.ids import uuid7
from audit_core.testing import make_event
from audit_storage_dynamodb.items import items_of
from audit_storage_dynamodb.keys import (
    FIRST,
    LAST,
    SHARDS,
    fitting,
    is_place,
    just_after,
    just_before,
    moment_of,
    number_of,
    shard_of,
)


@pytest.mark.parametrize("make", [uuid4, uuid7])
def test_events_are_spread_evenly(make):
    counts = Counter(shard_of(make()) for _ in range(4000))
    assert set(counts) == set(range(SHARDS))
    assert max(counts.values()) < 1.2 * 4000 / SHARDS


def test_the_shard_of_an_event_never_changes():
    # Events are looked for where they were put years ago.
    assert [shard_of(UUID(int=n)) for n in range(6)] == [1, 3, 1, 3, 0, 2]


def test_places_sort_as_a_history_does():
    numbered = [number_of(make_event(seq=seq)) for seq in (1, 9, 10, 2**63 - 1)]
    waiting = number_of(make_event())
    assert [FIRST, *numbered, waiting, LAST] == sorted([*numbered, waiting, FIRST, LAST])


@pytest.mark.parametrize("last", ["0", "1", "9", "a", "f"])
def test_a_page_begins_right_after_the_last_one(last):
    start = "0000000000000000007#0195f3c2-7c1e-7b55-9d0c-3f6f3c1d8a1"
    places = sorted([*(start + digit for digit in "0123456789abcdef"), start[:-1] + "00", start[:-1] + "20"])
    place = start + last
    assert [p for p in places if p <= just_before(place)] == [p for p in places if p < place]
    assert [p for p in places if p >= just_after(place)] == [p for p in places if p > place]


def test_places_are_told_from_other_texts():
    event = make_event(seq=7)
    assert is_place(number_of(event), in_history=True)
    assert is_place(number_of(make_event()), in_history=True)
    assert is_place(moment_of(event), in_history=False)
    assert not is_place(number_of(event), in_history=False)
    assert not is_place(moment_of(event), in_history=True)
    assert not is_place(moment_of(event) + "\n", in_history=False)
    assert not is_place("", in_history=True)


def test_keys_fit():
    long = "\U0001f98a" * 2000
    assert len(fitting(long).encode()) <= 1000
    assert fitting(long) != fitting(f"{long}x")
    assert fitting("a" * 1000) == "a" * 1000
    assert fitting("a\ud800\x00") == "a\\ud800\\u0000"


def test_what_ended_long_ago_is_given_an_end_that_dynamodb_acts_on():
    old = make_event(occurred_at=datetime(2001, 1, 1, tzinfo=UTC), seq=1)
    head, _ = items_of(old, retention_seconds=86_400)
    five_years = 5 * 365 * 86_400
    assert time.time() - five_years < int(head["expires_at"]["N"]) < time.time()


def test_an_item_is_smaller_than_dynamodb_takes():
    long = "\U0001f98a" * 5000
    event = make_event(
        long,
        target=f"{long}:{long}",
        tenant=long,
        category=long,
        outcome=long,
        extra={"x": "y" * 200_000},
        seq=1,
    )
    head, parts = items_of(event, retention_seconds=1)
    for item in (head, *parts):
        size = sum(
            len(name) + len(value.encode() if isinstance(value, str) else value)
            for name, attribute in item.items()
            for value in attribute.values()
        )
        assert size < 400 * 1024


def test_an_entry_of_an_index_is_one_write_unit():
    event = make_event(
        target="policies.PolicyDocument:018f3c5e-7a52-7f00-8000-000000000000", tenant="northwind", seq=2**40
    )
    head, _ = items_of(event)
    small = {name: value for name, value in head.items() if name not in ("text", "summary", "seq")}
    assert sum(len(name) + len(next(iter(value.values()))) for name, value in small.items()) < 1024

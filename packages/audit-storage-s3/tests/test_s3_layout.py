"""Keys, chains and ids, without a server."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_core.ids import uuid7
from audit_core.testing import make_event
from audit_storage_s3.chain import IdCache, Ids
from audit_storage_s3.layout import (
    MAX_TENANT_BYTES,
    NULL,
    Facts,
    Partition,
    Position,
    Stored,
    chain_of,
    escaped,
    facts_in,
    name_of,
    parsed,
    partition_of,
)

TENANTS = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)


@given(TENANTS, TENANTS)
def test_a_tenant_has_a_folder_of_its_own(one: str, other: str) -> None:
    assert (escaped(one) == escaped(other)) == (one == other)
    text = escaped(one)
    assert text != escaped(None)
    assert text
    assert "/" not in text
    assert "=" not in text
    assert len(text.encode()) <= MAX_TENANT_BYTES
    unquote(text, errors="strict")


def test_no_tenant_is_hives_null() -> None:
    assert escaped(None) == NULL
    assert escaped(NULL) == "%5F_HIVE_DEFAULT_PARTITION__"


def test_the_day_is_that_of_utc() -> None:
    moment = datetime(2026, 3, 3, 23, 30, tzinfo=timezone(timedelta(hours=-2)))
    event = make_event(occurred_at=moment, tenant="a/b")
    assert partition_of(event.event.to_dict()) == Partition("a%2Fb", date(2026, 3, 4))
    assert partition_of(event.event.to_dict()).folder == "events/tenant=a%2Fb/date=2026-03-04/"


# A name has six digits for the turn: nobody writes a million objects into one day of one tenant.
POSITIONS = st.builds(Position, st.integers(0, 2**53), st.integers(0, 10**6 - 2))


@given(POSITIONS, st.none() | st.integers(1, 2**53))
def test_the_next_place_is_behind(place: Position, last_seq: int | None) -> None:
    following = place.following(last_seq)
    assert following > place
    assert str(following) > str(place)
    assert last_seq is None or following.head > last_seq
    assert following.head == max(place.head, 0 if last_seq is None else last_seq + 1)


@given(POSITIONS, POSITIONS)
def test_a_name_says_its_place(one: Position, other: Position) -> None:
    first, last = sorted((one, other))
    stored = parsed(f"p/{name_of(first, last, '.jsonl.gz')}", 7, "etag")
    assert stored is not None
    assert (stored.first, stored.last, stored.suffix, stored.size_bytes) == (first, last, ".jsonl.gz", 7)


def test_what_is_not_ours_has_no_place() -> None:
    for name in ("", "_SUCCESS", "part-0.parquet", "0000000000000000.jsonl.gz"):
        assert parsed(f"p/{name}", 0, "") is None


def test_what_was_compacted_does_not_count() -> None:
    places = [Position(), Position(5), Position(9), Position(9, 1), Position(12)]

    def stored(first: int, last: int) -> Stored:
        found = parsed(name_of(places[first], places[last], ".parquet"), 1, "e")
        assert found is not None
        return found

    small = [stored(n, n) for n in range(5)]
    assert chain_of(small[::-1]) == small
    merged = [stored(0, 1), stored(2, 3)]
    assert chain_of([*small, *merged]) == [*merged, small[4]]
    again = stored(0, 3)
    assert chain_of([*small, *merged, again]) == [again, small[4]]


@given(st.sets(st.uuids().map(str)), st.uuids().map(str))
def test_ids_are_a_set(ids: set[str], other: str) -> None:
    packed = Ids(ids)
    assert len(packed) == len(ids)
    assert all(id_ in packed for id_ in ids)
    assert (other in packed) == (other in ids)


def test_the_cache_forgets_what_was_not_asked_for_longest() -> None:
    cache, read = IdCache(max_bytes=16 * 10), list[str]()

    def ids(key: str) -> Ids:
        def load() -> Ids:
            read.append(key)
            return Ids(str(uuid7()) for _ in range(4))

        return cache.get(key, "e", load)

    for key in ("a", "b", "a", "c", "a", "b"):
        ids(key)
    assert read == ["a", "b", "c", "b"]
    cache.add("large", "e", Ids(str(uuid7()) for _ in range(100)))
    ids("large")
    assert read == ["a", "b", "c", "b"]


@pytest.mark.parametrize("facts", [Facts(3, 1, 12, "ab" * 32), Facts(1, None, None, "0" * 64)])
def test_what_an_object_says_about_itself_is_whole_or_not_there(facts: Facts) -> None:
    [(name, value)] = facts.to_metadata().items()
    assert facts_in({name: value}) == facts
    assert [facts_in({name: value[:length]}) for length in range(len(value))] == [None] * len(value)
    assert facts_in({}) is None

"""Removing what is old: by prune(), or by DynamoDB itself when its time has come."""

from datetime import UTC, datetime, timedelta

import pytest

from audit_core.errors import RetryableError
from audit_core.query import EventQuery
from audit_core.testing import make_event

pytestmark = pytest.mark.integration

DAY = datetime(2026, 3, 3, tzinfo=UTC)
LARGE = {f"text_{n}": (None, f"{n}é" * 21_000) for n in range(12)}


def items(faults, storage):
    pages = faults.client(storage).get_paginator("scan").paginate(TableName=storage.table)
    found = [item for page in pages for item in page["Items"]]
    return [item for item in found if item["item"]["S"] != "check"]


def old_and_new(old, new):
    return [make_event(occurred_at=DAY - timedelta(seconds=n + 1), seq=n + 1) for n in range(old)], [
        make_event(occurred_at=DAY + timedelta(seconds=n), seq=100 + n) for n in range(new)
    ]


def test_more_than_a_batch_is_removed(storage, faults):
    old, new = old_and_new(70, 30)
    storage.write([*old, *new])
    with faults.count(storage) as calls:
        assert storage.prune(DAY, dry_run=True) == 70
    assert set(calls) == {"Query"}
    assert storage.prune(DAY) == 70
    assert {event.id for event in storage.search(EventQuery()).events} == {event.id for event in new}
    assert len(items(faults, storage)) == 30


def test_a_large_event_is_removed_with_its_parts(storage, faults):
    old, new = (make_event(diff=LARGE, occurred_at=DAY + timedelta(hours=h), seq=h + 9) for h in (-1, 1))
    storage.write([old, new])
    assert len(items(faults, storage)) == 8
    assert storage.prune(DAY) == 1
    assert len(items(faults, storage)) == 4
    assert storage.get(new.id).text == new.text


def test_an_interrupted_prune_is_finished_by_the_next(storage, faults):
    storage.write([make_event(diff=LARGE, occurred_at=DAY - timedelta(hours=1), seq=1)])
    answers = iter([None, faults.refusal("InternalServerError")])  # the parts, the event
    with faults.answer(storage, "BatchWriteItem", lambda: next(answers)), pytest.raises(RetryableError):
        storage.prune(DAY)
    assert [item["item"]["S"] for item in items(faults, storage)] == ["event"]
    assert storage.prune(DAY) == 1
    assert items(faults, storage) == []


def test_what_is_handed_back_is_removed_later(storage, faults):
    old, _ = old_and_new(30, 0)
    storage.write(old)
    requests = []

    def see(params):
        requests.append(params["RequestItems"][storage.table])

    def hand_back(parsed):
        if len(requests) == 1:
            parsed["UnprocessedItems"] = {storage.table: requests[0][:4]}

    with (
        faults.change_request(storage, "BatchWriteItem", see),
        faults.change_response(storage, "BatchWriteItem", hand_back),
    ):
        assert storage.prune(DAY) == 30
    assert requests[1] == requests[0][:4]
    assert all(len(request) <= 25 for request in requests)
    assert items(faults, storage) == []


def test_an_event_ends_so_many_days_after_it_occurred(endpoint, storage, make_storage, faults):
    kept_for_a_week = make_storage(storage.table, endpoint_url=endpoint, retention_days=7)
    moment = datetime.now(UTC).replace(microsecond=999_999)
    kept_for_a_week.write([make_event(occurred_at=moment, seq=1)])
    [item] = items(faults, storage)
    assert int(item["expires_at"]["N"]) == int(moment.timestamp()) + 7 * 86_400


def test_without_a_retention_an_event_has_no_end(storage, faults):
    storage.write([make_event(seq=1)])
    [item] = items(faults, storage)
    assert "expires_at" not in item

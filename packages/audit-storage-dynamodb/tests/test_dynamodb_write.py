"""What is written: once, whole, the first one wins, in batches at DynamoDB's limits."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from audit_core.errors import ConfigurationError, PartialWrite, RetryableError
from audit_core.query import EventQuery
from audit_core.testing import make_event, make_events

pytestmark = pytest.mark.integration

LARGE = {f"text_{n}": (None, f"{n}é" * 21_000) for n in range(12)}  # 760 kB


def all_items(faults, storage):
    pages = faults.client(storage).get_paginator("scan").paginate(TableName=storage.table)
    return [item for page in pages for item in page["Items"] if item["item"]["S"] != "check"]


def test_what_is_there_is_not_changed_by_another_text_summary_or_seq(storage):
    first = make_event(seq=1, summary="first")
    storage.write([first])
    storage.write(
        [
            replace(first, seq=2),
            replace(first, summary="second"),
            make_event(id=first.id, action="forged", seq=1),
        ]
    )
    kept = storage.get(first.id)
    assert (kept.text, kept.seq, kept.summary) == (first.text, 1, "first")
    assert len(storage.search(EventQuery()).events) == 1


def test_of_an_id_that_a_batch_holds_twice_the_first_is_kept(storage):
    first = make_event(seq=1)
    storage.write([first, make_event(id=first.id, action="forged", seq=1), make_event(seq=2)])
    assert storage.get(first.id).text == first.text
    assert len(storage.search(EventQuery()).events) == 2


def test_of_two_writers_with_different_texts_one_wins_in_every_index(storage, faults):
    ids = [uuid4() for _ in range(60)]
    mine, theirs = (
        [make_event(action, id=id, seq=n, target=f"a.A:{action}") for n, id in enumerate(ids)]
        for action in ("mine", "theirs")
    )
    start = threading.Barrier(2)
    failures = []

    def write(events):
        try:
            start.wait(30)
            storage.write(events)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=[events]) for events in (mine, theirs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    texts = {event.text for event in (*mine, *theirs)}
    kept = storage.search(EventQuery(limit=1000)).events
    assert sorted(event.id for event in kept) == sorted(ids)
    assert {event.text for event in kept} <= texts
    assert len(all_items(faults, storage)) == 60


def test_a_batch_of_statements_is_full(storage, faults):
    with faults.count(storage) as calls:
        storage.write(make_events(60, first_seq=1))
    assert calls == {"BatchExecuteStatement": 3}


def test_a_request_stays_below_the_size_that_dynamodb_takes(storage, faults):
    events = [
        make_event(diff={f"t{n}": (None, "x" * 60_000) for n in range(5)}, seq=n + 1) for n in range(30)
    ]
    sizes = []

    def size(params):
        sizes.append(sum(len(str(statement["Parameters"])) for statement in params["Statements"]))

    with faults.change_request(storage, "BatchExecuteStatement", size):
        storage.write(events)
    assert max(sizes) < 4_300_000
    assert len(storage.search(EventQuery()).events) == 30


# events above 400 KB


@pytest.mark.parametrize("summary", [None, "", "One sentence.", "é" * 400_000])
def test_an_event_above_400_kb_is_kept_whole(storage, summary):
    event = make_event(diff=LARGE, seq=1, summary=summary)
    assert len(event.text.encode()) > 700_000
    storage.write([event, make_event(seq=2)])
    kept = storage.get(event.id)
    assert (kept.text, kept.leaf_hash, kept.summary, kept.seq) == (event.text, event.leaf_hash, summary, 1)
    found = storage.search(EventQuery(target_types=["policies.Policy"], target_id="1"))
    assert found.events[1].text == event.text


@pytest.mark.parametrize("characters", [*range(357_200, 358_700, 250), 409_000, 420_000])
def test_an_event_of_about_the_limit_is_kept_whole(storage, characters):
    event = make_event(diff={}, extra={"long": "x" * characters}, seq=1)
    storage.write([event])
    assert storage.get(event.id).text == event.text


def test_an_interrupted_large_event_is_not_seen_and_is_kept_when_it_comes_again(storage, faults):
    event = make_event(diff=LARGE, seq=1)
    answers = iter([None, faults.refusal("InternalServerError")])  # the parts, the event
    with (
        faults.answer(storage, "BatchExecuteStatement", lambda: next(answers)),
        pytest.raises(RetryableError),
    ):
        storage.write([event])
    with pytest.raises(KeyError):
        storage.get(event.id)
    assert storage.search(EventQuery()).events == []
    storage.write([event])
    assert storage.get(event.id).text == event.text


def test_a_forged_large_event_changes_no_part(storage, faults):
    event = make_event(diff=LARGE, seq=1, summary="first")
    storage.write([event])
    items = all_items(faults, storage)
    storage.write(
        [make_event(id=event.id, diff=LARGE, action="forged", seq=1), replace(event, summary="second")]
    )
    assert all_items(faults, storage) == items
    assert storage.get(event.id).text == event.text


def test_a_lost_part_is_an_error_and_no_shorter_event(storage, faults):
    event = make_event(diff=LARGE, seq=1)
    storage.write([event])
    [*_, part] = sorted(item["item"]["S"] for item in all_items(faults, storage))
    key = {"event_id": {"S": str(event.id)}, "item": {"S": part}}
    faults.client(storage).delete_item(TableName=storage.table, Key=key)
    with pytest.raises(RetryableError, match="is damaged: 2 of its 3 parts"):
        storage.get(event.id)


def test_a_lost_part_of_what_has_ended_means_that_it_is_being_removed(
    endpoint, storage, make_storage, faults
):
    short = make_storage(storage.table, endpoint_url=endpoint, retention_days=1)
    event = make_event(diff=LARGE, seq=1, occurred_at=datetime.now(UTC) - timedelta(days=3))
    short.write([event])
    items = all_items(faults, storage)
    assert len({item["expires_at"]["N"] for item in items}) == 1
    [part] = [item for item in items if item["item"]["S"].endswith("#00001")]
    key = {name: part[name] for name in ("event_id", "item")}
    faults.client(storage).delete_item(TableName=storage.table, Key=key)
    with pytest.raises(KeyError):
        short.get(event.id)
    assert short.search(EventQuery()).events == []


# long and strange values


def test_values_that_are_too_long_for_a_key_are_kept_and_found(storage):
    long = "ä" * 3000
    event = make_event(f"do {long}", target=f"a.A:{long}", tenant=long, seq=1)
    other = make_event(target=f"a.A:{long}!", tenant=f"{long}!", seq=2)
    storage.write([event, other])
    for filters in (
        {"target_types": ["a.A"], "target_id": long},
        {"tenants": [long]},
        {"actions": [f"do {long}"]},
    ):
        assert [found.id for found in storage.search(EventQuery(**filters)).events] == [event.id]


def test_targets_whose_keys_look_alike_are_told_apart(storage):
    events = [make_event(target="a#b:c", seq=1), make_event(target="a:b#c", seq=2)]
    storage.write(events)
    found = storage.search(EventQuery(target_types=["a#b"], target_id="c")).events
    assert [event.id for event in found] == [events[0].id]


def test_empty_values_are_kept(storage):
    event = make_event("", tenant="", target="a.A:", seq=1, summary="")
    storage.write([event])
    kept = storage.get(event.id)
    assert (kept.text, kept.summary) == (event.text, "")
    assert len(storage.search(EventQuery(tenants=[""])).events) == 1


# what DynamoDB hands back


def statement_errors(code, *, times, of=lambda number: True):
    """The server serves nothing of a batch but says so of some statements, ``times`` times."""
    left = [times]

    def change(parsed):
        if left[0] > 0:
            left[0] -= 1
            for number, result in enumerate(parsed["Responses"]):
                if of(number):
                    result["Error"] = {"Code": code, "Message": "as the server says"}

    return change


@pytest.mark.parametrize(
    "code", ["ThrottlingError", "ProvisionedThroughputExceeded", "InternalServerError", "TransactionConflict"]
)
def test_statements_that_are_handed_back_come_again(storage, faults, code):
    events = make_events(30, first_seq=1)
    sizes = []
    with (
        faults.change_request(
            storage, "BatchExecuteStatement", lambda params: sizes.append(len(params["Statements"]))
        ),
        faults.change_response(
            storage,
            "BatchExecuteStatement",
            statement_errors(code, times=1, of=lambda number: number % 2),
        ),
    ):
        storage.write(events)
    assert sizes == [25, 12, 5]
    assert len(storage.search(EventQuery()).events) == 30


def test_statements_that_are_handed_back_for_ever_are_left_to_the_relay(storage, faults):
    with (
        faults.count(storage) as calls,
        faults.change_response(
            storage, "BatchExecuteStatement", statement_errors("ThrottlingError", times=99)
        ),
        pytest.raises(RetryableError, match="handed 3 item"),
    ):
        storage.write(make_events(3, first_seq=1))
    assert calls["BatchExecuteStatement"] == 6


def test_what_was_written_before_the_answer_was_lost_is_kept_once(storage, faults):
    events = make_events(40, first_seq=1)

    def lose(parsed):
        raise ConnectionResetError

    with (
        faults.change_response(storage, "BatchExecuteStatement", lose),
        pytest.raises(ConnectionResetError),
    ):
        storage.write(events)
    storage.write(events)
    assert [e.id for e in reversed(storage.search(EventQuery()).events)] == [e.id for e in events]


def test_what_is_refused_for_good_is_named_and_all_others_are_kept(storage, faults):
    events = make_events(30, first_seq=1)
    refused = events[7].id

    def change(params):
        for statement in params["Statements"]:
            if statement["Parameters"][0]["S"] == str(refused):
                statement["Statement"] = statement["Statement"].replace("'text':?", "'text':?,'text':?")
                statement["Parameters"].insert(0, {"S": "x"})

    with (
        faults.change_request(storage, "BatchExecuteStatement", change),
        pytest.raises(PartialWrite) as caught,
    ):
        storage.write(events)
    assert list(caught.value.reasons) == [refused]
    assert caught.value.reasons[refused]
    kept = storage.search(EventQuery()).events
    assert {event.id for event in kept} == {event.id for event in events} - {refused}


def test_a_text_that_is_no_event_is_refused_alone(storage):
    good, bad = make_event(seq=1), make_event(seq=2)
    for text in ("{}", "[]", "no JSON", '{"id": 7}'):
        damaged = replace(bad, text=text)
        with pytest.raises(PartialWrite, match="no event") as caught:
            storage.write([damaged, good])
        assert list(caught.value.reasons) == [bad.id]
    assert [event.id for event in storage.search(EventQuery()).events] == [good.id]


def test_a_table_of_another_shape_refuses_no_event(storage, faults):
    wrong = {"Table": dict(faults.client(storage).describe_table(TableName=storage.table)["Table"])}
    wrong["Table"]["GlobalSecondaryIndexes"] = wrong["Table"]["GlobalSecondaryIndexes"][:2]
    with (
        faults.answer(storage, "DescribeTable", lambda: wrong),
        faults.change_response(
            storage, "BatchExecuteStatement", statement_errors("ValidationError", times=1)
        ),
        pytest.raises(ConfigurationError, match="has no index"),
    ):
        storage.write(make_events(2, first_seq=1))


def test_a_missing_table_is_a_matter_for_a_person(endpoint, make_storage):
    storage = make_storage("no-such-table", endpoint_url=endpoint)
    with pytest.raises(ConfigurationError, match=r"'no-such-table'.*does not exist. Run setup"):
        storage.write([make_event(seq=1)])
    with pytest.raises(ConfigurationError, match="does not exist"):
        storage.search(EventQuery())


def test_after_close_it_goes_on(storage):
    storage.write([make_event(seq=1)])
    storage.close()
    assert len(storage.search(EventQuery()).events) == 1

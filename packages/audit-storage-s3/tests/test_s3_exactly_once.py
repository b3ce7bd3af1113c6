"""Every event is in one object, however batches are cut, repeated, delayed and raced."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from audit_core.codec import leaf_hash
from audit_core.errors import ConfigurationError, PartialWrite, RetryableError
from audit_core.event import RecordedEvent
from audit_core.testing import make_event, make_events
from audit_storage_s3.errors import DamagedObject
from audit_storage_s3.storage import S3Storage

pytestmark = pytest.mark.integration

Make = Callable[..., S3Storage]
Keys = Callable[[S3Storage], list[str]]


@pytest.fixture(params=["jsonl", "parquet"])
def format_(request: pytest.FixtureRequest) -> str:
    if request.param == "parquet":
        pytest.importorskip("pyarrow")
    return str(request.param)


def seqs(storage: S3Storage) -> list[int | None]:
    return [event.seq for event in storage.read()]


@pytest.mark.parametrize("second", [(0, 10), (0, 3), (3, 7), (3, 20), (9, 20), (0, 20)])
@pytest.mark.parametrize("fresh", [True, False], ids=["another process", "the same process"])
def test_a_batch_that_is_cut_differently_is_stored_once(
    make: Make, second: tuple[int, int], fresh: bool
) -> None:
    storage = make()
    storage.setup()
    events = make_events(20, first_seq=1)
    storage.write(events[:10])
    (make() if fresh else storage).write(events[slice(*second)])
    (make() if fresh else storage).write(events)
    assert seqs(storage) == list(range(1, 21))


def test_the_names_follow_from_the_seqs(storage: S3Storage, keys: Keys, long_ago: datetime) -> None:
    events = make_events(9, first_seq=101, tenant="acme", occurred_at=long_ago)
    storage.write(events[:3])
    storage.write(events[3:8])
    storage.write(events[8:])
    day = f"events/tenant=acme/date={long_ago:%Y-%m-%d}"
    assert keys(storage) == [
        f"{day}/0000000000000000-000000.jsonl.gz",
        f"{day}/0000000000000104-000000.jsonl.gz",
        f"{day}/0000000000000109-000000.jsonl.gz",
    ]


def test_a_zombie_that_knew_less_stores_nothing_twice(make: Make) -> None:
    zombie, heir = make(), make()
    zombie.setup()
    events = make_events(30, first_seq=1)
    zombie.write(events[:5])  # from here on it knows the chain, and believes that it is alone
    heir.write(events[:15])
    zombie.write(events[5:20])
    heir.write(events[10:25])
    zombie.write(events[15:])
    assert seqs(heir) == list(range(1, 31))


def test_events_that_come_late_are_kept_once(make: Make) -> None:
    # What was parked is retried long after its neighbours; a consumer of a stream sees partitions one after the other.
    storage = make()
    storage.setup()
    events = make_events(12, first_seq=1)
    storage.write(events[6:])
    storage.write(events[2:4])
    make().write(events[:8])
    make().write([*events[4:6], *events[:2]])
    assert sorted(seqs(storage)) == list(range(1, 13))  # type: ignore[type-var]


def test_another_event_under_a_known_seq_is_kept(make: Make) -> None:
    # A log that was restored from a backup gives numbers anew. Losing an event would be worse than a number twice.
    storage = make()
    storage.setup()
    before, after = make_events(5, first_seq=1), make_events(5, first_seq=3)
    storage.write(before)
    make().write(after)
    make().write(after)
    assert sorted(event.id for event in storage.read()) == sorted(event.id for event in [*before, *after])


def test_the_same_event_under_a_smaller_seq_is_known(make: Make) -> None:
    storage = make()
    storage.setup()
    events = make_events(4, first_seq=10)
    storage.write(events)
    renumbered = [RecordedEvent(e.id, e.text, e.leaf_hash, seq=n) for n, e in enumerate(events, start=1)]
    make().write(renumbered)
    assert seqs(storage) == [10, 11, 12, 13]


def test_events_without_seq_are_kept_once(make: Make) -> None:
    storage = make()
    storage.setup()
    events = make_events(6)
    storage.write(events[:3])
    make().write(events[1:5])
    make().write(events)
    assert [event.id for event in storage.read()] == [event.id for event in events]


def test_an_acknowledgement_that_is_lost(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = make()
    storage.setup()
    events = make_events(10, first_seq=1)
    storage.write(events[:1])
    put = storage.bucket.client.put_object

    def cut(**arguments: Any) -> Any:
        put(**arguments)
        assert "/events/" in arguments["Key"]
        raise ReadTimeoutError(endpoint_url="s3")

    with monkeypatch.context() as patch:
        patch.setattr(storage.bucket.client, "put_object", cut)
        with pytest.raises(RetryableError, match="ReadTimeoutError"):
            storage.write(events[:6])
    storage.write(events)
    assert seqs(storage) == list(range(1, 11))


def test_one_partition_fails_and_the_others_are_known_next_time(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = make()
    storage.setup()
    events = [make_event(tenant=f"t{n % 5}", seq=n) for n in range(1, 21)]
    put = storage.bucket.client.put_object

    def fail(**arguments: Any) -> Any:
        if "tenant=t3" in arguments["Key"]:
            raise ReadTimeoutError(endpoint_url="s3")
        return put(**arguments)

    with monkeypatch.context() as patch:
        patch.setattr(storage.bucket.client, "put_object", fail)
        with pytest.raises(RetryableError):
            storage.write(events)
    make().write(events)
    assert sorted(seqs(storage)) == list(range(1, 21))  # type: ignore[type-var]


def test_what_no_column_can_hold_is_refused_alone(make: Make, format_: str) -> None:
    storage = make(format=format_)
    storage.setup()
    events = make_events(4, first_seq=1)

    def forged(event: RecordedEvent, **parts: Any) -> RecordedEvent:
        return replace(event, text=json.dumps({**event.event.to_dict(), **parts}))

    bad = [
        replace(events[0], seq=2**70),
        forged(events[1], actor={"id": 7}),
        forged(events[2], target={"type": "a.B", "repr": {"a": 1}}),
    ]
    with pytest.raises(PartialWrite) as refused:
        storage.write([*bad, events[3]])
    assert refused.value.reasons.keys() == {event.id for event in bad}
    assert seqs(storage) == [4]


def test_a_label_that_is_no_utf8_is_kept(make: Make, format_: str) -> None:
    storage = make(format=format_)
    storage.setup()
    event = make_event(seq=1)
    text = json.dumps({**event.event.to_dict(), "actor": {"id": "1", "repr": "A\ud800"}})
    event = replace(event, text=text, leaf_hash=leaf_hash(text))
    storage.write([event])
    assert list(storage.read()) == [event]


@pytest.mark.parametrize(
    "tenant",
    ["x" * 240, "x" * 241, "é" * 40, "é" * 41, "😀" * 300, ".", "..", "a/b", "%", "\\", "a\nb", "*?"],
)
def test_a_tenant_of_any_name(make: Make, tenant: str) -> None:
    storage = make()
    storage.setup()
    event = make_event(tenant=tenant, seq=1)
    storage.write([event])
    make().write([event])
    assert list(storage.read(tenants=[tenant])) == [event]


def test_a_store_that_ignores_the_condition_is_given_nothing(
    make: Make, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = make()
    storage.setup()
    put = storage.bucket.client.put_object
    with monkeypatch.context() as patch:
        patch.setattr(
            storage.bucket.client,
            "put_object",
            lambda **arguments: put(**{k: v for k, v in arguments.items() if k != "IfNoneMatch"}),
        )
        with pytest.raises(ConfigurationError, match="ignores If-None-Match"):
            storage.write(make_events(1, first_seq=1))
    assert keys(storage) == []


def test_many_objects_are_not_kept_in_mind(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit_storage_s3.chain.MAX_LISTED", 3)
    storage = make()
    storage.setup()
    events = make_events(20, first_seq=1)
    for n in range(10, 20):
        storage.write(events[n : n + 1])
    [chain] = storage._chains.values()
    assert chain._objects is None
    make().write(events[5:8])  # somebody else brings late ones
    storage.write(events[:15])
    storage.write(events)
    assert sorted(seqs(storage)) == list(range(1, 21))  # type: ignore[type-var]


def test_an_object_that_lost_its_metadata_is_told(make: Make, keys: Keys) -> None:
    # A copy by way of a disk has none. To guess that no event is in it would store all of them twice.
    storage = make()
    storage.setup()
    events = make_events(4, first_seq=1)
    storage.write(events[:2])
    key = storage.settings.prefix + keys(storage)[0]
    found = storage.bucket.get(key)
    assert found is not None
    storage.bucket.ask("put_object", Key=key, Body=found.body)
    with pytest.raises(DamagedObject, match="lost its metadata"):
        make().write(events)
    assert seqs(storage) == [1, 2]


@pytest.mark.parametrize("forge", [lambda body: b"forged", lambda body: body[:-12]], ids=["other", "cut"])
def test_an_object_that_cannot_be_read_is_told(
    make: Make, keys: Keys, format_: str, forge: Callable[[bytes], bytes]
) -> None:
    storage = make(format=format_)
    storage.setup()
    events = make_events(4, first_seq=1)
    storage.write(events[:2])
    key = storage.settings.prefix + keys(storage)[0]
    found = storage.bucket.get(key)
    assert found is not None
    storage.bucket.ask("put_object", Key=key, Body=forge(found.body), Metadata=dict(found.metadata))
    with pytest.raises(DamagedObject, match="cannot be read"):
        list(storage.read())
    with pytest.raises(DamagedObject, match="cannot be read"):
        make(format=format_).write(events)


def test_a_damaged_text_is_refused_and_keeps_nobody_out(storage: S3Storage) -> None:
    good, bad = make_events(2, first_seq=1)
    bad = RecordedEvent(bad.id, '{"id": 1', bad.leaf_hash, seq=2)
    with pytest.raises(PartialWrite) as refused:
        storage.write([bad, good])
    assert list(refused.value.reasons) == [bad.id]
    assert seqs(storage) == [1]


@pytest.mark.parametrize("seed", range(3))
def test_workers_with_cursors_of_their_own_race(make: Make, seed: int) -> None:
    """Each worker delivers everything, cut by chance, from processes that start again by chance."""
    events = [make_event(tenant=f"t{n % 2}", seq=n, summary=str(n)) for n in range(1, 61)]
    make().setup()
    failures: list[BaseException] = []

    def work(chance: random.Random) -> None:
        try:
            storage, position = make(), 0
            while position < len(events):
                through = position + chance.randint(1, 15)
                storage.write(events[position:through])
                position = through - chance.randint(0, 3)  # the cursor did not move as far
                if through >= len(events):
                    break
                if chance.random() < 0.2:
                    storage = make()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(random.Random(seed * 10 + n),)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures
    assert sorted(seqs(make())) == list(range(1, 61))  # type: ignore[type-var]


def test_without_the_condition_the_race_would_be_lost(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above must be able to fail: a client that leaves the condition out loses events."""
    zombie, heir = make(), make()
    zombie.setup()
    events = make_events(10, first_seq=1)
    zombie.write(events[:2])
    heir.write(events[:6])
    put = zombie.bucket.client.put_object
    monkeypatch.setattr(
        zombie.bucket.client,
        "put_object",
        lambda **arguments: put(**{k: v for k, v in arguments.items() if k != "IfNoneMatch"}),
    )
    zombie.write(events[2:4])
    assert seqs(heir) != list(range(1, 7))

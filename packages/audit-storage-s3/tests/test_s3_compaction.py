"""Small objects become large ones; nothing is lost or seen twice, whenever it is interrupted and whoever writes meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from audit_core.errors import ConfigurationError, RetryableError
from audit_core.event import RecordedEvent
from audit_core.testing import make_event, make_events
from audit_storage_s3.compaction import compact
from audit_storage_s3.errors import DamagedObject
from audit_storage_s3.manifest import read, verify
from audit_storage_s3.storage import S3Storage

pytestmark = pytest.mark.integration

Make = Callable[..., S3Storage]
Keys = Callable[[S3Storage], list[str]]


@pytest.fixture(params=["jsonl", "parquet"])
def format_(request: pytest.FixtureRequest) -> str:
    if request.param == "parquet":
        pytest.importorskip("pyarrow")
    return str(request.param)


def fill(
    storage: S3Storage, moment: datetime, *, batches: int = 6, tenant: str | None = "acme"
) -> list[RecordedEvent]:
    events = make_events(batches * 3, first_seq=1, tenant=tenant, occurred_at=moment)
    for start in range(0, len(events), 3):
        storage.write(events[start : start + 3])
    return events


def test_a_day_becomes_one_object(make: Make, keys: Keys, long_ago: datetime, format_: str) -> None:
    storage = make(format=format_)
    storage.setup()
    events = fill(storage, long_ago)
    told: list[int] = []
    planned = compact(storage, dry_run=True)
    assert len(keys(storage)) == 6
    done = compact(storage, progress=told.append)
    assert done == planned
    assert (done.days, done.objects, done.into, sum(told)) == (1, 6, 1, 6)
    assert len(keys(storage)) == 1
    assert list(storage.read()) == events
    assert compact(storage).objects == 0
    assert verify(storage) == []


def test_a_writer_knows_what_was_compacted(make: Make, keys: Keys, long_ago: datetime) -> None:
    storage, writer = make(), make()
    storage.setup()
    events = fill(storage, long_ago)
    writer.write(events[:3])  # it knows the chain as it was
    compact(storage)
    late = [make_event(tenant="acme", occurred_at=long_ago, seq=n) for n in (19, 20)]
    writer.write([*events[-2:], *late])
    make().write([*events, *late])
    assert [event.seq for event in storage.read()] == list(range(1, 21))
    assert compact(storage).into == 1
    assert [event.seq for event in storage.read()] == list(range(1, 21))
    assert len(keys(storage)) == 1
    assert verify(storage) == []


def test_a_writer_from_before_does_not_write_behind_a_compacted_object(
    make: Make, keys: Keys, long_ago: datetime
) -> None:
    storage, stale = make(), make()
    storage.setup()
    events = fill(storage, long_ago, batches=2)
    stale.write(events[:3])
    more = [make_event(tenant="acme", occurred_at=long_ago, seq=n) for n in range(7, 13)]
    storage.write(more[:3])  # the place that the stale writer believes to be free
    compact(storage)
    assert len(keys(storage)) == 1
    stale.write(more)
    assert [event.seq for event in storage.read()] == list(range(1, 13))
    assert len(keys(storage)) == 2


def test_a_writer_from_before_that_cannot_look_again_loses_nothing(
    make: Make, keys: Keys, long_ago: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, stale = make(), make()
    storage.setup()
    stale.write(fill(storage, long_ago, batches=2)[:3])
    more = [make_event(tenant="acme", occurred_at=long_ago, seq=n) for n in range(7, 13)]
    storage.write(more[:3])
    compact(storage)

    def cut(prefix: str) -> Any:
        raise RetryableError("the connection was lost after the object was made")

    with monkeypatch.context() as patch:
        patch.setattr(stale.bucket, "objects", cut)
        with pytest.raises(RetryableError):
            stale.write(more)
    assert len(keys(storage)) == 2  # it was made, behind the compacted one, where nobody looks
    stale.write(more)
    compact(storage)
    assert [event.seq for event in storage.read()] == list(range(1, 13))


def test_today_and_yesterday_are_left_alone(make: Make, keys: Keys) -> None:
    storage = make()
    storage.setup()
    now = datetime.now(UTC)
    fill(storage, now, batches=2)
    fill(storage, now - timedelta(days=1), batches=2)
    assert compact(storage).objects == 0
    assert len(keys(storage)) == 4


def test_large_objects_are_left_alone_and_small_ones_fill_up_to_the_target(
    make: Make, keys: Keys, long_ago: datetime
) -> None:
    storage = make()
    storage.setup()
    events = fill(storage, long_ago)
    size = max(size for _, size, _ in storage.bucket.objects(storage.settings.prefix + "events/"))
    done = compact(storage, target_bytes=int(size * 3.5))
    assert (done.objects, done.into, len(keys(storage))) == (6, 2, 2)
    assert compact(storage, target_bytes=size).objects == 0
    assert list(storage.read()) == events


@pytest.mark.parametrize("step", range(1, 8))
@pytest.mark.parametrize("answered", [True, False], ids=["done", "not done"])
def test_an_interrupted_compaction_is_finished(
    make: Make, keys: Keys, long_ago: datetime, monkeypatch: pytest.MonkeyPatch, step: int, answered: bool
) -> None:
    storage = make()
    storage.setup()
    events = fill(storage, long_ago, batches=3) + fill(storage, long_ago, batches=3, tenant="other")
    client, calls = storage.bucket.client, 0

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(**arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls >= step:
                if calls == step and answered:
                    call(**arguments)
                raise ReadTimeoutError(endpoint_url="s3")
            return call(**arguments)

        return wrapped

    with monkeypatch.context() as patch:
        for name in ("put_object", "delete_objects"):
            patch.setattr(client, name, dying(getattr(client, name)))
        try:
            compact(storage)
        except RetryableError:
            assert calls == step
        else:
            assert calls < step  # there are not so many steps
    by_id = {event.id: event for event in storage.read()}
    assert by_id == {event.id: event for event in events}
    assert len(list(storage.read())) == len(events)
    heir = make()
    heir.write(events)
    compact(heir)
    assert len(keys(storage)) == 2
    assert len(list(storage.read())) == len(events)
    manifest, _ = read(storage.bucket, long_ago.date())
    assert manifest is not None
    assert (manifest.count, manifest.runs) == (len(events), ())
    assert verify(storage) == []


def test_what_was_begun_is_finished_as_it_was_begun(
    make: Make, keys: Keys, long_ago: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever began may still be at work. Two plans at once could overlap.
    storage = make()
    storage.setup()
    events = fill(storage, long_ago)

    def die(*_: Any) -> None:
        raise RetryableError("the process was killed")

    with monkeypatch.context() as patch:
        patch.setattr("audit_storage_s3.compaction._merge", die)
        with pytest.raises(RetryableError):
            compact(storage)
    size = max(size for _, size, _ in storage.bucket.objects(storage.settings.prefix + "events/"))
    assert compact(make(), target_bytes=int(size * 3.5)).into == 1
    assert len(keys(storage)) == 1
    assert list(storage.read()) == events


def test_an_object_that_goes_while_it_is_merged(
    make: Make, keys: Keys, long_ago: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, other = make(), make()
    storage.setup()
    events = fill(storage, long_ago)
    get, calls = storage.bucket.get, 0

    def slow(key: str) -> Any:
        nonlocal calls
        calls += "/events/" in key
        if calls == 3:
            calls += 1
            compact(other)
        return get(key)

    monkeypatch.setattr(storage.bucket, "get", slow)
    compact(storage)
    assert calls > 3
    assert len(keys(storage)) == 1
    assert list(other.read()) == events
    assert verify(other) == []


def test_two_compactions_at_once(make: Make, keys: Keys, long_ago: datetime) -> None:
    storage = make()
    storage.setup()
    events = fill(storage, long_ago)
    failures: list[BaseException] = []
    start = threading.Barrier(2)

    def work(target_bytes: int) -> None:
        try:
            mine = make()
            start.wait(30)
            compact(mine, target_bytes=target_bytes)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(target,)) for target in (2_500, 1_000_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert list(storage.read()) == events
    compact(storage)
    assert list(storage.read()) == events
    assert verify(storage) == []


def test_a_day_that_is_compacted_while_it_is_read(make: Make, long_ago: datetime) -> None:
    storage = make()
    storage.setup()
    events = fill(storage, long_ago)
    reader = make().read()
    first = [next(reader) for _ in range(4)]
    compact(storage)
    assert first + list(reader) == events


def test_a_damaged_object_is_left_alone(make: Make, keys: Keys, long_ago: datetime) -> None:
    storage = make()
    storage.setup()
    fill(storage, long_ago)
    key = storage.settings.prefix + keys(storage)[2]
    found = storage.bucket.get(key)
    assert found is not None
    storage.bucket.ask("put_object", Key=key, Body=found.body + b" ", Metadata=dict(found.metadata))
    with pytest.raises(DamagedObject, match="is not what was written"):
        compact(storage)
    assert len(keys(storage)) == 6


def test_small_objects_that_may_not_be_deleted(
    make: Make, keys: Keys, long_ago: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = make()
    storage.setup()
    events = fill(storage, long_ago)
    with monkeypatch.context() as patch:
        patch.setattr(
            storage.bucket.client,
            "delete_objects",
            lambda **_: {"Errors": [{"Key": "k", "Code": "AccessDenied"}]},
        )
        with pytest.raises(ConfigurationError, match="Allow s3:DeleteObject"):
            compact(storage)
    assert list(storage.read()) == events  # ours leave the old ones out
    compact(storage)
    assert len(keys(storage)) == 1

"""setup() and check() on a real server."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from audit_core.errors import ConfigurationError
from audit_core.testing import make_events
from audit_storage_s3.storage import S3Storage

pytestmark = pytest.mark.integration

Make = Callable[..., S3Storage]


def test_a_good_bucket(storage: S3Storage) -> None:
    assert storage.check() == []
    assert storage.check() == []
    assert list(storage.read()) == []


def test_setup_leaves_a_bucket_and_its_events_alone(storage: S3Storage) -> None:
    events = make_events(2, first_seq=1)
    storage.write(events)
    storage.setup()
    assert list(storage.read()) == events


def test_setup_makes_a_bucket_with_lock(make: Make) -> None:
    storage = make(bucket=f"audit-new-{uuid.uuid4().hex[:8]}", object_lock="GOVERNANCE", retention_days=1)
    storage.setup()
    storage.setup()
    assert storage.check() == []
    answer = storage.bucket.ask("get_object_lock_configuration")
    assert answer["ObjectLockConfiguration"]["ObjectLockEnabled"] == "Enabled"


def test_a_missing_bucket_says_so_and_loses_nothing(make: Make) -> None:
    storage = make(bucket=f"audit-none-{uuid.uuid4().hex[:8]}")
    [problem] = storage.check()
    assert "does not exist. Create it with setup()" in problem
    events = make_events(1, first_seq=1)
    with pytest.raises(ConfigurationError, match="does not exist"):
        storage.write(events)
    storage.setup()
    storage.write(events)
    assert list(storage.read()) == events


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials(
    make: Make, storage: S3Storage, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "wrong-and-secret")
    other = make()
    [problem] = other.check()
    assert "credentials are wrong" in problem
    assert "wrong-and-secret" not in problem
    with pytest.raises(ConfigurationError, match="credentials are wrong"):
        other.write(make_events(1, first_seq=1))


def test_a_clock_that_is_an_hour_off(storage: S3Storage) -> None:
    events = make_events(1, first_seq=1)
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=1)):
        [problem] = storage.check()
        assert "clock is more than 15 minutes away" in problem
        with pytest.raises(ConfigurationError, match="clock is more than 15 minutes away"):
            storage.write(events)
    storage.write(events)
    assert list(storage.read()) == events


def test_a_clock_that_is_a_little_off(storage: S3Storage) -> None:
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=5)):
        [problem] = storage.check()
    assert re.search(r"clock is (299|30\d) s ahead of S3's", problem)


def test_a_store_without_conditional_writes(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    put = storage.bucket.client.put_object

    def without(condition: str) -> Callable[..., Any]:
        return lambda **arguments: put(**{k: v for k, v in arguments.items() if k != condition})

    monkeypatch.setattr(storage.bucket.client, "put_object", without("IfNoneMatch"))
    [problem] = storage.check()
    assert "ignores If-None-Match" in problem
    monkeypatch.setattr(storage.bucket.client, "put_object", without("IfMatch"))
    [problem] = storage.check()
    assert "ignores If-Match" in problem


def test_a_prefix_holds_one_format(make: Make, storage: S3Storage) -> None:
    assert storage.check() == []
    storage.write(make_events(1, first_seq=1))
    pytest.importorskip("pyarrow")
    other = make(format="parquet")
    [problem] = other.check()
    assert "A prefix holds one format" in problem
    with pytest.raises(ConfigurationError, match="A prefix holds one format"):
        other.write(make_events(1, first_seq=2))


def test_a_layout_that_is_none_is_told(storage: S3Storage) -> None:
    storage.bucket.ask("put_object", Key=storage.settings.prefix + "layout.json", Body=b"\xff nonsense")
    [problem] = storage.check()
    assert "nonsense" in problem


def test_a_marker_of_another_program_is_no_event(storage: S3Storage) -> None:
    events = make_events(1, first_seq=1)
    storage.write(events)
    [partition] = storage.partitions()
    for name in ("", "_SUCCESS"):
        storage.bucket.ask("put_object", Key=storage.settings.prefix + partition.folder + name, Body=b"")
    assert list(storage.read()) == events
    storage.forget()
    storage.write(make_events(1, first_seq=2))
    assert len(list(storage.read())) == 2

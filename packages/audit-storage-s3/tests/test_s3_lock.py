"""Object Lock, encryption, and removing what may be removed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from audit_core.errors import ConfigurationError, RetryableError
from audit_core.testing import make_event, make_events
from audit_storage_s3.compaction import compact
from audit_storage_s3.errors import LOCKED
from audit_storage_s3.manifest import read, verify
from audit_storage_s3.storage import S3Storage

pytestmark = pytest.mark.integration

Make = Callable[..., S3Storage]
Keys = Callable[[S3Storage], list[str]]


@pytest.mark.parametrize("mode", ["COMPLIANCE", "GOVERNANCE"])
def test_a_locked_object_cannot_be_deleted(make: Make, keys: Keys, mode: str) -> None:
    storage = make(object_lock=mode, retention_days=2)
    storage.setup()
    assert storage.check() == []
    storage.write(make_events(3, first_seq=1))
    key = storage.settings.prefix + keys(storage)[0]
    head = storage.bucket.ask("head_object", Key=key)
    assert head["ObjectLockMode"] == mode
    left = head["ObjectLockRetainUntilDate"] - datetime.now(UTC)
    assert timedelta(days=2, minutes=-5) < left <= timedelta(days=2)
    [version] = storage.bucket.versions(key)
    [refused] = storage.bucket.delete([{"Key": key, "VersionId": version.version_id}])
    assert refused["Code"] in LOCKED
    assert storage.bucket.get(key) is not None


def test_pruning_what_is_locked_removes_nothing(make: Make, long_ago: datetime) -> None:
    storage = make(object_lock="COMPLIANCE", retention_days=1)
    storage.setup()
    events = make_events(3, first_seq=1, occurred_at=long_ago)
    storage.write(events)
    for dry_run in (True, False):
        with pytest.raises(ConfigurationError, match=r"Object Lock keeps .* so nothing was removed"):
            storage.prune(datetime.now(UTC), dry_run=dry_run)
    assert list(storage.read()) == events


def test_a_lock_that_is_seen_only_when_deleting(make: Make, long_ago: datetime) -> None:
    # A version that is hidden may be locked although the one that counts is not.
    storage = make(object_lock="COMPLIANCE", retention_days=1)
    storage.setup()
    storage.write(make_events(3, first_seq=1, occurred_at=long_ago))
    [partition] = storage.partitions()
    storage.bucket.delete([{"Key": stored.key} for stored in storage.objects(partition)])
    make(bucket=storage.settings.bucket).write(make_events(2, first_seq=1, occurred_at=long_ago))
    with pytest.raises(ConfigurationError, match="versions in .* could not be removed"):
        storage.prune(datetime.now(UTC))


def test_a_legal_hold(make: Make, keys: Keys, long_ago: datetime) -> None:
    locked = make(object_lock="COMPLIANCE", retention_days=1)
    locked.setup()
    storage = make(bucket=locked.settings.bucket)
    storage.write(make_events(3, first_seq=1, occurred_at=long_ago))
    key = storage.settings.prefix + keys(storage)[0]
    storage.bucket.ask("put_object_legal_hold", Key=key, LegalHold={"Status": "ON"})
    with pytest.raises(ConfigurationError, match="by a legal hold"):
        storage.prune(datetime.now(UTC))
    storage.bucket.ask("put_object_legal_hold", Key=key, LegalHold={"Status": "OFF"})
    assert storage.prune(datetime.now(UTC)) == 3


def test_compaction_hides_what_is_locked(make: Make, keys: Keys, long_ago: datetime) -> None:
    storage = make(object_lock="COMPLIANCE", retention_days=1)
    storage.setup()
    events = make_events(6, first_seq=1, occurred_at=long_ago)
    storage.write(events[:3])
    storage.write(events[3:])
    compact(storage)
    assert len(keys(storage)) == 1
    assert list(storage.read()) == events
    assert verify(storage) == []
    [partition] = storage.partitions()
    versions = list(storage.bucket.versions(storage.settings.prefix + partition.folder))
    assert sum(not version.is_marker for version in versions) == 3  # none of them is gone
    make(object_lock="COMPLIANCE", retention_days=1).write(events)
    assert list(storage.read()) == events


def test_pruning_removes_every_version_of_whole_days(make: Make, long_ago: datetime) -> None:
    locked = make(object_lock="GOVERNANCE", retention_days=1)
    locked.setup()
    storage = make(bucket=locked.settings.bucket)  # with versions, and without a lock
    old = make_events(6, first_seq=1, occurred_at=long_ago)
    storage.write(old[:3])
    storage.write(old[3:])
    compact(storage)
    kept = [make_event(occurred_at=long_ago + timedelta(days=1), seq=7)]
    storage.write(kept)
    moment = (long_ago + timedelta(days=1)).replace(hour=23)
    assert storage.prune(moment, dry_run=True) == 6
    assert storage.prune(moment) == 6
    assert list(storage.read()) == kept
    [partition] = storage.partitions()
    assert partition.day == kept[0].event.occurred_at.date()
    assert {v.key for v in storage.bucket.versions(storage.settings.prefix + "events/")} == {
        storage.objects(partition)[0].key
    }
    manifest, _ = read(storage.bucket, long_ago.date())
    assert manifest is not None
    assert (manifest.pruned, manifest.objects) == (6, ())
    storage.write(old[:1])  # what comes after all is kept again
    assert len(list(storage.read())) == 2


def test_a_pruning_that_is_interrupted_does_not_look_like_a_theft(
    storage: S3Storage, long_ago: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = make_events(3, first_seq=1, occurred_at=long_ago)
    storage.write(events)
    compact(storage)
    client = storage.bucket.client
    delete = client.delete_objects

    def cut(**arguments: Any) -> Any:
        delete(**arguments)
        raise ReadTimeoutError(endpoint_url="s3")

    with monkeypatch.context() as patch:
        patch.setattr(client, "delete_objects", cut)
        with pytest.raises(RetryableError):
            storage.prune(datetime.now(UTC))
    storage.prune(datetime.now(UTC))
    assert verify(storage) == []


def test_a_bucket_without_lock_says_so(make: Make, storage: S3Storage) -> None:
    locked = make(bucket=storage.settings.bucket, object_lock="COMPLIANCE", retention_days=1)
    assert any("made without Object Lock" in problem for problem in locked.check())
    with pytest.raises(ConfigurationError, match="made without Object Lock"):
        locked.write(make_events(1, first_seq=1))


def test_every_object_is_encrypted(make: Make, keys: Keys, storage: S3Storage) -> None:
    storage.write(make_events(2, first_seq=1))
    head: dict[str, Any] = storage.bucket.ask(
        "head_object", Key=storage.settings.prefix + keys(storage)[0], ChecksumMode="ENABLED"
    )
    assert head["ServerSideEncryption"] == "AES256"
    assert "ChecksumSHA256" in head


def test_an_unknown_kms_key_says_so(make: Make, storage: S3Storage) -> None:
    other = make(encryption="aws:kms", kms_key_id="no-such-key")
    with pytest.raises(ConfigurationError, match="KMS key was refused"):
        other.write(make_events(1, first_seq=1))
    assert any("KMS" in problem for problem in other.check())

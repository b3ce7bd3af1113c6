"""Manifests notice what was changed, removed and added, themselves included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime

import pytest

from audit_core.testing import make_event, make_events
from audit_storage_s3.compaction import compact
from audit_storage_s3.errors import DamagedObject
from audit_storage_s3.manifest import Entry, Manifest, key_of, parse, publish, read, update, verify
from audit_storage_s3.storage import S3Storage

DAY = date(2026, 3, 3)
ENTRY = Entry("events/tenant=a/date=2026-03-03/x.jsonl.gz", 10, "ab", 3, 1, 3)


def test_a_manifest_is_read_as_it_was_written() -> None:
    manifest = Manifest(DAY, (ENTRY, replace(ENTRY, key="y", first_seq=None, last_seq=None)), "cd")
    assert parse(manifest.to_bytes(), "k") == manifest
    assert manifest.count == 6


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"count":3', b'"count":2'),
        (b'"sha256":"ab"', b'"sha256":"ac"'),
        (b"}", b" }"),
        (b"{", b"["),
        (b"date", b"dat3"),
    ],
)
def test_a_manifest_that_was_changed_is_noticed(old: bytes, new: bytes) -> None:
    body = Manifest(DAY, (ENTRY,)).to_bytes()
    assert old in body
    with pytest.raises(DamagedObject):
        parse(body.replace(old, new), "k")


@pytest.mark.integration
class TestOnTheServer:
    @pytest.fixture
    def storage(self, storage: S3Storage, long_ago: datetime) -> S3Storage:
        storage.write(make_events(4, first_seq=1, tenant="a", occurred_at=long_ago))
        storage.write(make_events(4, first_seq=5, tenant="b", occurred_at=long_ago))
        compact(storage)
        assert verify(storage) == []
        return storage

    def test_an_object_that_was_changed(
        self, storage: S3Storage, keys: Callable[[S3Storage], list[str]]
    ) -> None:
        storage.bucket.ask("put_object", Key=storage.settings.prefix + keys(storage)[0], Body=b"forged")
        [problem] = verify(storage)
        assert "is not what the manifest of" in problem

    def test_an_object_that_was_removed(
        self, storage: S3Storage, keys: Callable[[S3Storage], list[str]]
    ) -> None:
        storage.bucket.delete([{"Key": storage.settings.prefix + keys(storage)[0]}])
        [problem] = verify(storage)
        assert "is missing" in problem

    def test_a_whole_day_that_was_removed(
        self, storage: S3Storage, keys: Callable[[S3Storage], list[str]]
    ) -> None:
        storage.bucket.delete({"Key": storage.settings.prefix + key} for key in keys(storage))
        assert len(verify(storage)) == 2

    def test_an_object_that_was_added(self, storage: S3Storage, long_ago: datetime) -> None:
        storage.write([make_event(tenant="a", seq=9, occurred_at=long_ago)])
        told: list[int] = []
        [problem] = verify(storage, progress=told.append)
        assert "not in the manifest" in problem
        assert sum(told) == 2
        compact(storage)
        assert verify(storage) == []

    @pytest.mark.parametrize("forged", [True, False], ids=["changed", "removed"])
    def test_a_new_manifest_hides_nothing(
        self, storage: S3Storage, keys: Callable[[S3Storage], list[str]], long_ago: datetime, forged: bool
    ) -> None:
        key = storage.settings.prefix + keys(storage)[0]
        if forged:
            storage.bucket.ask("put_object", Key=key, Body=b"forged")
        else:
            storage.bucket.delete([{"Key": key}])
        before = read(storage.bucket, long_ago.date())
        with pytest.raises(DamagedObject, match="missing or was changed since the manifest"):
            compact(storage)
        assert read(storage.bucket, long_ago.date()) == before

    def test_a_manifest_that_was_changed(self, storage: S3Storage, long_ago: datetime) -> None:
        key = storage.settings.prefix + key_of(long_ago.date())
        found = storage.bucket.get(key)
        assert found is not None
        storage.bucket.ask("put_object", Key=key, Body=found.body.replace(b'"count":4', b'"count":3'))
        [problem] = verify(storage)
        assert "does not match its own digest" in problem

    def test_a_day_without_a_manifest(self, storage: S3Storage, long_ago: datetime) -> None:
        storage.bucket.delete([{"Key": storage.settings.prefix + key_of(long_ago.date())}])
        [problem] = verify(storage)
        assert "has no manifest" in problem

    def test_a_new_manifest_names_the_one_it_replaces(self, storage: S3Storage, long_ago: datetime) -> None:
        old, _ = read(storage.bucket, long_ago.date())
        storage.write([make_event(tenant="c", seq=9, occurred_at=long_ago)])
        compact(storage)
        new, _ = read(storage.bucket, long_ago.date())
        assert old is not None
        assert new is not None
        assert new.replaces == old.digest

    def test_of_two_that_replace_it_one_has_to_look_again(
        self, storage: S3Storage, long_ago: datetime
    ) -> None:
        day = long_ago.date()
        manifest, etag = read(storage.bucket, day)
        assert manifest is not None
        assert not publish(storage.bucket, manifest, None)  # there is one
        assert publish(storage.bucket, replace(manifest, pruned=1), etag)
        assert not publish(storage.bucket, replace(manifest, pruned=2), etag)
        assert read(storage.bucket, day)[0] == replace(manifest, pruned=1)

    def test_an_update_is_applied_to_what_came_in_between(
        self, storage: S3Storage, long_ago: datetime
    ) -> None:
        day, seen = long_ago.date(), []

        def change(old: Manifest) -> Manifest:
            seen.append(old.pruned)
            if len(seen) == 1:
                update(storage.bucket, day, lambda other: replace(other, pruned=41))
            return replace(old, pruned=(old.pruned or 0) + 1)

        assert update(storage.bucket, day, change).pruned == 42
        assert seen == [None, 41]

"""Removing whole days, as far as Object Lock lets go of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from audit_core.errors import ConfigurationError
from audit_storage_s3 import manifest as manifests
from audit_storage_s3.bucket import Found
from audit_storage_s3.errors import LOCKED
from audit_storage_s3.layout import Partition, facts_in
from audit_storage_s3.manifest import Manifest

if TYPE_CHECKING:
    from audit_storage_s3.storage import S3Storage


def prune(storage: S3Storage, before: datetime, *, dry_run: bool) -> int:
    """Remove the days that ended before this moment; how many events they held."""
    if before.tzinfo is None:
        raise ValueError(f"{before!r} has no time zone: give an aware datetime.")
    last_day = before.astimezone(UTC).date() - timedelta(days=1)
    partitions = storage.partitions(until=last_day)
    counts = {partition: _count(storage, partition) for partition in partitions}
    if not dry_run:
        for day, of_day in groupby(partitions, key=lambda partition: partition.day):
            going = list(of_day)
            # First the manifest: without its objects this day is not looked at again, and would seem to be robbed for ever.
            if manifests.read(storage.bucket, day)[0] is not None:
                gone = Manifest(day, pruned=sum(counts[partition] for partition in going))
                manifests.update(storage.bucket, day, partial(_emptied, gone))
            for partition in going:
                _remove(storage, partition)
    return sum(counts.values())


def _emptied(gone: Manifest, old: Manifest) -> Manifest:
    return replace(gone, replaces=old.replaces)


def _count(storage: S3Storage, partition: Partition) -> int:
    heads: Sequence[Found | None] = storage.bucket.each(
        lambda stored: storage.bucket.head(stored.key), storage.objects(partition)
    )
    found = [head for head in heads if head is not None]
    now = datetime.now(UTC)
    ends = [head.locked_until for head in found if head.locked_until is not None and head.locked_until > now]
    if ends or any(head.legal_hold for head in found):
        until = f"until {max(ends):%Y-%m-%d %H:%M} UTC" if ends else "by a legal hold"
        raise ConfigurationError(
            f"Object Lock keeps {partition.folder} {until}, so nothing was removed. Prune later, or up to an earlier day."
        )
    return sum(facts.count for head in found if (facts := facts_in(head.metadata)))


def _remove(storage: S3Storage, partition: Partition) -> None:
    bucket = storage.bucket
    folder = storage.settings.prefix + partition.folder
    versions = list(bucket.versions(folder))
    refused = bucket.delete({"Key": item.key, "VersionId": item.version_id} for item in versions)
    if not refused:
        return
    code = refused[0].get("Code", "")
    why = (
        "Object Lock keeps them, or s3:DeleteObjectVersion is not permitted"
        if code in LOCKED
        else refused[0].get("Message", "no reason given")
    )
    raise ConfigurationError(
        f"{len(refused)} of {len(versions)} versions in {partition.folder} could not be removed ({code}): {why}. What was "
        f"removed before them is gone; prune again when the cause is."
    )

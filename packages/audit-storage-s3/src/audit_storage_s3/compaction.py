"""Few large objects from many small ones, day by day, when a day is over.

What is to become one object is written into the day's manifest first, so that a compaction that was interrupted is finished
as it was begun, by whoever compacts next, and two at the same time do the same. The new object is made before the old ones
are deleted. In between, readers of ours leave the old ones out by their names, and others see their events twice: see the
view in the documentation. Where the bucket keeps versions (Object Lock does) the old ones are only hidden.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby, islice
from typing import IO, TYPE_CHECKING

from audit_core.errors import ConfigurationError, RetryableError
from audit_core.storages.contract import Compacted
from audit_storage_s3 import manifest as manifests
from audit_storage_s3.chain import ObjectGone, objects_in
from audit_storage_s3.errors import DamagedObject
from audit_storage_s3.layout import Facts, Stored, chain_of, facts_in
from audit_storage_s3.manifest import Manifest, Run
from audit_storage_s3.rows import Row

if TYPE_CHECKING:
    from audit_storage_s3.storage import S3Storage

TARGET_BYTES = 128 * 1024 * 1024  # what Athena's performance guide asks for as the least
MIN_AGE_DAYS = 2  # a writer counts on today and yesterday being left alone, whatever the hour of either clock
ROWS_AT_ONCE = 1_000
MAX_ATTEMPTS = 3


def latest_day(now: datetime) -> date:
    """The latest day, in UTC, that may be compacted: the day before yesterday."""
    return now.astimezone(UTC).date() - timedelta(days=MIN_AGE_DAYS)


def compact(
    storage: S3Storage,
    *,
    since: date | None = None,
    until: date | None = None,
    target_bytes: int = TARGET_BYTES,
    dry_run: bool = False,
    progress: Callable[[int], object] = lambda objects: None,
) -> Compacted:
    """Merge the small objects of each day from ``since`` to ``until`` (both included; up to the day before yesterday), and
    write the day's manifest.

    An object is small below half of ``target_bytes``. ``progress`` is told how many objects were merged, of as many as a dry
    run counts. The disk for temporary files needs room for one object of ``target_bytes``. Raises
    :class:`~audit_storage_s3.errors.DamagedObject` when an object is not as it was written, or not as an older manifest of
    the day says: nothing is merged that was changed, and no new manifest hides what is missing.
    """
    latest = latest_day(datetime.now(UTC))
    until = latest if until is None else min(until, latest)
    days = objects = size_bytes = into = 0
    for day, partitions in groupby(
        storage.partitions(since=since, until=until), key=lambda partition: partition.day
    ):
        # Before the objects: whoever compacts in between has changed it when ours is to take its place.
        manifest, etag = manifests.read(storage.bucket, day)
        chains = {partition.folder: storage.objects(partition) for partition in partitions}
        runs = _runs(chains, manifest, target_bytes)
        members = [stored for run in runs for stored in _members(chains.get(run.folder, []), run)]
        days, objects, into = days + bool(runs), objects + len(members), into + len(runs)
        size_bytes += sum(stored.size_bytes for stored in members)
        if not dry_run:
            if manifest is not None:
                manifests.compare(storage, manifest, chains)
            _compact_day(storage, day, runs, manifest, etag, progress)
    if not dry_run:
        storage.forget()
    return Compacted(days, objects, size_bytes, into)


def _runs(chains: dict[str, list[Stored]], manifest: Manifest | None, target_bytes: int) -> tuple[Run, ...]:
    if manifest is not None and manifest.runs:
        return manifest.runs
    return tuple(
        Run(folder, str(run[0].first), str(run[-1].last))
        for folder, chain in chains.items()
        for run in _neighbours(chain, target_bytes)
    )


def _neighbours(chain: Sequence[Stored], target_bytes: int) -> Iterator[list[Stored]]:
    """Small objects that stand side by side, up to ``target_bytes`` together, at least two."""
    run: list[Stored] = []
    for stored in chain:
        small = stored.size_bytes < target_bytes / 2
        if run and (not small or sum(item.size_bytes for item in run) + stored.size_bytes > target_bytes):
            if len(run) > 1:
                yield run
            run = []
        if small:
            run.append(stored)
    if len(run) > 1:
        yield run


def _members(objects: Sequence[Stored], run: Run) -> list[Stored]:
    return [stored for stored in objects if run.first <= str(stored.first) and str(stored.last) <= run.last]


def _compact_day(
    storage: S3Storage,
    day: date,
    runs: tuple[Run, ...],
    manifest: Manifest | None,
    etag: str | None,
    progress: Callable[[int], object],
) -> None:
    if runs and (manifest is None or not manifest.runs):
        begun = replace(manifest or Manifest(day), runs=runs, replaces=manifest.digest if manifest else None)
        if not manifests.publish(storage.bucket, begun, etag):
            # Somebody else compacts this day: do what they have begun.
            manifest, etag = manifests.read(storage.bucket, day)
            runs = manifest.runs if manifest else ()
    for run in runs:
        _merge(storage, run)
    partitions = storage.partitions(since=day, until=day)
    for partition in partitions:
        progress(_tidy(storage, partition.folder))
    manifests.update(
        storage.bucket,
        day,
        lambda old: replace(old, objects=manifests.entries_of(storage, partitions), runs=(), pruned=None),
    )


def _merge(storage: S3Storage, run: Run) -> None:
    """Make the object of a run, unless it is there."""
    key = f"{storage.settings.prefix}{run.folder}{run.first}_{run.last}{storage.format.suffix}"
    for _ in range(MAX_ATTEMPTS):
        members = _members(objects_in(storage.bucket, storage.format, run.folder), run)
        if not members or any(stored.key == key for stored in members):
            return None
        try:
            return _write(storage, key, chain_of(members))
        except ObjectGone:
            pass  # somebody else has made the object meanwhile, and deleted what it was made from
    raise RetryableError(f"The objects in {run.folder} kept changing while they were compacted. Try again.")


def _tidy(storage: S3Storage, folder: str) -> int:
    """Delete the objects that a compacted one stands for; how many."""
    objects = objects_in(storage.bucket, storage.format, folder)
    counting = {stored.key for stored in chain_of(objects)}
    old = [stored.key for stored in objects if stored.key not in counting]
    refused = storage.bucket.delete({"Key": key} for key in old)
    if refused:
        raise ConfigurationError(
            f"{len(refused)} objects in {folder} were compacted and could not be deleted ({refused[0].get('Code')}). Until they "
            f"are, other readers see their events twice. Allow s3:DeleteObject, and compact again."
        )
    return len(old)


def _write(storage: S3Storage, key: str, sources: Sequence[Stored]) -> None:
    totals = _Totals()
    with tempfile.TemporaryFile() as file:
        storage.format.write(_batches(storage, sources, totals), file)
        digest = _digest(file)
        file.seek(0)
        facts = Facts(
            totals.count, min(totals.seqs, default=None), max(totals.seqs, default=None), digest.hex()
        )
        storage.bucket.create(key, file, digest, facts.to_metadata(), storage.format.content_type)


class _Totals:
    """What is counted while the rows go by."""

    def __init__(self) -> None:
        self.count = 0
        self.seqs: list[int] = []  # the least and the greatest of each object


def _batches(storage: S3Storage, sources: Sequence[Stored], totals: _Totals) -> Iterator[Sequence[Row]]:
    for stored in sources:
        found = storage.bucket.get(stored.key)
        if found is None:
            raise ObjectGone
        facts = facts_in(found.metadata)
        if facts is None or hashlib.sha256(found.body).hexdigest() != facts.sha256:
            raise DamagedObject(f"{stored.key} is not what was written. {DamagedObject.REMEDY}")
        rows = storage.format.read(io.BytesIO(found.body))
        while batch := list(islice(rows, ROWS_AT_ONCE)):
            totals.count += len(batch)
            yield batch
        totals.seqs += [seq for seq in (facts.first_seq, facts.last_seq) if seq is not None]


def _digest(file: IO[bytes]) -> bytes:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]  # typeshed knows BytesIO and files alone

"""What a day holds: a list of its objects with their digests, against which the bucket can be checked.

A manifest is written when a day is compacted, and again when the day has changed. It carries the SHA-256 of its own content,
and of the manifest it took the place of, so that the versions of one day form a chain; with versions or Object Lock in the
bucket the old ones are still there. It is replaced under ``If-Match`` alone: of two that do it at once, one has to look
again. Whoever may write to the bucket can write a false manifest that fits false objects; what they cannot do is make them
fit the leaf hashes in the log, or remove what is locked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from audit_core.codec import canonical
from audit_core.errors import RetryableError
from audit_storage_s3.bucket import Bucket
from audit_storage_s3.errors import DamagedObject
from audit_storage_s3.layout import MANIFESTS, Facts, Partition, Stored, facts_in, parsed

if TYPE_CHECKING:
    from audit_storage_s3.storage import S3Storage

CONTENT_TYPE = "application/json"
MAX_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Entry:
    """An object as it was when the manifest was written; ``key`` is without the storage's prefix."""

    key: str
    size_bytes: int
    sha256: str
    count: int
    first_seq: int | None
    last_seq: int | None


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbours in a chain that are to become one object: from the position ``first`` to ``last``."""

    folder: str
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The objects of a day.

    ``replaces`` is the digest of the manifest before this one. ``runs`` are those of a compaction that has begun and not
    ended. ``pruned`` says how many events were removed when the day was pruned.
    """

    day: date
    objects: tuple[Entry, ...] = ()
    replaces: str | None = None
    runs: tuple[Run, ...] = ()
    pruned: int | None = None

    @property
    def count(self) -> int:
        """How many events the day has."""
        return sum(entry.count for entry in self.objects)

    @property
    def digest(self) -> str:
        """The SHA-256 of the content, as hexadecimal digits."""
        return hashlib.sha256(canonical(self._content()).encode()).hexdigest()

    def to_bytes(self) -> bytes:
        """The file: canonical JSON with the digest in it."""
        return canonical({**self._content(), "digest": self.digest}).encode()

    def _content(self) -> dict[str, Any]:
        content = {
            "day": self.day.isoformat(),
            "version": 1,
            "count": self.count,
            "objects": [_plain(entry) for entry in self.objects],
            "runs": [_plain(run) for run in self.runs],
            "replaces": self.replaces,
            "pruned": self.pruned,
        }
        return {name: value for name, value in content.items() if value not in (None, [])}


def _plain(part: Entry | Run) -> dict[str, Any]:
    return {name: getattr(part, name) for name in part.__slots__}


def parse(body: bytes, key: str) -> Manifest:
    """The manifest in a file. Raises :class:`~audit_storage_s3.errors.DamagedObject` when it is not as it was written."""
    try:
        data = json.loads(body)
        manifest = Manifest(
            date.fromisoformat(data["day"]),
            tuple(Entry(**entry) for entry in data.get("objects", ())),
            data.get("replaces"),
            tuple(Run(**run) for run in data.get("runs", ())),
            data.get("pruned"),
        )
        intact = data["digest"] == manifest.digest and body == manifest.to_bytes()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedObject(f"{key} is no manifest ({error}). {DamagedObject.REMEDY}") from error
    if not intact:
        raise DamagedObject(f"{key} does not match its own digest. {DamagedObject.REMEDY}")
    return manifest


def key_of(day: date) -> str:
    """The key of a day's manifest, without the storage's prefix."""
    return f"{MANIFESTS}date={day.isoformat()}.json"


def read(bucket: Bucket, day: date) -> tuple[Manifest | None, str | None]:
    """The manifest of a day and its ETag; twice ``None`` when there is none."""
    key = bucket.settings.prefix + key_of(day)
    found = bucket.get(key)
    return (None, None) if found is None else (parse(found.body, key), found.etag)


def publish(bucket: Bucket, manifest: Manifest, etag: str | None) -> bool:
    """Put a manifest in the place of the one with this ETag, or of none; whether that was still the right one."""
    key, body = bucket.settings.prefix + key_of(manifest.day), manifest.to_bytes()
    digest = hashlib.sha256(body).digest()
    if etag is None:
        return bucket.create(key, body, digest, {}, CONTENT_TYPE) is not None
    return bucket.replace(key, body, digest, CONTENT_TYPE, etag) is not None


def update(bucket: Bucket, day: date, change: Callable[[Manifest], Manifest]) -> Manifest:
    """Apply ``change`` to a day's manifest, as often as it takes for nobody to come in between; the manifest as it is then."""
    for _ in range(MAX_ATTEMPTS):
        old, etag = read(bucket, day)
        new = change(old or Manifest(day))
        if new == old:
            return new
        new = replace(new, replaces=old.digest if old else None)
        if publish(bucket, new, etag):
            return new
    raise RetryableError(f"Others kept changing {key_of(day)}. Try again.")


def entries_of(storage: S3Storage, partitions: Iterable[Partition]) -> tuple[Entry, ...]:
    """The objects of these partitions, in the order of their keys, by what they say about themselves."""
    return _entries(storage, [stored for partition in partitions for stored in storage.objects(partition)])


def _entries(storage: S3Storage, objects: Sequence[Stored]) -> tuple[Entry, ...]:
    bucket, prefix = storage.bucket, storage.settings.prefix

    def entry(stored: Stored) -> Entry | None:
        found = bucket.head(stored.key)
        if found is None:
            return None  # compacted or pruned since it was listed; that writes a manifest of its own
        facts = facts_in(found.metadata) or Facts(0, None, None, "")
        return Entry(
            stored.key[len(prefix) :],
            found.size_bytes,
            facts.sha256,
            facts.count,
            facts.first_seq,
            facts.last_seq,
        )

    found = [item for item in bucket.each(entry, objects) if item is not None]
    return tuple(sorted(found, key=lambda item: item.key))


def compare(storage: S3Storage, manifest: Manifest, chains: Mapping[str, Sequence[Stored]]) -> None:
    """Raise :class:`~audit_storage_s3.errors.DamagedObject` when the objects of a day, by folder, are no longer those of its
    manifest, nor made from them.
    """
    prefix = storage.settings.prefix
    now = {entry.key: entry for entry in _entries(storage, [s for chain in chains.values() for s in chain])}
    for entry in manifest.objects:
        folder = entry.key.rpartition("/")[0] + "/"
        old = parsed(prefix + entry.key, entry.size_bytes, "")
        merged = old is not None and any(stored.covers(old) for stored in chains.get(folder, ()))
        if not merged and now.get(entry.key) != entry:
            raise DamagedObject(
                f"{entry.key} is missing or was changed since the manifest of {manifest.day}, which is left as it is; "
                f"`storages verify` says more. {DamagedObject.REMEDY} If it is lost for good, delete the manifest."
            )


def verify(
    storage: S3Storage,
    *,
    since: date | None = None,
    until: date | None = None,
    progress: Callable[[int], object] = lambda objects: None,
) -> list[str]:
    """Compare the objects of these days with their manifests, byte for byte; what differs, in words.

    ``progress`` is told how many objects were read. Days without a manifest are named when they are old enough to have one.
    """
    from audit_storage_s3.compaction import latest_day

    by_day: dict[date, list[Partition]] = {}
    for partition in storage.partitions(since=since, until=until):
        by_day.setdefault(partition.day, []).append(partition)
    for day in _days_with_manifest(storage.bucket):
        if (since is None or day >= since) and (until is None or day <= until):
            by_day.setdefault(day, [])
    problems: list[str] = []
    for day in sorted(by_day):
        try:
            manifest, _ = read(storage.bucket, day)
        except DamagedObject as error:
            problems.append(str(error))
            continue
        if manifest is not None:
            problems += _compared(storage, manifest, by_day[day], progress)
        elif day <= latest_day(datetime.now(UTC)):
            problems.append(f"{day} has no manifest: `storages compact` writes it.")
    return problems


def _days_with_manifest(bucket: Bucket) -> list[date]:
    start = len(bucket.settings.prefix + MANIFESTS + "date=")
    keys = (key for key, _, _ in bucket.objects(bucket.settings.prefix + MANIFESTS + "date="))
    return [date.fromisoformat(key[start : start + 10]) for key in keys]


def _compared(
    storage: S3Storage,
    manifest: Manifest,
    partitions: Sequence[Partition],
    progress: Callable[[int], object],
) -> list[str]:
    prefix = storage.settings.prefix
    there = {stored.key[len(prefix) :] for part in partitions for stored in storage.objects(part)}
    problems = []
    for entry in manifest.objects:
        found = storage.bucket.get(prefix + entry.key)
        if found is None:
            problems.append(f"{entry.key} is missing: the manifest of {manifest.day} names it.")
        elif hashlib.sha256(found.body).hexdigest() != entry.sha256:
            problems.append(
                f"{entry.key} is not what the manifest of {manifest.day} says. {DamagedObject.REMEDY}"
            )
        progress(1)
    later = sorted(there - {entry.key for entry in manifest.objects})
    if later:
        problems.append(
            f"{len(later)} object(s) are not in the manifest of {manifest.day}, the first is {later[0]}: events that came "
            f"late, which `storages compact` takes into a new manifest, or somebody else's."
        )
    return problems

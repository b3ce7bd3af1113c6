"""The objects of one partition, and how the next one is added, so that each event is in exactly one of them.

S3 has no transactions. It has one promise that is enough: of several writers that make an object of the same key with
``If-None-Match: *``, one succeeds and the others are told. The key of the next object follows from those that are there
(:class:`~audit_storage_s3.layout.Position`). So whoever succeeds has seen every object before it, and has left out the
events that are in them; whoever does not looks at what is new, leaves those out too, and tries the next key. It does not
matter how the batches were cut, how often one comes again, nor whether the acknowledgement of a request was lost.

Which objects may hold an event is told by its seq: one at or above the chain's head is in none of them. Below the head the
ids decide, first those of the object of that seq, then all the others, because an event may have come late.
"""

from __future__ import annotations

import hashlib
import io
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from audit_core.errors import ConfigurationError, RetryableError
from audit_storage_s3.bucket import Bucket
from audit_storage_s3.formats import Format, encoded
from audit_storage_s3.known import IdCache, Ids
from audit_storage_s3.layout import Partition, Position, Stored, chain_of, name_of, parsed
from audit_storage_s3.rows import Row

MAX_ATTEMPTS = 20  # each failure means that another writer got further
PAUSE_SECONDS = 0.05


class ObjectGone(Exception):
    """An object that was listed is not there any more: its partition was compacted or pruned meanwhile."""


def objects_in(bucket: Bucket, format_: Format, folder: str) -> list[Stored]:
    """Every object of a partition's folder, those that were compacted and are still there included.

    Raises :class:`~audit_core.errors.ConfigurationError` when they are in another format: readers take a folder to hold one.
    """
    found = []
    for key, size_bytes, etag in bucket.objects(bucket.settings.prefix + folder):
        stored = parsed(key, size_bytes, etag)
        if stored is None:
            continue
        if stored.suffix != format_.suffix:
            raise ConfigurationError(
                f"{key} is not in the format {format_.suffix} that is configured. A prefix holds one format: go on with "
                f"the old one, or give the new one another prefix."
            )
        found.append(stored)
    return found


class Chain:
    """One partition, as far as this process knows it. One thread at a time."""

    def __init__(self, bucket: Bucket, format_: Format, partition: Partition, cache: IdCache) -> None:
        self._bucket = bucket
        self._format = format_
        self._partition = partition
        self._cache = cache
        self._lock = threading.Lock()
        self._objects: list[Stored] = []
        self._next = Position()
        self._loaded = False

    def append(self, rows: Sequence[Row]) -> None:
        """Keep those of ``rows`` that are not in the partition yet, in one object."""
        with self._lock:
            for attempt in range(MAX_ATTEMPTS):
                try:
                    if not self._loaded:
                        self._load()
                    new = self._unknown(rows)
                    if not new or self._create(new):
                        return
                except ObjectGone:
                    pass
                self._loaded = False
                time.sleep(PAUSE_SECONDS * attempt)
            raise RetryableError(
                f"Other writers were faster {MAX_ATTEMPTS} times in {self._partition.folder}. It is tried again."
            )

    def _load(self) -> None:
        self._objects = chain_of(objects_in(self._bucket, self._format, self._partition.folder))
        self._next = Position()
        if self._objects:
            last = self._objects[-1]
            self._next = last.last.following(self._last_seq_in(last))
        self._loaded = True

    def _last_seq_in(self, stored: Stored) -> int | None:
        found = self._bucket.head(stored.key)
        if found is not None and "sha256" not in found.metadata:
            # Somebody copied the object without its metadata, or the answer was cut off: the rows know as well.
            found = self._bucket.get(stored.key)
            if found is not None:
                seqs = [row["seq"] for row in self._format.read(io.BytesIO(found.body))]
                return max((seq for seq in seqs if seq is not None), default=None)
        if found is None:
            raise ObjectGone
        value = found.metadata.get("last-seq")
        return None if value is None else int(value)

    def _unknown(self, rows: Sequence[Row]) -> list[Row]:
        heads = [stored.first.head for stored in self._objects]
        return [row for row in rows if not self._holds(row, heads)]

    def _holds(self, row: Row, heads: Sequence[int]) -> bool:
        if row["seq"] is not None and row["seq"] >= self._next.head:
            return False
        return any(row["id"] in self._ids_in(stored) for stored in self._candidates(row["seq"], heads))

    def _candidates(self, seq: int | None, heads: Sequence[int]) -> Iterator[Stored]:
        likely = len(heads) if seq is None else bisect_right(heads, seq)
        yield from reversed(self._objects[:likely])
        yield from self._objects[likely:]

    def _ids_in(self, stored: Stored) -> Ids:
        def read() -> Ids:
            found = self._bucket.get(stored.key)
            if found is None or found.etag != stored.etag:
                raise ObjectGone
            return Ids(self._format.ids(io.BytesIO(found.body)))

        return self._cache.get(stored.key, stored.etag, read)

    def _create(self, rows: Sequence[Row]) -> bool:
        """Make the next object; whether it is there and counts."""
        place = self._next
        folder = self._bucket.settings.prefix + self._partition.folder
        key = folder + name_of(place, place, self._format.suffix)
        body = encoded(self._format, rows)
        digest = hashlib.sha256(body).digest()
        seqs = [row["seq"] for row in rows if row["seq"] is not None]
        metadata = metadata_of(len(rows), min(seqs, default=None), max(seqs, default=None), digest)
        etag = self._bucket.create(key, body, digest, metadata, self._format.content_type)
        if etag is None:
            return False
        self._cache.add(key, etag, Ids(row["id"] for row in rows))
        self._objects.append(Stored(key, place, place, self._format.suffix, len(body), etag))
        self._next = place.following(max(seqs, default=None))
        return self._counts(key)

    def _counts(self, key: str) -> bool:
        """Whether a new object is part of the chain.

        It always is on its own day. Later the day may have been compacted since the chain was loaded; then the key was
        free again, but a compacted object stands for it, and readers leave this one out.
        """
        if self._partition.day >= datetime.now(UTC).date():
            return True
        self._load()
        if any(stored.key == key for stored in self._objects):
            return True
        self._bucket.delete([{"Key": key}])
        return False


def metadata_of(count: int, first_seq: int | None, last_seq: int | None, digest: bytes) -> dict[str, str]:
    """What is kept beside an object, so that it need not be read to know this."""
    metadata = {"count": str(count), "sha256": digest.hex()}
    if first_seq is not None:
        metadata["first-seq"] = str(first_seq)
    if last_seq is not None:
        metadata["last-seq"] = str(last_seq)
    return metadata

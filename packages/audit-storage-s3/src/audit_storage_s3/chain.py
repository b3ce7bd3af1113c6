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
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import IO, TypeVar

from audit_core.errors import ConfigurationError, RetryableError
from audit_storage_s3.bucket import Bucket
from audit_storage_s3.errors import DamagedObject
from audit_storage_s3.formats import Format, encoded
from audit_storage_s3.health import begin
from audit_storage_s3.layout import Facts, Partition, Position, Stored, chain_of, facts_in, name_of, parsed
from audit_storage_s3.rows import Row

_T = TypeVar("_T")

MAX_LISTED = 50  # objects that a partition keeps in mind, for events that come late or have no seq
MAX_ATTEMPTS = 20  # each failure means that another writer got further
PAUSE_SECONDS = 0.05
ID_BYTES = 16
MAX_CACHED_BYTES = 32 * 1024 * 1024  # two million ids


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
        self._objects: list[Stored] | None = None
        self._next: Position | None = None

    def append(self, rows: Sequence[Row]) -> None:
        """Keep those of ``rows`` that are not in the partition yet, in one object."""
        with self._lock:
            for attempt in range(MAX_ATTEMPTS):
                try:
                    place = self._load() if self._next is None else self._next
                    new = self._unknown(rows, place)
                    if not new or self._create(new, place):
                        self._forget_many()
                        return
                except ObjectGone:
                    pass
                self._objects = self._next = None
                time.sleep(PAUSE_SECONDS * attempt)
            raise RetryableError(
                f"Other writers were faster {MAX_ATTEMPTS} times in {self._partition.folder}. It is tried again."
            )

    def _load(self) -> Position:
        """Look at the objects that are there; the place of the next."""
        # When looking fails, nothing is believed: the next batch must not find its events in an object that does not count.
        self._objects = self._next = None
        objects = chain_of(objects_in(self._bucket, self._format, self._partition.folder))
        place = Position()
        if objects:
            place = objects[-1].last.following(self._last_seq_in(objects[-1]))
        self._objects, self._next = objects, place
        return place

    def _last_seq_in(self, stored: Stored) -> int | None:
        found = self._bucket.head(stored.key)
        if found is None:
            raise ObjectGone
        if (facts := facts_in(found.metadata)) is not None:
            return facts.last_seq
        # Somebody copied the object without its metadata, or the answer was cut off: the rows know as well.
        return self._read(stored, lambda body: max(_seqs(self._format.read(body)), default=None))

    def _forget_many(self) -> None:
        if self._objects is not None and len(self._objects) > MAX_LISTED:
            self._objects = None

    def _unknown(self, rows: Sequence[Row], place: Position) -> list[Row]:
        if all(row["seq"] is not None and row["seq"] >= place.head for row in rows):
            return list(rows)
        if self._objects is None and self._load() != place:
            raise ObjectGone
        objects = self._objects or []
        heads = [stored.first.head for stored in objects]
        return [row for row in rows if not self._holds(row, place, objects, heads)]

    def _holds(self, row: Row, place: Position, objects: Sequence[Stored], heads: Sequence[int]) -> bool:
        if row["seq"] is not None and row["seq"] >= place.head:
            return False
        return any(row["id"] in self._ids_in(stored) for stored in _candidates(row["seq"], objects, heads))

    def _ids_in(self, stored: Stored) -> Ids:
        return self._cache.get(
            stored.key, stored.etag, lambda: self._read(stored, lambda body: Ids(self._format.ids(body)))
        )

    def _read(self, stored: Stored, parse: Callable[[IO[bytes]], _T]) -> _T:
        found = self._bucket.get(stored.key)
        if found is None or found.etag != stored.etag:
            raise ObjectGone
        try:
            return parse(io.BytesIO(found.body))
        except Exception as error:  # each library has errors of its own
            raise DamagedObject(
                f"{stored.key} cannot be read ({type(error).__name__}). {DamagedObject.REMEDY}"
            ) from error

    def _create(self, rows: Sequence[Row], place: Position) -> bool:
        """Make the next object; whether it is there and counts."""
        if not self._bucket.is_trusted:
            begin(self._bucket, self._format)
        folder = self._bucket.settings.prefix + self._partition.folder
        key = folder + name_of(place, place, self._format.suffix)
        body = encoded(self._format, rows)
        digest = hashlib.sha256(body).digest()
        seqs = list(_seqs(rows))
        facts = Facts(len(rows), min(seqs, default=None), max(seqs, default=None), digest.hex())
        etag = self._bucket.create(key, body, digest, facts.to_metadata(), self._format.content_type)
        if etag is None:
            return False
        self._cache.add(key, etag, Ids(row["id"] for row in rows))
        if self._objects is not None:
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
        if any(stored.key == key for stored in self._objects or ()):
            return True
        self._bucket.delete([{"Key": key}])
        return False


def _seqs(rows: Iterable[Row]) -> Iterator[int]:
    return (row["seq"] for row in rows if row["seq"] is not None)


def _candidates(seq: int | None, objects: Sequence[Stored], heads: Sequence[int]) -> Iterator[Stored]:
    likely = len(heads) if seq is None else bisect_right(heads, seq)
    yield from reversed(objects[:likely])
    yield from objects[likely:]


class Ids:
    """A set of ids, given as text, that costs what the ids themselves take."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.packed = b"".join(sorted(map(_packed, ids)))

    def __len__(self) -> int:
        return len(self.packed) // ID_BYTES

    def __getitem__(self, index: int) -> bytes:
        return self.packed[index * ID_BYTES : (index + 1) * ID_BYTES]

    def __contains__(self, id_: str) -> bool:
        packed = _packed(id_)
        return self[bisect_left(self, packed)] == packed


def _packed(id_: str) -> bytes:
    return bytes.fromhex(id_.replace("-", ""))  # as UUID(id_).bytes, in a fifth of the time


class IdCache:
    """The ids of the objects that were written or looked at last, by key and ETag."""

    def __init__(self, max_bytes: int = MAX_CACHED_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._ids: OrderedDict[tuple[str, str], Ids] = OrderedDict()
        self._bytes = 0

    def get(self, key: str, etag: str, read: Callable[[], Ids]) -> Ids:
        """The ids of this object, from ``read`` when they are not here."""
        with self._lock:
            if (key, etag) in self._ids:
                self._ids.move_to_end((key, etag))
                return self._ids[key, etag]
        ids = read()
        self.add(key, etag, ids)
        return ids

    def add(self, key: str, etag: str, ids: Ids) -> None:
        """Keep these, and forget those that were not asked for longest when it is too much."""
        with self._lock:
            if (key, etag) not in self._ids:
                self._bytes += len(ids.packed)
            self._ids[key, etag] = ids
            while self._bytes > self._max_bytes and len(self._ids) > 1:
                _, oldest = self._ids.popitem(last=False)
                self._bytes -= len(oldest.packed)

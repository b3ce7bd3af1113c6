"""The storage: batches of events become objects, one for each tenant and day they belong to."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date, datetime
from uuid import UUID

from audit_core.errors import PartialWrite
from audit_core.event import RecordedEvent
from audit_core.storages.contract import Compacted
from audit_storage_s3 import compaction, health, manifest, retention
from audit_storage_s3.bucket import Bucket
from audit_storage_s3.chain import Chain, IdCache, objects_in
from audit_storage_s3.formats import decoded, format_of
from audit_storage_s3.layout import EVENTS, Partition, Stored, chain_of, day_in, escaped, partition_of
from audit_storage_s3.rows import Row, data_of, recorded_of, row_of
from audit_storage_s3.settings import Settings

MAX_CHAINS = 2_000  # partitions that are kept in mind, at about 300 bytes an object


class S3Storage:
    """Keeps events in a bucket, under ``prefix``.

    Credentials come from boto3's own chain (environment, profile, role) and from nowhere else.

    - ``region``, ``endpoint_url``: where the bucket is; boto3's own settings unless given.
    - ``format``: ``jsonl`` or ``parquet`` (extra ``parquet``). ``compression``: ``gzip`` or ``zstd`` (extra ``zstd``) for
      ``jsonl``; ``zstd``, ``snappy`` or ``gzip`` for ``parquet``; the first of them unless given.
    - ``encryption``: ``AES256`` (SSE-S3) or ``aws:kms`` (SSE-KMS, with ``kms_key_id``, or AWS's own key without it). There
      is no way to write without.
    - ``object_lock`` (``COMPLIANCE`` or ``GOVERNANCE``) with ``retention_days``: nobody can change or delete an object for
      so many days after it was written.
    - ``batch_size`` (events), ``flush_interval_seconds``: what this storage would like a call of :meth:`write` to hold,
      and how long events may wait to become so many. The relay reads them; ``write`` itself keeps whatever it is given
      before it returns.

    It cannot be searched by the timeline: ask Athena, DuckDB or Spark. :meth:`read` reads everything back.
    """

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        region: str | None = None,
        endpoint_url: str | None = None,
        format: str = "jsonl",
        compression: str = "",
        encryption: str = "AES256",
        kms_key_id: str | None = None,
        object_lock: str | None = None,
        retention_days: int | None = None,
        batch_size: int = 10_000,
        flush_interval_seconds: float = 60.0,
    ) -> None:
        self.settings = Settings(
            bucket=bucket,
            prefix=prefix,
            region=region,
            endpoint_url=endpoint_url,
            format=format,
            compression=compression,
            encryption=encryption,
            kms_key_id=kms_key_id,
            object_lock=object_lock,
            retention_days=retention_days,
            batch_size=batch_size,
            flush_interval_seconds=flush_interval_seconds,
        )
        self.batch_size = batch_size
        self.flush_interval_seconds = flush_interval_seconds
        self.format = format_of(self.settings.format, self.settings.compression)
        self.bucket = Bucket(self.settings)
        self._lock = threading.Lock()
        self._chains: OrderedDict[Partition, Chain] = OrderedDict()
        self._ids = IdCache()

    def setup(self) -> None:
        """Create the bucket when there is none, with Object Lock if it is asked for; an existing one is left as it is."""
        health.setup(self.bucket)

    def check(self) -> list[str]:
        """Whether the bucket is there, may be written to, and keeps its promises; the clock; the lock."""
        return health.check(self.bucket, self.format)

    def close(self) -> None:
        """Close the connections."""
        self.bucket.close()

    def write(self, events: Sequence[RecordedEvent]) -> None:
        """Keep these events, except those whose id is known; S3 has confirmed every object when this returns.

        When some partitions of a batch fail, those that were written stay, and are known when the batch comes again. Raises
        :class:`~audit_core.errors.PartialWrite` for events whose text was damaged.
        """
        by_partition: dict[Partition, list[Row]] = {}
        refused: dict[UUID, str] = {}
        seen: set[UUID] = set()
        for event in events:
            if event.id in seen:
                continue
            seen.add(event.id)
            try:
                data = data_of(event)
                by_partition.setdefault(partition_of(data), []).append(row_of(event, data))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                refused[event.id] = f"Its text is no event ({type(error).__name__}: {error})."
        self.bucket.each(lambda item: self._chain(item[0]).append(item[1]), list(by_partition.items()))
        if refused:
            raise PartialWrite(refused)

    def _chain(self, partition: Partition) -> Chain:
        with self._lock:
            chain = self._chains.get(partition)
            if chain is None:
                chain = self._chains[partition] = Chain(self.bucket, self.format, partition, self._ids)
                if len(self._chains) > MAX_CHAINS:
                    self._chains.popitem(last=False)
            self._chains.move_to_end(partition)
            return chain

    def forget(self) -> None:
        """Look at the bucket again before the next write, because objects were moved or removed."""
        with self._lock:
            self._chains.clear()

    def partitions(
        self,
        *,
        since: date | None = None,
        until: date | None = None,
        tenants: Collection[str | None] | None = None,
    ) -> list[Partition]:
        """The partitions from the day ``since`` to the day ``until``, both included, in the order of their days."""
        root = f"{self.settings.prefix}{EVENTS}tenant="
        wanted = None if tenants is None else {escaped(tenant) for tenant in tenants}
        found = []
        for folder in self.bucket.folders(root):
            tenant = folder[len(root) : -1]
            if wanted is not None and tenant not in wanted:
                continue
            for inner in self.bucket.folders(folder):
                day = day_in(inner)
                if day is not None and (since is None or day >= since) and (until is None or day <= until):
                    found.append(Partition(tenant, day))
        return sorted(found, key=lambda partition: (partition.day, partition.tenant))

    def objects(self, partition: Partition) -> list[Stored]:
        """The objects that count in a partition, in the order in which they were written."""
        return chain_of(objects_in(self.bucket, self.format, partition.folder))

    def read(
        self,
        *,
        since: date | None = None,
        until: date | None = None,
        tenants: Collection[str | None] | None = None,
    ) -> Iterator[RecordedEvent]:
        """The events of these days and tenants, day by day, tenant by tenant, in the order of their writing.

        One object is held in memory at a time. Raises :class:`~audit_storage_s3.errors.DamagedObject` for an event that is
        not what was recorded.
        """
        for partition in self.partitions(since=since, until=until, tenants=tenants):
            yield from self._read_partition(partition)

    def _read_partition(self, partition: Partition) -> Iterator[RecordedEvent]:
        given = 0
        while True:
            # When the day is compacted under our hands, it is read again: compaction keeps the order of the rows.
            known = given
            for stored in self.objects(partition):
                found = self.bucket.get(stored.key)
                if found is None:
                    break
                for row in decoded(self.format, found.body, stored.key):
                    if known:
                        known -= 1
                        continue
                    yield recorded_of(row, stored.key)
                    given += 1
            else:
                return

    def compact(
        self,
        *,
        since: date | None = None,
        until: date | None = None,
        target_bytes: int | None = None,
        dry_run: bool = False,
        progress: Callable[[int], object] = lambda objects: None,
    ) -> Compacted:
        """Merge the small objects of each day up to the day before yesterday, and write the day's manifest; see
        :func:`audit_storage_s3.compaction.compact`.
        """
        return compaction.compact(
            self,
            since=since,
            until=until,
            target_bytes=compaction.TARGET_BYTES if target_bytes is None else target_bytes,
            dry_run=dry_run,
            progress=progress,
        )

    def verify(
        self,
        *,
        since: date | None = None,
        until: date | None = None,
        progress: Callable[[int], object] = lambda objects: None,
    ) -> Sequence[str]:
        """What differs between the objects of these days and their manifests; see :func:`audit_storage_s3.manifest.verify`."""
        return manifest.verify(self, since=since, until=until, progress=progress)

    def prune(self, before: datetime, *, dry_run: bool = False) -> int:
        """Remove the whole days, in UTC, that ended before this moment, with all versions of their objects; how many events
        they held.

        Raises :class:`~audit_core.errors.ConfigurationError`, having removed nothing, when Object Lock keeps one of them.
        """
        count = retention.prune(self, before, dry_run=dry_run)
        self.forget()
        return count

"""Back from the bucket into another storage."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import date
from itertools import islice
from typing import TYPE_CHECKING

from audit_core.event import RecordedEvent
from audit_core.storages.contract import Storage

if TYPE_CHECKING:
    from audit_storage_s3.storage import S3Storage

BATCH_SIZE = 500


def restore(
    storage: S3Storage,
    into: Storage,
    *,
    since: date | None = None,
    until: date | None = None,
    tenants: Collection[str | None] | None = None,
    first_seq: int | None = None,
    last_seq: int | None = None,
    batch_size: int = BATCH_SIZE,
    dry_run: bool = False,
    progress: Callable[[int], object] = lambda events: None,
) -> int:
    """Write the events of a range into another storage; how many there were.

    The range is one of days in UTC (``since`` and ``until``, both included), of tenants, of seqs (both included), or all of
    these together; days are what makes it quick. Each event's leaf hash is computed anew and compared before it is written:
    :class:`~audit_storage_s3.errors.DamagedObject` stops it there. What ``into`` raises is let through. It may be run
    again: a storage knows what it has by its ids. ``dry_run`` reads and verifies, and writes nothing. ``progress`` is told
    how many events each batch had.
    """
    events = _within(
        storage.events(since=since, until=until, tenants=tenants), first_seq=first_seq, last_seq=last_seq
    )
    total = 0
    while batch := list(islice(events, batch_size)):
        if not dry_run:
            into.write(batch)
        total += len(batch)
        progress(len(batch))
    return total


def _within(
    events: Iterator[RecordedEvent], *, first_seq: int | None, last_seq: int | None
) -> Iterator[RecordedEvent]:
    for event in events:
        if first_seq is not None and (event.seq is None or event.seq < first_seq):
            continue
        if last_seq is not None and (event.seq is None or event.seq > last_seq):
            continue
        yield event

"""What is done with storages that are able to: removing old events, on the record, and reading events back into another one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import islice
from typing import Any
from uuid import UUID

from audit_core.errors import ConfigurationError, PartialWrite, PermanentError
from audit_core.event import RecordedEvent, format_timestamp
from audit_core.operate.trail import Installation, Trail
from audit_core.plugins.errors import did_you_mean
from audit_core.query import MAX_LIMIT, EventQuery
from audit_core.storages.contract import (
    BatchingStorage,
    CompactableStorage,
    PrunableStorage,
    ReadableStorage,
    SearchableStorage,
    Storage,
    VerifiableStorage,
)

ABILITIES: Mapping[str, type] = {
    "search": SearchableStorage,
    "prune": PrunableStorage,
    "compact": CompactableStorage,
    "verify": VerifiableStorage,
    "read back": ReadableStorage,
}
BATCH_SIZE = 500


def abilities(storage: object) -> list[str]:
    """What a storage can do besides keeping events, in the words of :data:`ABILITIES`."""
    return [ability for ability, contract in ABILITIES.items() if isinstance(storage, contract)]


def find(installation: Installation, name: str) -> Any:
    """The storage of this name. Raises :class:`~audit_core.errors.ConfigurationError` when there is none."""
    storages = installation.storages()
    if name not in storages:
        hint = did_you_mean(name, storages) or f" The storages are: {', '.join(storages) or 'none'}."
        raise ConfigurationError(f"There is no storage {name!r}.{hint}")
    return storages[name]()


def find_able(installation: Installation, name: str, ability: str) -> Any:
    """The storage of this name.

    Raises :class:`~audit_core.errors.ConfigurationError` when it does not have the ability, naming those that have.
    """
    storage = find(installation, name)
    if not isinstance(storage, ABILITIES[ability]):
        others = [other for other, make in installation.storages().items() if ability in _abilities_of(make)]
        hint = f"these can: {', '.join(others)}" if others else "no storage in the settings can"
        raise ConfigurationError(f"The storage {name!r} cannot {ability}; {hint}.")
    return storage


def _abilities_of(make: Callable[[], Any]) -> list[str]:
    try:
        return abilities(make())
    except Exception:  # noqa: BLE001 - what cannot be made is no help to anybody
        return []


def find_searchable(installation: Installation, name: str | None = None) -> SearchableStorage:
    """The storage of this name; without one that which people read, or else the first that can search.

    Raises :class:`~audit_core.errors.ConfigurationError` when it, or all of them, cannot.
    """
    able = (other for other, make in installation.storages().items() if "search" in _abilities_of(make))
    name = name or installation.read_storage or next(able, None)
    if name is None:
        raise ConfigurationError("No storage in the settings can search, so there is nothing to look into.")
    storage: SearchableStorage = find_able(installation, name, "search")
    return storage


def newest(storage: SearchableStorage, query: EventQuery, limit: int) -> Iterator[RecordedEvent]:
    """The ``limit`` newest events that match, page by page. Raises :class:`~audit_core.query.InvalidQuery`."""
    while limit > 0:
        page = storage.search(replace(query, limit=min(limit, MAX_LIMIT)))
        yield from page.events
        limit -= len(page.events)
        if page.next is None:
            return
        query = replace(query, cursor=page.next)


def find_restorable(installation: Installation, name: str) -> Storage:
    """The storage of this name, to be restored into.

    Raises :class:`~audit_core.errors.ConfigurationError` when it is a log's own tables: events come in there by their outbox,
    and have their numbers from the relay.
    """
    storage: Storage = find(installation, name)
    if any(trail.is_own(storage) for trail in installation.trails()):
        raise ConfigurationError(
            f"The storage {name!r} is the log itself, in which the relay numbers the events. Restore into another one, as one "
            f"with a database of its own."
        )
    return storage


def prune(
    trail: Trail, name: str, storage: PrunableStorage, before: datetime, *, expected: int, reason: str
) -> int:
    """Remove the events that occurred before this moment from the storage of this name; how many.

    That, the ``expected`` number of them, and ``reason`` are recorded in ``trail`` first (action ``prune``): of what was removed
    there is a record, however this ends.
    """
    with trail.transaction():
        what = {"storage": name, "before": format_timestamp(before), "events": expected}
        trail.record("prune", None, reason, what)
    return storage.prune(before)


@dataclass(frozen=True, slots=True)
class Restored:
    """So many ``events`` were read; the other storage ``refused`` these for good, and has the rest."""

    events: int
    refused: Mapping[UUID, str]


def restore(
    source: ReadableStorage,
    into: Storage,
    *,
    since: date | None = None,
    until: date | None = None,
    tenants: Collection[str | None] | None = None,
    dry_run: bool = False,
    progress: Callable[[int], object] = lambda events: None,
) -> Restored:
    """Write the events of some days and tenants, as :meth:`ReadableStorage.read` gives them, into another storage.

    It may be run again: a storage knows what it has by its ids. ``dry_run`` reads, and writes nothing. ``progress`` is told how
    many events each batch had. What either storage raises is let through, but for events that are refused for good.
    """
    batch_size = into.batch_size if isinstance(into, BatchingStorage) else BATCH_SIZE
    events = source.read(since=since, until=until, tenants=tenants)
    count, refused = 0, dict[UUID, str]()
    while batch := list(islice(events, batch_size)):
        if not dry_run:
            refused |= _write(into, batch)
        count += len(batch)
        progress(len(batch))
    return Restored(count, refused)


def _write(into: Storage, batch: Sequence[RecordedEvent]) -> Mapping[UUID, str]:
    """Write a batch; which events were refused, and why. Of a batch that is refused as a whole each half is tried."""
    try:
        into.write(batch)
    except PartialWrite as error:
        return error.reasons
    except PermanentError as error:
        if len(batch) == 1:
            return {batch[0].id: str(error)}
        middle = len(batch) // 2
        return {**_write(into, batch[:middle]), **_write(into, batch[middle:])}
    return {}

"""The storage. Its key design is in :mod:`audit_storage_dynamodb.keys`."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from audit_core.errors import AuditError, ConfigurationError, PartialWrite
from audit_core.event import RecordedEvent
from audit_core.query import EventQuery, Page
from audit_storage_dynamodb import batches, health, pruning, reading, table
from audit_storage_dynamodb.client import client_of
from audit_storage_dynamodb.errors import explained
from audit_storage_dynamodb.items import Item, items_of, key_of
from audit_storage_dynamodb.plan import plan_of

SECONDS_A_DAY = 24 * 60 * 60
_TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")


class DynamoDBStorage:
    """Keeps events in one DynamoDB table. Searchable, prunable, safe to use from several threads.

    - ``table``: its name.
    - ``region``: where it is; boto3's chain knows when not given.
    - ``endpoint_url``: for a VPC endpoint or DynamoDB Local.
    - ``retention_days``: how long after it occurred an event is kept; for good when not given. Counts for
      events written from now on. DynamoDB removes what has ended within a few days.
    - ``point_in_time_recovery``: whether ``setup()`` switches it on and ``check()`` misses it.

    Credentials are found by boto3's own chain: there is no option for a key.
    """

    def __init__(
        self,
        table: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        retention_days: int | None = None,
        point_in_time_recovery: bool = True,
    ) -> None:
        if not isinstance(table, str) or not _TABLE_NAME.fullmatch(table):
            raise ConfigurationError(
                f"table is {table!r}; the name of a DynamoDB table has 3 to 255 letters, digits, _, . or -."
            )
        if retention_days is not None and (type(retention_days) is not int or retention_days < 1):
            raise ConfigurationError(
                f"retention_days is {retention_days!r}; it must be a whole number above zero, or left out."
            )
        self.table = table
        self._retention_seconds = None if retention_days is None else retention_days * SECONDS_A_DAY
        self._point_in_time_recovery = point_in_time_recovery
        self._client = client_of(region, endpoint_url)

    def setup(self) -> None:
        """Create the table, its indexes, its time to live and its point-in-time recovery, where they are
        missing.

        Raises :class:`~audit_core.errors.ConfigurationError` for a table of another shape or a missing
        permission.
        """
        with explained(self.table):
            client = self._client.get()
            table.create(client, self.table, point_in_time_recovery=self._point_in_time_recovery)

    def check(self) -> list[str]:
        """What is wrong: reachability, TLS, clock, credentials, permissions, keys, indexes, retention,
        recovery.
        """
        try:
            with explained(self.table):
                client = self._client.get()
        except AuditError as error:
            return [str(error)]
        return health.check(
            client,
            self.table,
            retention=self._retention_seconds is not None,
            point_in_time_recovery=self._point_in_time_recovery,
        )

    def close(self) -> None:
        """Give up the connections; the next call makes new ones."""
        self._client.close()

    def write(self, events: Sequence[RecordedEvent]) -> None:
        """Keep these events, except those whose id is known, whoever wrote it, and however it differs.

        Raises :class:`~audit_core.errors.RetryableError` for throttling and a lost connection,
        :class:`~audit_core.errors.PartialWrite` for events that DynamoDB refuses or whose text is none, and
        :class:`~audit_core.errors.ConfigurationError` for a missing table, index or permission. The order of
        arrival shows nowhere, so later events of a refused one's target are kept.
        """
        refused: dict[str, str] = {}
        with self._calls() as client:
            refused |= batches.insert(client, self.table, self._heads(client, events, refused))
            if refused and (wrong := self._problems()):
                raise ConfigurationError(wrong[0])
        if refused:
            raise PartialWrite({UUID(event_id): reason for event_id, reason in refused.items()})

    def get(self, event_id: UUID) -> RecordedEvent:
        """The event of this id. Raises ``KeyError`` when it is not there."""
        with self._calls() as client:
            return reading.get(client, self.table, event_id)

    def search(self, query: EventQuery) -> Page:
        """The newest events that match, as :class:`~audit_core.query.EventQuery` says.

        Target, actor, tenant and time are answered from an index; category, action, outcome and request are
        filtered there; ``text`` and ``field`` are looked for in the events themselves. A page ends early, even
        an empty one, and says where to go on, when that takes too long.
        """
        plan = plan_of(query)
        if plan is None:
            return Page(newest=query.cursor if query.newer else None)
        with self._calls() as client:
            return reading.Search(client, self.table, query, plan).page()

    def prune(self, before: datetime, *, dry_run: bool = False) -> int:
        """Remove the events that occurred before this moment; return how many there were (``dry_run``: would
        be).
        """
        with self._calls() as client:
            return pruning.prune(client, self.table, before, dry_run=dry_run)

    def _heads(self, client: Any, events: Sequence[RecordedEvent], refused: dict[str, str]) -> Iterator[Item]:
        """The item of each event, after its parts have been written; an id that comes twice counts once."""
        first: dict[UUID, RecordedEvent] = {}
        for recorded in events:
            first.setdefault(recorded.id, recorded)
        for recorded in first.values():
            try:
                head, parts = items_of(recorded, retention_seconds=self._retention_seconds)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                refused[str(recorded.id)] = f"Its text is no event: {error!r}"
                continue
            if parts and not batches.get(client, self.table, [key_of(recorded.id)], ["event_id"]):
                refused |= batches.insert(client, self.table, parts)
            if str(recorded.id) not in refused:
                yield head

    @contextmanager
    def _calls(self) -> Generator[Any]:
        with explained(self.table, self._problems):
            yield self._client.get()

    def _problems(self) -> list[str]:
        with explained(self.table):
            description = self._client.get().describe_table(TableName=self.table)["Table"]
        return table.problems(self.table, description)

"""The storage: its options, and what it can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from opensearchpy import NotFoundError

from audit_core.errors import ConfigurationError
from audit_core.event import RecordedEvent
from audit_core.query import EventQuery, Page
from audit_storage_opensearch import histogram, retention, searching
from audit_storage_opensearch.checking import problems
from audit_storage_opensearch.client import Connection
from audit_storage_opensearch.documents import RETURNED, recorded_of
from audit_storage_opensearch.errors import translated
from audit_storage_opensearch.indices import FIELDS, Names, template
from audit_storage_opensearch.writing import Writer, require_template

LEAST_BULK_BYTES = 1024 * 1024  # an event with a few large values


class OpenSearchStorage:
    """Keeps events in OpenSearch, an index for each month. Searchable and prunable; safe to use from several threads.

    - ``hosts``: the address of the cluster, or several (``https://search.example.com:9200``).
    - ``index``: what the names of its indices, aliases, template and policy begin with.
    - ``username`` and ``password``, or ``aws_region``, with which requests are signed with what boto3 finds (the extra
      ``aws``).
    - ``retention_days``: how long the policy that ``setup()`` creates keeps events; ``None`` for ever.
    - ``refresh``: what OpenSearch does with a write before it answers. ``False``: the events are safe, and found within
      a second (``index.refresh_interval``); ``True`` makes them found at once, at the price of a small segment for each
      batch; ``"wait_for"`` waits for the next refresh. ``get()`` finds them at once in any case.
    - ``max_bulk_bytes``: how large one request may be. Amazon's smaller instances take 10 MiB.
    - ``timeout_seconds``: how long to wait for an answer.
    - ``index_settings``: more settings for the index template (``{"number_of_shards": 2}``), which indices made after
      the next ``setup()`` get.
    - ``client``: more arguments for ``opensearchpy.OpenSearch`` (``{"ca_certs": path}``).

    Raises :class:`~audit_core.errors.ConfigurationError` for options that do not fit. Nothing is sent before it is used.
    """

    def __init__(
        self,
        hosts: str | Sequence[str],
        *,
        index: str = "audit",
        username: str | None = None,
        password: str | None = None,
        aws_region: str | None = None,
        retention_days: int | None = 365,
        refresh: bool | Literal["wait_for"] = False,
        max_bulk_bytes: int = 10_000_000,
        timeout_seconds: float = 30,
        index_settings: Mapping[str, Any] | None = None,
        client: Mapping[str, Any] | None = None,
    ) -> None:
        if refresh not in (True, False, "wait_for"):
            raise ConfigurationError(f"The option refresh is {refresh!r}; it is True, False or 'wait_for'.")
        if max_bulk_bytes < LEAST_BULK_BYTES:
            raise ConfigurationError(
                f"The option max_bulk_bytes is {max_bulk_bytes}; it must be {LEAST_BULK_BYTES} or more."
            )
        if retention_days is not None and retention_days < 1:
            raise ConfigurationError(
                f"The option retention_days is {retention_days}; it must be 1 or more, or None to keep everything."
            )
        self._names = Names(index)
        self._template = template(self._names, index_settings or {})
        self._retention_days = retention_days
        self._refresh = refresh
        self._max_bulk_bytes = max_bulk_bytes
        self._connection = Connection(
            hosts,
            username=username,
            password=password,
            aws_region=aws_region,
            timeout_seconds=timeout_seconds,
            client=client or {},
        )

    def setup(self) -> None:
        """Create or bring up to date the index template, the fields of the indices that are there, and the retention
        policy where the server has Index State Management.
        """
        client = self._connection.client()
        with translated():
            client.indices.put_index_template(name=self._names.template, body=self._template)
            if client.indices.get_alias(index=self._names.pattern):
                client.indices.put_mapping(index=self._names.pattern, body={"properties": FIELDS})
            if self._retention_days is not None:
                retention.put_policy(client, self._names, self._retention_days)

    def check(self) -> list[str]:
        """Whether the server is reachable, permitted, in time and of a known version, and its indices are sane."""
        try:
            client = self._connection.client()
        except ConfigurationError as error:
            return [str(error)]
        return [*self._connection.insecurities(), *problems(client, self._names, self._retention_days)]

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        self._connection.close()

    def write(self, events: Sequence[RecordedEvent]) -> None:
        """Keep those of ``events`` whose id is not known.

        What is kept is on the disk of the primary and of every replica in sync (``index.translog.durability: request``).
        """
        writer = Writer(
            self._connection.client(), self._names, max_bulk_bytes=self._max_bulk_bytes, refresh=self._refresh
        )
        writer.write(events)

    def get(self, event_id: UUID) -> RecordedEvent:
        """The event of this id, as soon as it was written. Raises ``KeyError``."""
        client = self._connection.client()
        found = None
        with translated():
            try:
                found = recorded_of(
                    client.get(
                        index=self._names.alias_of(event_id), id=str(event_id), _source_includes=RETURNED
                    )
                )
            except NotFoundError as error:
                if not (isinstance(error.info, Mapping) and error.info.get("found") is False):
                    require_template(client, self._names)  # set up, and nothing was written in its month
        if found is None:
            raise KeyError(event_id)
        return found

    def search(self, query: EventQuery) -> Page:
        """The newest events that match; see :class:`~audit_core.query.EventQuery`."""
        if query.tenants is not None and not query.tenants:
            return Page()
        body = searching.request(query)
        with translated():
            return searching.page(query, self._search(body)["hits"]["hits"])

    def histogram(
        self, query: EventQuery, interval: histogram.Interval, *, time_zone: str = "UTC"
    ) -> Sequence[histogram.Bucket]:
        """How many events match in each interval, the earliest first; those without any are left out.

        Days, weeks and so on begin by the clocks of ``time_zone``. The cursor and the limit of ``query`` do not matter.
        Raises :class:`~audit_core.query.InvalidQuery` for an unknown interval or zone, or too many intervals.
        """
        body = histogram.request(query, interval, time_zone)
        with translated():
            return histogram.buckets(self._search(body)["aggregations"])

    def prune(self, before: datetime, *, dry_run: bool = False) -> int:
        """Remove the events that occurred before this moment; return how many.

        Whole indices where it can be, which costs nothing; the rest by deleting one by one, for up to an hour an index.
        """
        with translated():
            return retention.prune(self._connection.client(), self._names, before, dry_run=dry_run)

    def _search(self, body: Mapping[str, Any]) -> dict[str, Any]:
        client = self._connection.client()
        try:
            # An answer without the events of a shard that fails would look as if they had never been.
            found: dict[str, Any] = client.search(
                index=self._names.all, body=body, allow_partial_search_results="false"
            )
        except NotFoundError:
            require_template(client, self._names)  # set up, and nothing was written yet
            return {"hits": {"hits": []}, "aggregations": histogram.NONE}
        return found

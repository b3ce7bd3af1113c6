"""Events into the indices of their months, by ``_bulk`` with ``create``: what is there already stays as it is.

The client's own helper makes the requests, cut by bytes, and sends documents again that were throttled (429). What is
left to do here is to understand the answer for each document, and to make the index of a new month.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from opensearchpy import OpenSearch, RequestError, helpers

from audit_core.errors import AuditError, ConfigurationError, PartialWrite, RetryableError
from audit_core.event import RecordedEvent
from audit_storage_opensearch.documents import document
from audit_storage_opensearch.errors import RUN_SETUP, by_status, cause, item_cause, translated
from audit_storage_opensearch.indices import Names

MOST_EVENTS = 10_000  # of one request; its bytes are the limit that counts
THROTTLED_RETRIES = 2
FIRST_RETRY_SECONDS = 1  # doubled each time; the relay waits longer, and holds nothing while it does
_CREATED = range(200, 300)
_KNOWN = 409
_NO_INDEX = 404
_UNFIT = "mapper_parsing_exception"  # the document does not fit the mapping, and never will
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Writer:
    """Writes batches; keeps nothing between them."""

    def __init__(self, client: OpenSearch, names: Names, *, max_bulk_bytes: int, refresh: bool | str) -> None:
        self._client = client
        self._names = names
        self._max_bulk_bytes = max_bulk_bytes
        self._refresh = refresh

    def write(self, events: Sequence[RecordedEvent]) -> None:
        """Keep ``events``, as :meth:`audit_core.storages.contract.Storage.write` says."""
        refused: dict[UUID, str] = {}
        with translated():
            homeless = self._settle(events, refused)
            for alias in sorted({self._names.alias_of(event.id) for event in homeless}):
                make_index(self._client, self._names, alias)
            for event in self._settle(homeless, refused):
                alias = self._names.alias_of(event.id)
                raise ConfigurationError(
                    f"The index {self._names.index_behind(alias)} has lost its alias {alias}, under which its events "
                    f"are written. Add it (POST _aliases)."
                )
        if refused:
            raise PartialWrite(refused)

    def _settle(self, events: Sequence[RecordedEvent], refused: dict[UUID, str]) -> list[RecordedEvent]:
        """Send ``events``, of each id the first. Return those whose month has no index yet, and add to ``refused`` those
        that will never be taken.
        """
        first: dict[str, RecordedEvent] = {}
        for event in events:
            first.setdefault(str(event.id), event)
        homeless: list[RecordedEvent] = []
        outage: AuditError | None = None
        known: set[str] = set()
        damaged: dict[UUID, str] = {}
        answered = 0
        for item in self._answers(first.values(), damaged):
            answered += 1
            status = item["status"]
            if status in _CREATED:
                continue
            event = first[item["_id"]]
            kind, reason = item_cause(item["error"])
            if status == _KNOWN:
                known.add(self._names.alias_of(event.id))
            elif status == _NO_INDEX:
                homeless.append(event)
            elif kind == _UNFIT:
                refused[event.id] = reason
            else:
                outage = outage or by_status(status, kind, reason)
        if outage is not None:
            raise outage
        if answered + len(damaged) != len(first):  # the client goes by the shorter of question and answer
            raise RetryableError(f"OpenSearch answered for {answered} of {len(first) - len(damaged)} events.")
        refused |= damaged
        if known:
            # Another writer may have brought these a moment ago and not yet had them on the disk: a conflict waits for
            # nobody's fsync. A flush writes them there, and is nothing when they are.
            flushed = self._client.indices.flush(index=",".join(sorted(known)))
            if flushed["_shards"]["failed"]:
                raise RetryableError("OpenSearch could not bring events to the disk that it has already.")
        return homeless

    def _answers(self, events: Iterable[RecordedEvent], damaged: dict[UUID, str]) -> Iterator[dict[str, Any]]:
        answers = helpers.streaming_bulk(
            self._client,
            self._lines(events, damaged),
            expand_action_callback=tuple,
            chunk_size=MOST_EVENTS,
            max_chunk_bytes=self._max_bulk_bytes,
            max_retries=THROTTLED_RETRIES,
            initial_backoff=FIRST_RETRY_SECONDS,
            raise_on_error=False,
            # Never an index that nobody asked for, with a mapping that OpenSearch guessed.
            require_alias=True,
            refresh=self._refresh,
            filter_path="items.*._id,items.*.status,items.*.error",  # not a third of the answer
        )
        return (answer["create"] for _, answer in answers)

    def _lines(self, events: Iterable[RecordedEvent], damaged: dict[UUID, str]) -> Iterator[tuple[str, str]]:
        """The two lines of each event in the request; those that cannot be read are added to ``damaged``."""
        for event in events:
            try:
                line = _json(document(event))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                damaged[event.id] = f"Its text is no event ({type(error).__name__}: {error})."
            else:
                # An alias and an id hold nothing that JSON would escape.
                yield f'{{"create":{{"_index":"{self._names.alias_of(event.id)}","_id":"{event.id}"}}}}', line


def make_index(client: OpenSearch, names: Names, alias: str) -> None:
    """Make the index behind ``alias``; another writer may do so at the same time.

    Raises :class:`~audit_core.errors.ConfigurationError` when there is no template for it.
    """
    require_template(client, names)
    try:
        client.indices.create(index=names.index_behind(alias), body={"aliases": {alias: {}}})
    except RequestError as error:
        if cause(error)[0] != "resource_already_exists_exception":
            raise


def require_template(client: OpenSearch, names: Names) -> None:
    """Raises :class:`~audit_core.errors.ConfigurationError` when this storage was never set up."""
    if not client.indices.exists_index_template(name=names.template):
        raise ConfigurationError(
            f"OpenSearch has no index template {names.template}, so no index can be made for events. {RUN_SETUP}"
        )

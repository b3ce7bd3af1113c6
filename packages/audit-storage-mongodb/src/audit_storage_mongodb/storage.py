"""The storage ``mongodb``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pymongo import ASCENDING, DESCENDING, timeout

from audit_core.errors import ConfigurationError, PartialWrite, RetryableError
from audit_core.event import RecordedEvent, format_timestamp
from audit_core.query import EventQuery, Page, encode_cursor
from audit_storage_mongodb import health, indexes
from audit_storage_mongodb.bulk import insert
from audit_storage_mongodb.connection import connect, open_collections
from audit_storage_mongodb.documents import READ, Document, chunk_names, document_of, recorded_of, split
from audit_storage_mongodb.errors import explained
from audit_storage_mongodb.queries import condition, sort_key

MAX_RETENTION_DAYS = (
    2**31 - 1
) // indexes.SECONDS_A_DAY - 1  # expireAfterSeconds is an int of 32 bits; chunks stay a day longer
MAX_TIMEOUT_SECONDS = 24 * 60 * 60
PRUNE_BATCH = 5000  # events
NO_LIMIT = 0  # of pymongo.timeout(), in seconds; None would mean the limit of the client


class MongoStorage:
    """Keeps events in one collection of MongoDB 4.4 or newer. Searchable, prunable, safe to use from several threads.

    - ``uri``: MongoDB's connection string; TLS, credentials, replica set and everything else of the connection are
      said there. Writes are confirmed by a majority and the journal unless it says otherwise (``w``, ``journal``).
    - ``database``: the one that the uri names, else ``audit``.
    - ``collection``: of the events. Texts too long for a document are in a second one, ``<collection>_chunks``.
    - ``retention_days``: the server itself removes older events, by TTL indexes; ``None`` keeps all.
    - ``timeout_seconds``: how long one call may take, retries included; :meth:`setup` and :meth:`prune` take longer.

    Nothing is connected before the first call. :meth:`setup` creates the collections and their indexes.
    """

    def __init__(
        self,
        uri: str,
        *,
        database: str | None = None,
        collection: str = "audit_events",
        retention_days: int | None = None,
        timeout_seconds: float = 20.0,
    ) -> None:
        if retention_days is not None and (
            type(retention_days) is not int or not 1 <= retention_days <= MAX_RETENTION_DAYS
        ):
            raise ConfigurationError(
                f"retention_days is {retention_days!r}; it must be a whole number between 1 and {MAX_RETENTION_DAYS:,}, or "
                f"None to keep all."
            )
        if type(timeout_seconds) not in (int, float) or not 0 < timeout_seconds <= MAX_TIMEOUT_SECONDS:
            raise ConfigurationError(
                f"timeout_seconds is {timeout_seconds!r}; it must be a number above 0 and at most {MAX_TIMEOUT_SECONDS:,}."
            )
        self._uri = uri
        self._retention_days = retention_days
        self._timeout_seconds = timeout_seconds
        self._names = (database, collection)
        self._found = False
        self._open()

    def setup(self) -> None:
        """Create the collections and indexes that are missing. Safe to run at any time; no event is touched.

        It takes as long as MongoDB needs to build the indexes of the events that are there.
        """
        with explained(), timeout(NO_LIMIT):
            indexes.create(self._events, self._chunks, self._retention_days)

    def check(self) -> list[str]:
        """What is wrong with the server, the connection, the permissions or the indexes, in words. Changes nothing."""
        return health.problems(self._client, self._uri, self._events, self._chunks, self._retention_days)

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        self._client.close()
        self._open()

    def write(self, events: Sequence[RecordedEvent]) -> None:
        """Insert those of ``events`` whose id is new; return when a majority has them in its journal.

        Raises :class:`~audit_core.errors.PartialWrite` for events that MongoDB refuses,
        :class:`~audit_core.errors.PermanentError` when one of the batch has no form in BSON,
        :class:`~audit_core.errors.RetryableError` when MongoDB is not there or busy, and
        :class:`~audit_core.errors.ConfigurationError` when the collection, a permission or the credentials are missing.
        """
        if not events:
            return
        with explained():
            self._require_collection()
            documents: dict[UUID, Document] = {}
            chunks: list[Document] = []
            reasons: dict[UUID, str] = {}
            for recorded in events:
                if recorded.id in documents:
                    continue  # the first one wins; an unordered bulk may begin anywhere
                try:
                    documents[recorded.id] = document = document_of(recorded)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    reasons[recorded.id] = f"Its text is no event: {error!r}"
                else:
                    chunks += split(document)
            # An event must not be there before its chunks are.
            owners = {chunk["_id"]: chunk["event"] for chunk in chunks}
            for name, reason in insert(self._chunks, chunks).items():
                reasons[owners[name]] = reason
            whole = [document for id_, document in documents.items() if id_ not in reasons]
            reasons.update(insert(self._events, whole))
        if reasons:
            raise PartialWrite(reasons)

    def get(self, event_id: UUID) -> RecordedEvent:
        """The event of this id. Raises ``KeyError`` when it is not there."""
        with explained():
            self._require_collection()
            document = self._events.find_one({"_id": event_id}, dict.fromkeys(READ, 1))
            if document is None:
                raise KeyError(event_id)
            return self._recorded([document])[0]

    def search(self, query: EventQuery) -> Page:
        """See :class:`~audit_core.query.EventQuery`. Every filter is answered; the last word of ``text`` may be begun."""
        if query.tenants is not None and not query.tenants:
            return Page(newest=query.cursor if query.newer else None)
        key, where = sort_key(query), condition(query)
        wanted = query.limit + (not query.newer)  # one more shows that there is a next page
        with explained():
            self._require_collection()
            # A page of large events with a word in common may not fit into the memory that MongoDB 4.4 and 5 sort in.
            cursor = self._events.find(
                where, dict.fromkeys((*READ, key), 1), batch_size=wanted, allow_disk_use=True
            )
            found = list(cursor.sort(key, ASCENDING if query.newer else DESCENDING).limit(wanted))
            if query.newer:
                found.reverse()
            page = found[: query.limit]
            events = self._recorded(page)
        if not page:
            return Page(newest=query.cursor if query.newer else None)
        more = len(found) > query.limit
        return Page(events, encode_cursor(page[-1][key]) if more else None, encode_cursor(page[0][key]))

    def prune(self, before: datetime, *, dry_run: bool = False) -> int:
        """Remove the events that occurred before this moment, oldest first; return how many.

        It takes as long as it needs. Stopped on the way, it has removed some and goes on when it is called again.
        """
        moment = format_timestamp(before)
        old = {"time_order": {"$lt": moment}}
        with explained(), timeout(NO_LIMIT):
            if dry_run:
                return self._events.count_documents(old)
            removed = 0
            while batch := list(self._events.find(old, {"_id": 1}).sort("time_order").limit(PRUNE_BATCH)):
                ids = [document["_id"] for document in batch]
                removed += self._events.delete_many({"_id": {"$in": ids}}).deleted_count
            self._chunks.delete_many({"_id": {"$lt": moment}})
            return removed

    def _open(self) -> None:
        self._client = connect(self._uri, self._timeout_seconds)
        self._events, self._chunks = open_collections(self._client, *self._names)

    def _require_collection(self) -> None:
        # MongoDB would create it at the first insert, without an index.
        if not self._found:
            if not self._events.index_information() or not self._chunks.index_information():
                raise ConfigurationError(
                    f"The collection {self._events.full_name} or its chunks are missing. Run `audit setup`."
                )
            self._found = True

    def _recorded(self, documents: list[Document]) -> list[RecordedEvent]:
        names = list(chunk_names(documents))
        chunks = self._texts(names) if names else {}
        try:
            return [recorded_of(document, chunks) for document in documents]
        except KeyError as error:
            raise RetryableError(
                f"The chunk {error} is missing in {self._chunks.full_name}. Ask again: its event may just have been removed. "
                f"If it stays so, the chunk is lost: restore it from a backup."
            ) from error

    def _texts(self, names: Iterable[str]) -> dict[str, Any]:
        return {chunk["_id"]: chunk["data"] for chunk in self._chunks.find({"_id": {"$in": list(names)}})}

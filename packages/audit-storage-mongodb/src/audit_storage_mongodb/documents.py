"""From an event to its document and back.

The canonical text is kept as it was hashed; everything else in the document is beside it for what is asked. Two
strings carry the orders in which pages come. Both are unique, so that a page goes on after one value, and an index
that ends in one of them gives a page without sorting:

- ``order``: the order of recording, ``0000000000000042.<event id>``; without a seq ``~.<event id>``, which is newer.
- ``time_order``: ``2026-03-03T12:00:00.000001Z <order>``, because a date of MongoDB ends at the millisecond.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from audit_core.codec import leaf_hash, safe_text
from audit_core.errors import ConfigurationError
from audit_core.event import RecordedEvent, format_timestamp
from audit_core.words import words_of

Document: TypeAlias = dict[str, Any]

LAYOUT = (
    1  # of the documents (MongoDB's schema versioning pattern), whatever the event's own schema_version is
)

MAX_TEXT_BYTES = 12 * 1024 * 1024
"""A longer text is kept in chunks of this size. A document ends at 16 MiB (MongoDB Limits and Thresholds, BSON
Document Size); the rest is for what is beside the text."""

READ = ("layout", "text", "chunks", "seq", "summary")  # what an event is read from


def document_of(recorded: RecordedEvent) -> Document:
    """The document of ``recorded``, whole; see :func:`split`.

    Raises ``ValueError``, ``KeyError``, ``TypeError`` or ``AttributeError`` when its text is no event.
    """
    event = recorded.event
    actor, target = event.actor, event.target
    order = f"{'~' if recorded.seq is None else f'{recorded.seq:016d}'}.{recorded.id.hex}"
    attributes = {
        "summary": recorded.summary,
        "category": event.category,
        "action": event.action,
        "outcome": event.outcome,
        "tenant": event.tenant,
        "actor_id": actor and actor.id,
        "actor_label": actor and actor.label,
        "target_type": target and target.type,
        "target_id": target and target.id,
        "target_label": target and target.repr,
        "request_id": event.context.request_id,
    }
    document: Document = {
        "_id": recorded.id,
        "layout": LAYOUT,
        "occurred_at": event.occurred_at,
        "time_order": f"{format_timestamp(event.occurred_at)} {order}",
        "order": order,
        # str(): the member of an enum is no string to BSON.
        **{name: safe_text(str(value)) for name, value in attributes.items() if value is not None},
        "fields": [safe_text(name) for name in event.diff],
        "words": words_of(recorded),
        "text": recorded.text,
    }
    if recorded.seq is not None:
        document["seq"] = recorded.seq
    return document


def split(document: Document) -> list[Document]:
    """Take a text that is too long for one document out of ``document``; the chunks to keep it in.

    A chunk is named after the text, not the event: of two writers with different texts for one id, each keeps its
    own chunks, and the document that is kept names those of its text. The name begins with the time, so that
    chunks are pruned by a range of their ``_id``.
    """
    text: str = document["text"]
    if len(text) * 4 <= MAX_TEXT_BYTES:  # four bytes are the most for a character
        return []
    data = text.encode()
    if len(data) <= MAX_TEXT_BYTES:
        return []
    moment = document["time_order"].partition(" ")[0]
    name = f"{moment} {leaf_hash(text).hex()}"
    chunks = [
        {
            "_id": f"{name} {number:04d}",
            "event": document["_id"],
            "occurred_at": document["occurred_at"],
            "data": data[start : start + MAX_TEXT_BYTES],
        }
        for number, start in enumerate(range(0, len(data), MAX_TEXT_BYTES))
    ]
    document["chunks"] = [chunk["_id"] for chunk in chunks]
    del document["text"]
    return chunks


def chunk_names(documents: list[Document]) -> Iterator[str]:
    """The chunks that these documents name."""
    for document in documents:
        yield from document.get("chunks", ())


def recorded_of(document: Document, chunks: Mapping[str, bytes]) -> RecordedEvent:
    """The event of ``document``; its leaf hash is computed anew from the text.

    Raises ``KeyError`` for a chunk that is not in ``chunks``, and
    :class:`~audit_core.errors.ConfigurationError` for a layout that this version cannot read.
    """
    if document["layout"] > LAYOUT:
        raise ConfigurationError(
            f"Event {document['_id']} was written by a newer audit-storage-mongodb (layout {document['layout']}; this "
            f"one reads up to {LAYOUT}). Update this installation."
        )
    text = document.get("text")
    if text is None:
        text = b"".join(chunks[name] for name in document["chunks"]).decode()
    return RecordedEvent(
        id=document["_id"],
        text=text,
        leaf_hash=leaf_hash(text),
        seq=document.get("seq"),
        summary=document.get("summary"),
    )

"""Unordered inserts, and what becomes of each document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import InsertOne
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from audit_core.errors import ConfigurationError
from audit_storage_mongodb.documents import Document
from audit_storage_mongodb.errors import DUPLICATE_KEY, REFUSED, explain_code


def insert(collection: Collection[Document], documents: Sequence[Document]) -> dict[Any, str]:
    """Insert those whose ``_id`` is new; the ``_id`` of each that was refused for good, with the server's words.

    pymongo cuts the batch at the server's limits (100,000 documents, 48 MB) and repeats what a lost connection or a
    change of primary interrupted. A document that is there already may not have reached a majority yet, because another
    writer has just inserted it: the server waits for the write concern of that one too. Raises
    :class:`~audit_core.errors.RetryableError` and :class:`~audit_core.errors.ConfigurationError`, and what pymongo
    raises.
    """
    if not documents:
        return {}
    try:
        collection.bulk_write([InsertOne(document) for document in documents], ordered=False)
    except BulkWriteError as error:
        return _refusals(error.details, collection.full_name)
    return {}


def _refusals(details: Mapping[str, Any], where: str) -> dict[Any, str]:
    for concern in details.get("writeConcernErrors", ()):
        raise explain_code(concern.get("code"), concern)
    refused = {}
    passing = None
    for error in details.get("writeErrors", ()):
        code = error.get("code")
        if code == DUPLICATE_KEY:
            _require_id(error, where)
        elif code in REFUSED:
            refused[error["op"]["_id"]] = f"MongoDB refused it: {error.get('errmsg')} (code {code})"
        else:
            passing = explain_code(code, error)
    if passing is not None:
        raise passing
    return refused


def _require_id(error: Mapping[str, Any], where: str) -> None:
    # An event that is there already is what a retry expects; one that another unique index keeps out would be lost.
    key = error.get("keyPattern", {"_id": 1})  # FerretDB does not say
    if list(key) != ["_id"]:
        raise ConfigurationError(
            f"A unique index on {', '.join(key)} keeps events out of {where}. Drop it: events are unique by _id alone."
        )

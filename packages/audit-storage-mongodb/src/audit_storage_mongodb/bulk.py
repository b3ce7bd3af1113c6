"""Unordered inserts, and what becomes of each document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import InsertOne, ReadPreference
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from audit_core.errors import ConfigurationError
from audit_storage_mongodb.documents import Document
from audit_storage_mongodb.errors import DUPLICATE_KEY, REFUSED, explain_code
from audit_storage_mongodb.indexes import other_unique_indexes


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
        return _refusals(error.details, collection)
    return {}


def _refusals(details: Mapping[str, Any], collection: Collection[Document]) -> dict[Any, str]:
    for concern in details.get("writeConcernErrors", ()):
        raise explain_code(concern.get("code"), concern)
    refused = {}
    duplicates: list[Any] = []
    passing = None
    for error in details.get("writeErrors", ()):
        code = error.get("code")
        if code == DUPLICATE_KEY:
            if "keyPattern" not in error:
                duplicates.append(error["op"]["_id"])
            elif list(error["keyPattern"]) != ["_id"]:
                raise _kept_out(f"on {', '.join(error['keyPattern'])}", collection)
        elif code in REFUSED:
            refused[error["op"]["_id"]] = f"MongoDB refused it: {error.get('errmsg')} (code {code})"
        else:
            passing = explain_code(code, error)
    if passing is not None:
        raise passing
    if duplicates:
        _require_known(duplicates, collection)
    return refused


def _require_known(ids: list[Any], collection: Collection[Document]) -> None:
    """Whether what is said to be there already is: a server that does not name the index may mean another than _id."""
    others = other_unique_indexes(collection)
    if not others:
        return
    primary = collection.with_options(read_preference=ReadPreference.PRIMARY)
    there = {document["_id"] for document in primary.find({"_id": {"$in": ids}}, {"_id": 1})}
    if not there.issuperset(ids):
        raise _kept_out(" or ".join(others), collection)


def _kept_out(what: str, collection: Collection[Document]) -> ConfigurationError:
    # An event that is there already is what a retry expects; one that another unique index keeps out would be lost.
    return ConfigurationError(
        f"A unique index ({what}) keeps events out of {collection.full_name}. Drop it: events are unique by _id alone."
    )

"""The connection: what the uri says, and what is set where it is silent."""

from __future__ import annotations

from typing import Any

from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import ConfigurationError as ClientConfigurationError
from pymongo.errors import InvalidName
from pymongo.write_concern import WriteConcern

from audit_core.errors import ConfigurationError
from audit_storage_mongodb.documents import Document

DEFAULT_DATABASE = "audit"
_DOCUMENTS: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, uuid_representation=UuidRepresentation.STANDARD
)


def connect(uri: str, timeout_seconds: float) -> MongoClient[Document]:
    """A client that connects at its first call, and in a forked child anew (pymongo sees to both).

    ``timeout_seconds`` is pymongo's limit for one operation (``timeoutMS``), within which it repeats reads and writes
    that a lost connection or a change of primary interrupted, where the server supports that. Raises
    :class:`~audit_core.errors.ConfigurationError`.
    """
    try:
        client: MongoClient[Document] = MongoClient(
            uri, connect=False, timeoutMS=max(1, round(timeout_seconds * 1000))
        )
    except OSError as error:
        raise ConfigurationError(
            f"A file that the uri names cannot be used ({error}). Correct tlsCAFile, tlsCertificateKeyFile or tlsCRLFile."
        ) from error
    except (ClientConfigurationError, ValueError, TypeError) as error:
        # What pymongo says may hold a part of the password.
        raise ConfigurationError(
            f"The uri is no connection string of MongoDB ({type(error).__name__}). Write mongodb://user:password@host/ or "
            f"mongodb+srv://…, with special characters of user and password percent-encoded."
        ) from None
    if not client.write_concern.acknowledged:
        client.close()
        raise ConfigurationError(
            "The uri says w=0: MongoDB would confirm no write, so events could be lost. Remove it."
        )
    return client


def open_collections(
    client: MongoClient[Document], database: str | None, collection: str
) -> tuple[Collection[Document], Collection[Document]]:
    """The collections of the events and of their chunks. Raises :class:`~audit_core.errors.ConfigurationError`."""
    try:
        confirmed = WriteConcern(**{"w": "majority", "j": True, **client.write_concern.document})
    except ClientConfigurationError as error:
        raise ConfigurationError(f"The write concern of the uri cannot be used: {error}.") from error
    try:
        home = client.get_default_database(DEFAULT_DATABASE) if database is None else client[database]
        events, chunks = (
            home.get_collection(name, codec_options=_DOCUMENTS, write_concern=confirmed)
            for name in (collection, f"{collection}_chunks")
        )
    except (InvalidName, TypeError) as error:
        raise ConfigurationError(f"The name of a database or collection is wrong: {error}") from error
    return events, chunks

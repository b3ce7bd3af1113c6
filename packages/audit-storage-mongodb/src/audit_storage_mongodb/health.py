"""What :meth:`MongoStorage.check` looks at, from the outside in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure
from pymongo.uri_parser import parse_uri

from audit_core.errors import AuditError
from audit_storage_mongodb import indexes
from audit_storage_mongodb.documents import Document
from audit_storage_mongodb.errors import explained

MAX_CLOCK_SECONDS = 5.0
NEEDED_ACTIONS = frozenset({"find", "insert", "listIndexes"})  # to write and to search
_WEAK_TLS = ("tlsInsecure", "tlsAllowInvalidCertificates", "tlsAllowInvalidHostnames")


def problems(
    client: MongoClient[Document],
    uri: str,
    events: Collection[Document],
    chunks: Collection[Document],
    retention_days: int | None,
) -> list[str]:
    """Everything that is wrong; only the reason when the server cannot be asked at all. Without a permission the indexes
    are not looked at.
    """
    try:
        with explained():
            hello = client.admin.command("hello")
            found = clock_problems(hello)
            options = parse_uri(uri)["options"]
            found += tls_problems(options, [host for host, _ in client.nodes])
            privileges = _privileges(client)
            lacking = [
                problem for one in (events, chunks) for problem in permission_problems(privileges, one)
            ]
            return found + (lacking or indexes.problems(events, chunks, retention_days))
    except AuditError as error:
        return [str(error)]


def clock_problems(hello: Mapping[str, Any]) -> list[str]:
    """Whether this machine's clock and the server's agree."""
    local = hello.get("localTime")
    if local is None:
        return []
    server = local if local.tzinfo else local.replace(tzinfo=UTC)
    skew = abs((datetime.now(UTC) - server).total_seconds())
    if skew <= MAX_CLOCK_SECONDS:
        return []
    return [
        f"This machine's clock and MongoDB's are {skew:,.0f} s apart: events carry wrong times, and retention goes by them. "
        f"Set both by NTP."
    ]


def tls_problems(options: Mapping[str, Any], hosts: Iterable[str]) -> list[str]:
    """Whether events and passwords cross a network in the clear."""
    weak = [name for name in _WEAK_TLS if options.get(name)]
    if weak:
        return [
            f"The uri sets {weak[0]}: whoever is on the way can read the events. Name the authority with tlsCAFile instead."
        ]
    encrypted = options.get("tls", any(name.lower().startswith("tls") for name in options))
    remote = sorted(host for host in hosts if not _is_local(host))
    if encrypted or not remote:
        return []
    return [f"The connection to {remote[0]} is not encrypted. Add tls=true to the uri."]


def _is_local(host: str) -> bool:
    if host == "localhost" or host.endswith(".sock"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _privileges(client: MongoClient[Document]) -> list[Mapping[str, Any]] | None:
    """What the user may do; ``None`` where everybody may do everything, or the server does not say."""
    try:
        status = client.admin.command("connectionStatus", showPrivileges=True)["authInfo"]
    except OperationFailure:
        return None
    return status.get("authenticatedUserPrivileges") if status.get("authenticatedUsers") else None


def permission_problems(
    privileges: Iterable[Mapping[str, Any]] | None, collection: Collection[Document]
) -> list[str]:
    """What the user may not do that writing and searching need."""
    if privileges is None:
        return []
    granted: set[str] = set()
    for privilege in privileges:
        if _covers(privilege["resource"], collection):
            granted.update(privilege["actions"])
    lacking = sorted(NEEDED_ACTIONS - granted)
    if not lacking:
        return []
    return [
        f"The user may not {', '.join(lacking)} on {collection.full_name}. Give it the role readWrite on the database, or the "
        f"smaller one that the documentation of audit-storage-mongodb lists."
    ]


def _covers(resource: Mapping[str, Any], collection: Collection[Document]) -> bool:
    # An empty name stands for all (MongoDB Manual, Resource Document).
    if resource.get("anyResource"):
        return True
    return resource.get("db") in ("", collection.database.name) and resource.get("collection") in (
        "",
        collection.name,
    )

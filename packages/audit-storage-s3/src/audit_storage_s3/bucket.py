"""The bucket: each request that is made to it, with encryption and lock where something is written."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from audit_core.clients import PerProcess
from audit_storage_s3.errors import MISSING, code_of, explained, status_of
from audit_storage_s3.settings import Settings

MAX_DELETIONS = 1000  # a DeleteObjects call (S3 API reference)
WORKERS = 8  # requests at a time; botocore keeps 10 connections
CONFIG = Config(
    # The relay waits and tries again by itself, so the client only bridges a hiccup.
    retries={"mode": "standard", "total_max_attempts": 3},
    connect_timeout=5,
    read_timeout=60,
    user_agent_extra="audit-storage-s3",
)

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Found:
    """What an object says about itself; ``body`` only where it was asked for."""

    etag: str
    size_bytes: int
    metadata: Mapping[str, str]
    locked_until: datetime | None
    legal_hold: bool
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a key, or the marker of its deletion."""

    key: str
    version_id: str
    is_marker: bool


class Bucket:
    """A bucket and the settings it is used with. Safe to use from several threads, and after a fork.

    Everything raises :class:`~audit_core.errors.ConfigurationError` where a person has to act and
    :class:`~audit_core.errors.RetryableError` where waiting helps.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.is_trusted = False  # whether it was seen to honour If-None-Match: see health.begin
        self._client: PerProcess[Any] = PerProcess(self._make, lambda client: client.close())

    @property
    def client(self) -> Any:
        """boto3's client."""
        return self._client.get()

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        self._client.close()

    def _make(self) -> Any:
        with explained(self.settings):
            return boto3.session.Session().client(
                "s3",
                region_name=self.settings.region,
                endpoint_url=self.settings.endpoint_url,
                config=CONFIG,
            )

    def ask(self, operation: str, **arguments: Any) -> Any:
        """One call of the client, on this bucket."""
        with explained(self.settings):
            return getattr(self.client, operation)(Bucket=self.settings.bucket, **arguments)

    def create(
        self, key: str, body: Any, digest: bytes, metadata: Mapping[str, str], content_type: str
    ) -> str | None:
        """Make an object, unless there is one of this key; its ETag, or ``None`` when there is."""
        return self._put(key, body, digest, metadata, content_type, IfNoneMatch="*")

    def replace(self, key: str, body: bytes, digest: bytes, content_type: str, etag: str) -> str | None:
        """Put ``body`` in the place of the version that has this ETag; ``None`` when it is another one by now."""
        return self._put(key, body, digest, {}, content_type, IfMatch=etag)

    def _put(
        self,
        key: str,
        body: Any,
        digest: bytes,
        metadata: Mapping[str, str],
        content_type: str,
        **condition: str,
    ) -> str | None:
        with explained(self.settings):
            try:
                answer = self.client.put_object(
                    Bucket=self.settings.bucket,
                    Key=key,
                    Body=body,
                    ChecksumSHA256=base64.b64encode(digest).decode(),  # S3 compares it with what arrives
                    Metadata=dict(metadata),
                    ContentType=content_type,
                    **self.protection(),
                    **condition,
                )
            except ClientError as error:
                # 409: another conditional request on this key is under way, or has just ended.
                if status_of(error) == 412 or code_of(error) == "ConditionalRequestConflict":
                    return None
                if "IfMatch" in condition and code_of(error) in MISSING:
                    return None
                raise
            return str(answer["ETag"])

    def protection(self) -> dict[str, Any]:
        """What every object is written with."""
        settings = self.settings
        arguments: dict[str, Any] = {"ServerSideEncryption": settings.encryption}
        if settings.encryption == "aws:kms":
            arguments["BucketKeyEnabled"] = True  # one call to KMS for many objects
            if settings.kms_key_id is not None:
                arguments["SSEKMSKeyId"] = settings.kms_key_id
        if settings.object_lock is not None and settings.retention_days is not None:
            arguments["ObjectLockMode"] = settings.object_lock
            arguments["ObjectLockRetainUntilDate"] = datetime.now(UTC) + timedelta(
                days=settings.retention_days
            )
        return arguments

    def get(self, key: str) -> Found | None:
        """The object with its body; ``None`` when there is none."""
        return self._find("get_object", key)

    def head(self, key: str) -> Found | None:
        """What the object says about itself; ``None`` when there is none."""
        return self._find("head_object", key)

    def _find(self, operation: str, key: str) -> Found | None:
        with explained(self.settings):
            try:
                answer = getattr(self.client, operation)(Bucket=self.settings.bucket, Key=key)
                body = answer["Body"].read() if "Body" in answer else b""
            except ClientError as error:
                if code_of(error) in MISSING:
                    return None
                raise
            return Found(
                answer["ETag"],
                answer["ContentLength"],
                answer["Metadata"],
                answer.get("ObjectLockRetainUntilDate"),
                answer.get("ObjectLockLegalHoldStatus") == "ON",
                body,
            )

    def objects(self, prefix: str) -> Iterator[tuple[str, int, str]]:
        """Key, size in bytes and ETag of every object under ``prefix``, in the order of the keys."""
        for page in self._pages("list_objects_v2", Prefix=prefix):
            for item in page.get("Contents", ()):
                yield item["Key"], item["Size"], item["ETag"]

    def folders(self, prefix: str) -> Iterator[str]:
        """The folders directly under ``prefix``."""
        for page in self._pages("list_objects_v2", Prefix=prefix, Delimiter="/"):
            for item in page.get("CommonPrefixes", ()):
                yield item["Prefix"]

    def versions(self, prefix: str) -> Iterator[Version]:
        """Every version under ``prefix``; on a bucket without versions each object is its only one."""
        for page in self._pages("list_object_versions", Prefix=prefix):
            for item in page.get("Versions", ()):
                yield Version(item["Key"], item["VersionId"], False)
            for item in page.get("DeleteMarkers", ()):
                yield Version(item["Key"], item["VersionId"], True)

    def _pages(self, operation: str, **arguments: Any) -> Iterator[Mapping[str, Any]]:
        with explained(self.settings):
            for page in self.client.get_paginator(operation).paginate(
                Bucket=self.settings.bucket, **arguments
            ):
                if "IsTruncated" not in page:
                    # Every listing says it. Python's HTTP client takes headers that end with the connection for complete, and
                    # botocore no body for an empty listing: what is there would look as if it had never been.
                    raise KeyError("IsTruncated")
                yield page

    def delete(self, items: Iterable[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
        """Delete ``{"Key": …}`` or ``{"Key": …, "VersionId": …}``; what S3 refused, with ``Code`` and ``Message``.

        Without a version, a bucket with versions keeps the object and hides it.
        """
        items, refused = list(items), []
        for start in range(0, len(items), MAX_DELETIONS):
            some = items[start : start + MAX_DELETIONS]
            answer = self.ask("delete_objects", Delete={"Objects": some, "Quiet": True})
            refused += answer.get("Errors", ())
        return refused

    def each(self, work: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
        """``work`` for each item, several at a time, in the order of the items."""
        if len(items) < 2:
            return [work(item) for item in items]
        with ThreadPoolExecutor(min(WORKERS, len(items)), "audit-s3") as pool:
            return list(pool.map(work, items))

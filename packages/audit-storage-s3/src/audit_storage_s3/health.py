"""``setup()`` and ``check()``: the bucket, and what it must be able to do."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from botocore.exceptions import ClientError

from audit_core.errors import AuditError, ConfigurationError
from audit_storage_s3.bucket import Bucket
from audit_storage_s3.errors import clock_ahead_seconds, code_of, explained
from audit_storage_s3.formats import Format

LAYOUT = "layout.json"
LAYOUT_VERSION = 1
WARN_SKEW_SECONDS = 60  # S3 refuses at 15 minutes; a clock that is kept right is never off by one
NO_SUCH_ETAG = '"00000000000000000000000000000000"'


def setup(bucket: Bucket) -> None:
    """Create the bucket when there is none. New buckets are private and encrypted by AWS's own defaults."""
    settings = bucket.settings
    with explained(settings):
        try:
            bucket.client.list_objects_v2(Bucket=settings.bucket, MaxKeys=1)
        except ClientError as error:
            if code_of(error) != "NoSuchBucket":
                raise
        else:
            return
        arguments: dict[str, Any] = {}
        if settings.object_lock is not None:
            arguments["ObjectLockEnabledForBucket"] = True  # and with it, versions
        region = bucket.client.meta.region_name
        if region not in (None, "us-east-1", "aws-global"):  # us-east-1 is the one that must not be named
            arguments["CreateBucketConfiguration"] = {"LocationConstraint": region}
        try:
            bucket.client.create_bucket(Bucket=settings.bucket, **arguments)
        except ClientError as error:
            if code_of(error) != "BucketAlreadyOwnedByYou":
                raise


def check(bucket: Bucket, format_: Format) -> list[str]:
    """What is wrong, in words.

    A small object that says how the prefix is laid out is written where there is none: that is how permission, encryption
    and the two conditions that everything depends on are tried.
    """
    try:
        answer = bucket.ask("list_objects_v2", Prefix=bucket.settings.prefix, MaxKeys=1)
    except AuditError as error:
        return [str(error)]
    problems = _clock(answer["ResponseMetadata"]["HTTPHeaders"])
    for look in (_lock, _writing):
        try:
            problems += look(bucket, format_)
        except AuditError as error:
            problems.append(str(error))
    return problems


def _clock(headers: dict[str, str]) -> list[str]:
    ahead = clock_ahead_seconds(headers)
    if abs(ahead) <= WARN_SKEW_SECONDS:
        return []
    return [
        f"This machine's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} S3's, which refuses all requests "
        f"from 15 minutes on. Set it by NTP."
    ]


def _lock(bucket: Bucket, _: Format) -> list[str]:
    if bucket.settings.object_lock is None:
        return []
    with explained(bucket.settings):
        try:
            bucket.client.get_object_lock_configuration(Bucket=bucket.settings.bucket)
        except ClientError as error:
            if code_of(error) != "ObjectLockConfigurationNotFoundError":
                raise
            return [
                f"The bucket {bucket.settings.bucket!r} was made without Object Lock, so nothing can be written. Switch it on "
                f"(it needs versioning), or take away object_lock and retention_days."
            ]
    return []


def begin(bucket: Bucket, format_: Format) -> None:
    """Write the small object that says how the prefix is laid out, where there is none.

    Raises :class:`~audit_core.errors.ConfigurationError` when the store makes an object twice under ``If-None-Match``: nothing
    may be written there, because one writer would overwrite the events of another.
    """
    for _ in range(2):
        if _layout(bucket, format_) is None:
            bucket.is_trusted = True
            return
    raise ConfigurationError(
        "The store ignores If-None-Match, so one writer could overwrite another's events, and nothing is written. Use Amazon "
        "S3, or a store that knows conditional writes."
    )


def _layout(bucket: Bucket, format_: Format, replacing: str | None = None) -> str | None:
    key = bucket.settings.prefix + LAYOUT
    body = json.dumps({"layout": LAYOUT_VERSION, "suffix": format_.suffix}).encode()
    digest = hashlib.sha256(body).digest()
    if replacing is not None:
        return bucket.replace(key, body, digest, "application/json", replacing)
    return bucket.create(key, body, digest, {}, "application/json")


def _writing(bucket: Bucket, format_: Format) -> list[str]:
    begin(bucket, format_)
    found = bucket.get(bucket.settings.prefix + LAYOUT)
    kept = "nothing" if found is None else found.body[:200].decode(errors="replace")
    if f'"suffix": "{format_.suffix}"' not in kept:
        return [
            f"The prefix was begun with {kept} and the format {format_.suffix} is configured. A prefix holds one format: go on "
            f"with the old one, or give the new one another prefix."
        ]
    if _layout(bucket, format_, NO_SUCH_ETAG) is not None:
        return [
            "The store ignores If-Match, so two compactions at the same time could spoil a day's manifest: run one at a time."
        ]
    return []

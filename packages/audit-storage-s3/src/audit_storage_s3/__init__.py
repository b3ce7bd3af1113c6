"""Audit events as objects on Amazon S3, or on a store that speaks its protocol.

:class:`~audit_storage_s3.storage.S3Storage` is the storage. Nothing here imports boto3 before it is used.
"""

from __future__ import annotations

from audit_core import hookimpl


@hookimpl
def audit_register_storages() -> dict[str, str]:
    return {"s3": "audit_storage_s3.storage.S3Storage"}

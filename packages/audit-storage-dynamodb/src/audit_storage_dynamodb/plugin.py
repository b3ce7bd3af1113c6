"""What this package registers. boto3 is imported when the storage is built, not before."""

from __future__ import annotations

from audit_core import hookimpl


@hookimpl
def audit_register_storages() -> dict[str, str]:
    return {"dynamodb": "audit_storage_dynamodb.storage.DynamoDBStorage"}

"""What this package adds to the audit trail. pymongo is imported when a storage is made, not before."""

from __future__ import annotations

from audit_core import hookimpl


@hookimpl
def audit_register_storages() -> dict[str, str]:
    return {"mongodb": "audit_storage_mongodb.storage.MongoStorage"}

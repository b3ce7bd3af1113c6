"""The audit trail in MongoDB: :class:`audit_storage_mongodb.storage.MongoStorage`, the storage ``mongodb``."""

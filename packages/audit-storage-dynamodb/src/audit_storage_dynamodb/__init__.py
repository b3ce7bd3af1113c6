"""The audit trail in Amazon DynamoDB. The storage itself is
:class:`~audit_storage_dynamodb.storage.DynamoDBStorage`; nothing here imports boto3.
"""

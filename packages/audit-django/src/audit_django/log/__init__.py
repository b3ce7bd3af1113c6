"""The log on Django's tables: its contract, the SQL by which it is filled and read, and where a look at the outbox begins."""

from audit_django.log.contract import DjangoLog

__all__ = ["DjangoLog"]

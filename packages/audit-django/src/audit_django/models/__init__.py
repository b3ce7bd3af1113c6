"""The tables, in the order of an event's way: data key, event and outbox, log, cursor, parked, summary."""

from audit_django.models.event import AuditEvent, OutboxEntry
from audit_django.models.key import DataKey
from audit_django.models.log import Cursor, LogEntry, ParkedEntry, Summary

__all__ = ["AuditEvent", "Cursor", "DataKey", "LogEntry", "OutboxEntry", "ParkedEntry", "Summary"]

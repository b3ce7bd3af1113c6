"""The two tables that are written in the business transaction."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage
from django.db import models
from django.utils.translation import gettext_lazy as _

from audit_core.event import Event, RecordedEvent
from audit_django.models.search import EVENT_TABLE, SearchField
from audit_django.models.utc import UtcField

TABLE_PREFIX = "audit_django_"  # a statement that names it reads or writes the trail (see capture.pending)


def _where_known(first: str, *others: str, name: str) -> models.Index:
    """An index of the rows whose first column has a value: others cost nothing. MariaDB and MySQL index them all."""
    return models.Index(fields=[first, *others], name=name, condition=models.Q(**{f"{first}__isnull": False}))


class AuditEvent(models.Model):
    """One event. The row is written once and never changed.

    ``text`` is the canonical text: what is hashed, sent and shown. The other columns are beside it for what is asked by SQL;
    nothing is asked of the text. ``number`` is taken at the flush, while the business row is locked, so it orders the
    history of one object; the log's seq orders the whole.
    """

    number = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField(unique=True)
    occurred_at = UtcField()
    category = models.CharField(max_length=20)
    action = models.CharField(max_length=100)
    outcome = models.CharField(max_length=10)
    actor_id = models.CharField(max_length=255, null=True)  # noqa: DJ001  nobody is not the empty name
    actor_label = models.CharField(max_length=255, null=True)  # noqa: DJ001
    target_type = models.CharField(max_length=150, null=True)  # noqa: DJ001
    target_id = models.CharField(max_length=255, null=True)  # noqa: DJ001
    tenant = models.CharField(max_length=100, null=True)  # noqa: DJ001
    request_id = models.CharField(max_length=100, null=True)  # noqa: DJ001
    search = SearchField()
    text = models.TextField()

    class Meta:
        db_table = EVENT_TABLE
        verbose_name = _("audit event")
        verbose_name_plural = _("audit events")
        default_permissions = ()
        permissions = [
            ("view_audit_log", _("Can view the audit log")),
            ("unmask", _("Can see sensitive values in the audit log")),
        ]
        indexes = [
            models.Index(fields=["target_type", "target_id", "number"], name="audit_event_history"),
            models.Index(fields=["target_type", "occurred_at", "number"], name="audit_event_type"),
            _where_known("actor_id", "occurred_at", "number", name="audit_event_actor"),
            _where_known("tenant", "occurred_at", "number", name="audit_event_tenant"),
            models.Index(fields=["action", "occurred_at", "number"], name="audit_event_action"),
            models.Index(fields=["occurred_at", "number"], name="audit_event_time"),
            _where_known("request_id", "number", name="audit_event_request"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target_type or ''} {self.target_id or ''}".strip()

    @classmethod
    def check(cls, **kwargs: Any) -> list[CheckMessage]:
        # "MariaDB does not support indexes with conditions": it indexes every row, which is right too.
        return [message for message in super().check(**kwargs) if message.id != "models.W037"]

    @property
    def event(self) -> Event:
        """The event itself."""
        return self.recorded().event

    def recorded(self, *, seq: int | None = None, summary: str | None = None) -> RecordedEvent:
        """The row as the contracts know it. The leaf hash is computed anew from the text."""
        from audit_core.codec import leaf_hash

        return RecordedEvent(
            id=self.event_id, text=self.text, leaf_hash=leaf_hash(self.text), seq=seq, summary=summary
        )


class OutboxEntry(models.Model):
    """Points to an event that has no seq yet. Deleted when it gets one."""

    id = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField()
    leaf_hash = models.BinaryField(max_length=32)

    class Meta:
        db_table = "audit_django_outbox"
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.event_id)

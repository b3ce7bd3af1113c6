"""The tables that only the relay writes, outside every request."""

from __future__ import annotations

from django.db import models

from audit_django.models.utc import UtcField


class LogEntry(models.Model):
    """An event's place in the one order: seq runs 1, 2, 3 … without a gap."""

    seq = models.BigIntegerField(primary_key=True)
    event_id = models.UUIDField(unique=True)
    leaf_hash = models.BinaryField(max_length=32)

    class Meta:
        db_table = "audit_django_log"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.seq}: {self.event_id}"


class Cursor(models.Model):
    """How far a reader of the log has come, and the lease that allows to move it."""

    name = models.CharField(max_length=100, primary_key=True)
    seq = models.BigIntegerField(default=0)
    owner = models.CharField(max_length=200, null=True)  # noqa: DJ001
    epoch = models.BigIntegerField(default=0)
    expires_at = UtcField(null=True)
    failures = models.PositiveIntegerField(default=0)
    retry_at = UtcField(null=True)
    error = models.TextField(null=True)  # noqa: DJ001
    paused = models.BooleanField(default=False)

    class Meta:
        db_table = "audit_django_cursor"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name} at {self.seq}"


class ParkedEntry(models.Model):
    """An event that a sink refused for good, or that came after one of the same target."""

    id = models.BigAutoField(primary_key=True)
    sink = models.CharField(max_length=100)
    seq = models.BigIntegerField()
    event_id = models.UUIDField()
    target_type = models.CharField(max_length=150, null=True)  # noqa: DJ001
    target_id = models.CharField(max_length=255, null=True)  # noqa: DJ001
    reason = models.TextField()
    parked_at = UtcField()

    class Meta:
        db_table = "audit_django_parked"
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["sink", "event_id"], name="audit_parked_once")]
        indexes = [models.Index(fields=["sink", "seq"], name="audit_parked_order")]

    def __str__(self) -> str:
        return f"{self.sink}: {self.event_id}"


class Summary(models.Model):
    """The sentence of an event in one language: derived data, which may be written anew."""

    id = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField()
    language = models.CharField(max_length=35)  # a BCP 47 tag
    text = models.TextField()

    class Meta:
        db_table = "audit_django_summary"
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["event_id", "language"], name="audit_summary_once")]

    def __str__(self) -> str:
        return self.text

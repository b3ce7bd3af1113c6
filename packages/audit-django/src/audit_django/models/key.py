"""The table of data keys, in the database of the events that were sealed with them."""

from __future__ import annotations

from django.db import models

from audit_core.privacy.keys import Scope, WrappedKey


class DataKey(models.Model):
    """A data key, wrapped with one of ``SENSITIVE_KEYS``; without ``wrapped`` once it is destroyed.

    Two transactions of a new tenant may make one each: none of them waits for the other, and ids tell the keys apart.
    """

    id = models.UUIDField(primary_key=True)
    tenant = models.CharField(max_length=100, null=True)  # noqa: DJ001  no tenant is not the empty one
    subject = models.CharField(max_length=255, null=True)  # noqa: DJ001
    created_at = models.DateTimeField()
    wrapped_by = models.CharField(max_length=16, null=True)  # noqa: DJ001
    wrapped = models.BinaryField(null=True)
    destroyed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "audit_django_datakey"
        default_permissions = ()
        indexes = [
            models.Index(fields=["tenant", "subject", "id"], name="audit_datakey_scope"),
            models.Index(fields=["subject", "id"], name="audit_datakey_subject"),
            models.Index(fields=["wrapped_by", "id"], name="audit_datakey_wrapped_by"),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @classmethod
    def of(cls, key: WrappedKey) -> DataKey:
        """The row of ``key``."""
        return cls(
            id=key.id,
            tenant=key.scope.tenant,
            subject=key.scope.subject,
            created_at=key.created_at,
            wrapped_by=key.wrapped_by,
            wrapped=key.wrapped,
            destroyed_at=key.destroyed_at,
        )

    def stored(self) -> WrappedKey:
        """The row as audit-core knows it."""
        return WrappedKey(
            id=self.id,
            scope=Scope(self.tenant, self.subject),
            created_at=self.created_at,
            wrapped_by=self.wrapped_by,
            wrapped=None if self.wrapped is None else bytes(self.wrapped),
            destroyed_at=self.destroyed_at,
        )

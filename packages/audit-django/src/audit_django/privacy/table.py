"""The table of data keys, as ``manage.py audit keys`` and ``rotate-keys`` work on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from audit_core.privacy.keys import Secrets, WrappedKey
from audit_django.conf import get_settings
from audit_django.models import DataKey
from audit_django.privacy.keyring import forget_keys, stored_keys


class DjangoKeyTable:
    """The :class:`~audit_core.privacy.table.KeyTable` of one database alias."""

    def __init__(self, using: str) -> None:
        self.using = using

    @property
    def secrets(self) -> Secrets:
        """Those of the settings."""
        return get_settings().secrets

    def keys(self, *, tenant: str | None = None, subject: str | None = None) -> Iterator[WrappedKey]:
        """Every key, or those of a tenant or person."""
        return stored_keys(self.using, tenant=tenant, subject=subject)

    def count_outdated(self, newest: str) -> int:
        """How many are wrapped with another secret."""
        return self._outdated(newest).count()

    def outdated(self, newest: str, after: UUID | None, limit: int) -> list[WrappedKey]:
        """Some of them, by id."""
        rows = self._outdated(newest)
        if after is not None:
            rows = rows.filter(id__gt=after)
        return [row.stored() for row in rows.order_by("id")[:limit]]

    def replace(self, keys: Sequence[WrappedKey]) -> None:
        """Store how these are wrapped now."""
        with transaction.atomic(using=self.using):
            for key in keys:
                alive = self._rows().filter(id=key.id, wrapped__isnull=False)
                alive.update(wrapped_by=key.wrapped_by, wrapped=key.wrapped)

    def destroy(self, key_ids: Sequence[UUID]) -> int:
        """Forget these keys, in the open transaction; once it has committed, this process seals nothing more with them."""
        alive = self._rows().filter(id__in=key_ids, wrapped__isnull=False)
        count = alive.update(wrapped_by=None, wrapped=None, destroyed_at=datetime.now(UTC))
        transaction.on_commit(forget_keys, using=self.using)
        return count

    def _rows(self) -> QuerySet[DataKey]:
        return DataKey.objects.using(self.using)

    def _outdated(self, newest: str) -> QuerySet[DataKey]:
        return self._rows().filter(wrapped__isnull=False).exclude(wrapped_by=newest)

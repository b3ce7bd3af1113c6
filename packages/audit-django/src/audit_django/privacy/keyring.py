"""Where data keys come from: this process's memory, else one SELECT, else a new one in the transaction that needs it.

A new key is for its transaction alone until that has ended, and forgotten with the savepoint that is rolled back: whatever is
sealed under a key must never outlive its row. So this process's memory holds what was read, never what was made. Nothing
makes keys unique for a tenant, because the second transaction would have to wait for the first one's commit: in such a race there
are two, and from then on the older is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any
from uuid import UUID

from django.core.signals import setting_changed
from django.db import connections
from django.db.models.signals import post_migrate

from audit_core.event import Event
from audit_core.privacy.keyring import missing
from audit_core.privacy.keys import DataKey, Scope, WrappedKey
from audit_django.capture.guard import writing
from audit_django.capture.pending import Pending
from audit_django.capture.transactions import TransactionState, state_of
from audit_django.conf import get_settings
from audit_django.models import DataKey as DataKeyRow
from audit_django.outbox import column_key
from audit_django.privacy.cache import KeyCache
from audit_django.privacy.subject import SubjectUnknown, subject_of

_committed = KeyCache()


def key_of(state: TransactionState, event: Event) -> DataKey | None:
    """The data key for the values of an event that will be written in this transaction; ``None`` when nothing of them is to be
    kept.
    """
    if not get_settings().secrets:
        return None
    using = state.connection.alias
    try:
        subject = subject_of(event, using)
    except SubjectUnknown:
        return None  # under the tenant's key they would outlive the person's
    return DjangoKeyring(using).for_scope(scope_of(event.tenant, subject))


def scope_of(tenant: str | None, subject: str | None) -> Scope:
    """The scope as it stands in the table."""
    return Scope(column_key(tenant, 100), column_key(subject, 255))


def stored_keys(using: str, *, tenant: str | None, subject: str | None) -> Iterator[WrappedKey]:
    """The keys of the table by age, destroyed ones too; those of one tenant or person if one is given."""
    wanted = {name: text for name, text in scope_of(tenant, subject)._asdict().items() if text is not None}
    for row in DataKeyRow.objects.using(using).filter(**wanted).order_by("id").iterator():
        if wanted.items() <= row.stored().scope._asdict().items():  # MariaDB finds "ACME" for "acme"
            yield row.stored()


class DjangoKeyring:
    """The data keys of one database alias. Errors are those of :class:`~audit_core.privacy.keyring.Keyring`."""

    def __init__(self, using: str) -> None:
        self.using = using

    def get(self, key_id: UUID) -> DataKey:
        """The key of this id, as the table has it now: a key that was destroyed opens nothing from then on.

        An event that was copied to another database has its key elsewhere.
        """
        for using in dict.fromkeys([self.using, *get_settings().databases]):
            row = DataKeyRow.objects.using(using).filter(pk=key_id).first()
            if row is not None:
                return get_settings().secrets.unwrap(row.stored())
        raise missing(key_id)

    def for_scope(self, scope: Scope) -> DataKey:
        """The oldest key of this scope that was not destroyed; a new one, in the open transaction, if there is none."""
        state = state_of(connections[self.using])
        place = os.getpid(), scope  # a forked child has none of its parent's transactions
        key = state.pending.data_keys.get(place) or _committed.get(self.using, scope)
        if key is not None:
            return key
        secrets = get_settings().secrets
        with writing(self.using), state.held():
            wrapped = self._oldest(scope)
            if wrapped is not None:
                key = secrets.unwrap(wrapped)
                if connections[self.using].commit_on_exit:  # else it may be of a transaction that ends unseen
                    _committed.put(self.using, key)
                return key
            key, wrapped = secrets.new_key(scope)
            DataKeyRow.of(wrapped).save(using=self.using, force_insert=True)
        state.pending.data_keys[place] = key
        state.pending.on_undo(partial(_drop, state.pending, place))
        return key

    def of_scopes(self, tenant: str | None, subject: str | None) -> Iterator[DataKey]:
        """Every key that was not destroyed, of one tenant or person if one is given. Kept in no memory."""
        for wrapped in stored_keys(self.using, tenant=tenant, subject=subject):
            if wrapped.wrapped is not None:
                yield get_settings().secrets.unwrap(wrapped)

    def _oldest(self, scope: Scope) -> WrappedKey | None:
        rows = DataKeyRow.objects.using(self.using).filter(
            tenant=scope.tenant, subject=scope.subject, wrapped__isnull=False
        )
        found: Iterable[WrappedKey] = (row.stored() for row in rows.order_by("id"))
        return next((key for key in found if key.scope == scope), None)  # MariaDB finds "ACME" for "acme"


def _drop(pending: Pending, place: tuple[int, Scope]) -> None:
    pending.data_keys.pop(place, None)


def forget_keys() -> None:
    """Read every key anew from now on, in this process."""
    _committed.clear()


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in ("AUDIT", "DATABASES"):
        forget_keys()


def _forget_flushed(**kwargs: Any) -> None:
    forget_keys()


setting_changed.connect(_forget)
post_migrate.connect(_forget_flushed)  # sent by `flush` too, which takes the keys away between two tests

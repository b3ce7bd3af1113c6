"""Where data keys come from: this process's memory, else one SELECT, else a new one in the transaction that needs it.

A new key is for its transaction alone until that has committed, and forgotten with the savepoint that is rolled back. Nothing
makes keys unique for a tenant, because the second transaction would have to wait for the first one's commit: in such a race there
are two, and from then on the older is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from django.core.signals import setting_changed
from django.db import connections
from django.db.models.signals import post_migrate

from audit_core.event import Event, RecordedEvent
from audit_core.privacy.keyring import missing
from audit_core.privacy.keys import DataKey, Scope
from audit_django.capture.transactions import after_commit, state_of
from audit_django.conf import get_settings
from audit_django.models import DataKey as DataKeyRow
from audit_django.outbox import column_key
from audit_django.privacy.cache import KeyCache
from audit_django.privacy.subject import SubjectUnknown, alias_of, subject_of

_committed = KeyCache()
_NEW_KEYS = "_audit_new_keys"  # on a connection: the keys that its open transaction has made


def key_of(event: Event) -> DataKey | None:
    """The data key for the values of an event that capture is building; ``None`` when nothing of them is to be kept."""
    if not get_settings().secrets:
        return None
    using = alias_of(event)
    try:
        subject = subject_of(event, using)
    except SubjectUnknown:
        return None  # under the tenant's key they would outlive the person's
    return DjangoKeyring(using).for_scope(scope_of(event.tenant, subject))


def scope_of(tenant: str | None, subject: str | None) -> Scope:
    """The scope as it stands in the table."""
    return Scope(column_key(tenant, 100), column_key(subject, 255))


class DjangoKeyring:
    """The data keys of one database alias. Errors are those of :class:`~audit_core.privacy.keyring.Keyring`."""

    def __init__(self, using: str) -> None:
        self.using = using
        self._rows = DataKeyRow.objects.using(using)

    def get(self, key_id: UUID) -> DataKey:
        """The key of this id, as the table has it now: a key that was destroyed opens nothing from then on.

        An event that was copied to another database, or made with transactions open on two, has its key elsewhere.
        """
        for using in dict.fromkeys([self.using, *get_settings().databases]):
            row = DataKeyRow.objects.using(using).filter(pk=key_id).first()
            if row is not None:
                return get_settings().secrets.unwrap(row.stored())
        raise missing(key_id)

    def for_scope(self, scope: Scope) -> DataKey:
        """The oldest key of this scope that was not destroyed; a new one if there is none."""
        new = _new_keys(connections[self.using])
        key = new.get(scope) or _committed.get(self.using, scope)
        if key is not None:
            return key
        rows = self._rows.filter(tenant=scope.tenant, subject=scope.subject, wrapped__isnull=False)
        row = rows.order_by("id").first()
        if row is None:
            return self._create(scope, new)
        key = get_settings().secrets.unwrap(row.stored())
        if connections[self.using].commit_on_exit:  # else it may be of a transaction that ends unseen
            _committed.put(self.using, key)
        return key

    def of_scopes(self, tenant: str | None, subject: str | None) -> Iterator[DataKey]:
        """Every key that was not destroyed, of one tenant or person if one is given. Kept in no memory."""
        wanted = scope_of(tenant, subject)._asdict()
        rows = self._rows.filter(**{name: text for name, text in wanted.items() if text is not None})
        for row in rows.filter(wrapped__isnull=False).order_by("id").iterator():
            yield get_settings().secrets.unwrap(row.stored())

    def _create(self, scope: Scope, new: dict[Scope, DataKey]) -> DataKey:
        key, wrapped = get_settings().secrets.new_key(scope)
        DataKeyRow.of(wrapped).save(using=self.using, force_insert=True)
        new[scope] = key
        state_of(connections[self.using]).pending.on_undo(partial(_drop, new, scope))
        return key


def _new_keys(connection: Any) -> dict[Scope, DataKey]:
    process: int | None
    keys: dict[Scope, DataKey]
    process, keys = connection.__dict__.get(_NEW_KEYS, (None, {}))
    if process != os.getpid():  # a forked child has none of its parent's transactions
        keys = {}
        setattr(connection, _NEW_KEYS, (os.getpid(), keys))
    return keys


def _drop(keys: dict[Scope, DataKey], scope: Scope) -> None:
    keys.pop(scope, None)


def _promote(using: str, events: Sequence[RecordedEvent]) -> None:
    """The transaction has committed: its keys are everybody's."""
    new = _new_keys(connections[using])
    for key in new.values():
        _committed.put(using, key)
    new.clear()


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in ("AUDIT", "DATABASES"):
        _committed.clear()


def _forget_flushed(**kwargs: Any) -> None:
    _committed.clear()


after_commit.append(_promote)
setting_changed.connect(_forget)
post_migrate.connect(_forget_flushed)  # sent by `flush` too, which takes the keys away between two tests

"""Whether a value occurred, asked without opening any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS

from audit_core.codec import plain
from audit_core.diff import Change
from audit_core.plugins.manager import get_plugin_manager
from audit_core.privacy.frames import discreet
from audit_core.privacy.masks import mask
from audit_core.privacy.sealing import mask_of
from audit_django.conf import get_settings
from audit_django.models import AuditEvent
from audit_django.models.search import mask_token
from audit_django.privacy.keyring import DjangoKeyring

MASKS_IN_A_QUERY = 200


@discreet
def mask_lookup(
    value: Any, *, tenant: str | None = None, subject: str | None = None, using: str = DEFAULT_DB_ALIAS
) -> list[str]:
    """The masks that ``value`` has, one for each data key there is: of one tenant or person if one is given.

    An event with one of them in its diff had this value in that place. ``value`` is what the model holds, of the same type: 1 and
    "1" have different masks. Every key is unwrapped, which takes about a second for 50,000 of them.
    """
    prepared = plain(
        value, encode_unknown=get_plugin_manager().encode_value, max_bytes=get_settings().max_value_bytes
    )
    return [mask(prepared, key) for key in DjangoKeyring(using).of_scopes(tenant, subject)]


@discreet
def events_with(
    value: Any,
    *,
    field: str | None = None,
    tenant: str | None = None,
    subject: str | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> Iterator[AuditEvent]:
    """The events in which ``value`` stands sealed, before or after a change of ``field`` (of any, when not given).

    Found through the index of the text search, no value is opened. The order is that of the keys, and the newest first for each.
    """
    return _events(mask_lookup(value, tenant=tenant, subject=subject, using=using), field, using)


def _events(masks: Sequence[str], field: str | None, using: str) -> Iterator[AuditEvent]:
    for start in range(0, len(masks), MASKS_IN_A_QUERY):
        some = masks[start : start + MASKS_IN_A_QUERY]
        rows = AuditEvent.objects.using(using).filter(search__any_word=" ".join(map(mask_token, some)))
        for row in rows.order_by("-number").iterator():
            changes = row.event.diff.values()
            if any(_has(change, set(some)) for change in changes if field in (None, change.field)):
                yield row


def _has(change: Change, masks: set[str]) -> bool:
    return not masks.isdisjoint({mask_of(change.before), mask_of(change.after)})

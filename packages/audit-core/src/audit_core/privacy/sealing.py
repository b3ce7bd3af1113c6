"""Sealing the secrets of an event, and opening one again.

    {"sealed": {"v": 1, "key": "019f2c1e-…", "mac": "6b1f…", "ct": "AcJr…"}}

``key`` is the id of the data key, ``mac`` the mask, ``ct`` the ciphertext in base64. It opens only in the event, field and side
(and with the key) that it was made for. The text that is encrypted is canonical JSON with spaces behind it up to a multiple of 64
bytes, so that its length tells little.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from audit_core.codec import canonical
from audit_core.diff import Change
from audit_core.event import Event
from audit_core.privacy import Secret, cipher, is_sealed
from audit_core.privacy.errors import NothingKept, Tampered
from audit_core.privacy.keyring import Keyring
from audit_core.privacy.keys import DataKey
from audit_core.privacy.masks import mask

KeyOf = Callable[[Event], DataKey | None]
"""The data key that an event's values are sealed under; ``None`` when there are no keys. Asked only for an event with secrets."""

VERSION = 1
SIDES = ("before", "after")
_BLOCK = 64  # bytes
_Act = Callable[[Any, str], Any]


def without_keys(event: Event) -> None:
    """No key: that a value changed is all that is known."""


def seal_event(event: Event, key_of: KeyOf) -> Event:
    """``event`` with a sealed value in the place of each :class:`~audit_core.privacy.Secret` of its diff, labels included."""
    secret = {name: change for name, change in event.diff.items() if _has_secret(change)}
    if not secret:
        return event
    key = key_of(event)

    def sealed(change: Change) -> Change:
        def act(value: Any, side: str) -> Any:
            return seal(value.reveal(), key, event.id, change.field, side) if type(value) is Secret else value

        return _each(change, act)

    return replace(event, diff={**event.diff, **{name: sealed(secret[name]) for name in secret}})


def seal(value: Any, key: DataKey | None, event_id: UUID, field: str, side: str) -> dict[str, Any]:
    """The sealed form of a plain JSON value."""
    if key is None:
        return {"sealed": {}}
    text = canonical(value).encode()
    text = text.ljust(-len(text) // _BLOCK * -_BLOCK)
    ciphertext = cipher.encrypt(key.secret, text, bound_to=_place(event_id, field, side, key.id))
    return {
        "sealed": {
            "v": VERSION,
            "key": str(key.id),
            "mac": mask(value, key),
            "ct": base64.b64encode(ciphertext).decode(),
        }
    }


def unseal(event: Event, field: str, side: str, keyring: Keyring) -> Any:
    """The value of ``field`` ``before`` or ``after``, as the plain JSON that was sealed; a value that is not sealed as it is.

    Raises a :class:`~audit_core.privacy.errors.SealError` that says why it cannot be seen.
    """
    if side not in SIDES:
        raise ValueError(f"A change has a 'before' and an 'after', but no {side!r}.")

    def act(value: Any, place: str) -> Any:
        return _open(value["sealed"], event.id, field, place, keyring) if is_sealed(value) else value

    return _inside(getattr(event.diff[field], side), side, act)


def key_id_of(value: Any) -> UUID | None:
    """The id of the data key that ``value`` is sealed under, if it is sealed under one."""
    key = value["sealed"].get("key") if is_sealed(value) else None
    return UUID(key) if key else None


def mask_of(value: Any) -> str | None:
    """The mask of a sealed value, if it has one."""
    return value["sealed"].get("mac") if is_sealed(value) else None


def _open(sealed: Mapping[str, Any], event_id: UUID, field: str, side: str, keyring: Keyring) -> Any:
    if not sealed.get("ct"):
        raise NothingKept(
            f"The value of {field} was not kept: SENSITIVE_KEYS was empty when it was recorded, or it is a password."
        )
    if sealed.get("v") != VERSION:
        raise Tampered(
            f"The value of {field} is sealed in a version that is not known here. Update audit-core."
        )
    damaged = Tampered(
        f"The sealed value of {field} is damaged. Compare the event with that of another sink."
    )
    try:
        key_id, ciphertext = UUID(sealed["key"]), base64.b64decode(sealed["ct"], validate=True)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise damaged from None
    if (sealed["key"], sealed["ct"]) != (str(key_id), base64.b64encode(ciphertext).decode()):
        raise damaged  # the same bytes, written in another way
    key = keyring.get(key_id)
    text = cipher.decrypt(key.secret, ciphertext, bound_to=_place(event_id, field, side, key.id))
    opened = Secret(json.loads(text))
    del text  # what is raised here must not show it
    if mask(opened.reveal(), key) != sealed.get("mac"):
        raise damaged
    return opened.reveal()


def _place(event_id: UUID, field: str, side: str, key_id: UUID) -> bytes:
    return canonical(["audit value v1", str(event_id), field, side, str(key_id)]).encode()


def _has_secret(change: Change) -> bool:
    for item in (change.before, change.after, *change.added, *change.removed):
        kind = type(item)
        if kind is Secret or (kind is dict and type(item.get("repr")) is Secret):
            return True
    return False


def _each(change: Change, act: _Act) -> Change:
    """``change`` with what ``act`` makes of its values and labels, told which place each stands in."""
    return change._replace(
        before=_inside(change.before, "before", act),
        after=_inside(change.after, "after", act),
        added=[_inside(item, f"added {canonical(item['pk'])}", act) for item in change.added],
        removed=[_inside(item, f"removed {canonical(item['pk'])}", act) for item in change.removed],
    )


def _inside(value: Any, side: str, act: _Act) -> Any:
    if isinstance(value, Mapping) and value.keys() == {"pk", "repr"}:
        return {"pk": value["pk"], "repr": act(value["repr"], f"{side} repr")}
    return act(value, side)

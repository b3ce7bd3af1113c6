"""Data keys, and the secrets that wrap them.

A value is sealed under a data key: 32 random bytes for one tenant, or for one person. The table of keys holds each of them
encrypted (*wrapped*) with the newest of ``SENSITIVE_KEYS``. So a new secret needs new wrappings and no new events, and what is
sealed under a key that was destroyed is gone. A wrapped key may be handed on: it says nothing without the secret.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

from audit_core.codec import canonical
from audit_core.errors import ConfigurationError
from audit_core.event import format_timestamp, parse_timestamp
from audit_core.ids import uuid7
from audit_core.privacy import cipher
from audit_core.privacy.errors import KeyDestroyed, KeyMissing, Tampered, WrongKey
from audit_core.privacy.frames import discreet

MIN_SECRET_CHARACTERS = 32


class Scope(NamedTuple):
    """Whose values a data key is for: a tenant's, or a person's (``"crm.Customer:17"``) within a tenant."""

    tenant: str | None = None
    subject: str | None = None


@dataclass(frozen=True)
class DataKey:
    """A key in the clear. It is never stored, and not shown in any text."""

    id: UUID
    scope: Scope
    secret: cipher.KeyBytes = field(repr=False)

    @cached_property
    def mask_key(self) -> cipher.KeyBytes:
        """What masks are made with. It says nothing of the key itself."""
        return cipher.derive(self.secret, b"audit mask key v1")


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A data key as it is stored: ``wrapped`` with the secret of the id ``wrapped_by``; both ``None`` once it is destroyed."""

    id: UUID
    scope: Scope
    created_at: datetime
    wrapped_by: str | None
    wrapped: bytes | None = field(repr=False)
    destroyed_at: datetime | None = None

    def destroyed(self, moment: datetime) -> WrappedKey:
        """The same, and what was sealed under it gone for ever."""
        return replace(self, wrapped_by=None, wrapped=None, destroyed_at=moment)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, in an exported keyring."""
        return {
            "id": str(self.id),
            "tenant": self.scope.tenant,
            "subject": self.scope.subject,
            "created_at": format_timestamp(self.created_at),
            "destroyed_at": self.destroyed_at and format_timestamp(self.destroyed_at),
            "wrapped_by": self.wrapped_by,
            "wrapped": self.wrapped and base64.b64encode(self.wrapped).decode(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> WrappedKey:
        """The key whose JSON form ``data`` is."""
        return cls(
            id=UUID(data["id"]),
            scope=Scope(data["tenant"], data["subject"]),
            created_at=parse_timestamp(data["created_at"]),
            destroyed_at=data["destroyed_at"] and parse_timestamp(data["destroyed_at"]),
            wrapped_by=data["wrapped_by"],
            wrapped=data["wrapped"] and base64.b64decode(data["wrapped"]),
        )


def mistake_in(secrets: Sequence[object]) -> str | None:
    """What is wrong with the first of ``secrets`` that cannot be one, without showing it."""
    seen: set[object] = set()
    for position, secret in enumerate(secrets, start=1):
        if not isinstance(secret, str):
            return f"key {position} is of type {type(secret).__name__}, and has to be a str."
        if len(secret) < MIN_SECRET_CHARACTERS:
            return f"key {position} has {len(secret)} characters, so it could be guessed; it needs {MIN_SECRET_CHARACTERS}."
        if secret != secret.strip():
            return f"key {position} begins or ends with white space, which another service would not have."
        if secret in seen:
            return f"key {position} is there twice."
        seen.add(secret)
    return None


class Secrets:
    """The secrets of ``SENSITIVE_KEYS``, the newest first: it wraps, and all of them unwrap.

    Each has at least 32 characters that nobody can guess. Raises :class:`~audit_core.errors.ConfigurationError` for one that
    :func:`mistake_in` finds.
    """

    @discreet
    def __init__(self, secrets: Sequence[str]) -> None:
        if mistake := mistake_in(secrets):
            raise ConfigurationError(
                f"SENSITIVE_KEYS: {mistake} Make one with `python -c 'import secrets; print(secrets.token_urlsafe(32))'`."
            )
        self._keys: dict[str, cipher.KeyBytes] = {}
        for secret in secrets:
            raw = cipher.KeyBytes(secret.encode())
            self._keys[cipher.derive(raw, b"audit key id v1", length=4).hex()] = cipher.derive(
                raw, b"audit wrapping v1"
            )

    def __bool__(self) -> bool:
        return bool(self._keys)

    @property
    def ids(self) -> list[str]:
        """The ids of the secrets, the newest first: eight hexadecimal digits, from which nobody learns the secret."""
        return list(self._keys)

    def new_key(self, scope: Scope) -> tuple[DataKey, WrappedKey]:
        """A new data key, in the clear and wrapped."""
        key = DataKey(uuid7(), scope, cipher.KeyBytes(os.urandom(cipher.KEY_BYTES)))
        return key, self.wrap(key, created_at=datetime.now(UTC))

    def wrap(self, key: DataKey, *, created_at: datetime) -> WrappedKey:
        """``key`` wrapped with the newest secret."""
        newest = self.ids[0]
        wrapped = cipher.encrypt(self._keys[newest], key.secret, bound_to=_identity(key))
        return WrappedKey(
            id=key.id, scope=key.scope, created_at=created_at, wrapped_by=newest, wrapped=wrapped
        )

    def unwrap(self, wrapped: WrappedKey) -> DataKey:
        """The key in the clear. Raises :class:`~audit_core.privacy.errors.SealError`: it is destroyed, its secret is not here, or
        the row was changed.
        """
        if wrapped.wrapped is None or wrapped.wrapped_by is None:
            when = f" at {wrapped.destroyed_at:%Y-%m-%d %H:%M} UTC" if wrapped.destroyed_at else ""
            raise KeyDestroyed(
                f"Data key {wrapped.id} was destroyed{when}: its values cannot be read any more."
            )
        if wrapped.wrapped_by not in self._keys:
            raise KeyMissing(
                f"Data key {wrapped.id} is wrapped with the secret {wrapped.wrapped_by}, which SENSITIVE_KEYS does not have "
                f"(there are: {', '.join(self.ids) or 'none'}). Put that secret back at the end of the list, and run "
                f"`audit rotate-keys`."
            )
        key = DataKey(wrapped.id, wrapped.scope, cipher.KeyBytes())
        try:
            secret = cipher.decrypt(self._keys[wrapped.wrapped_by], wrapped.wrapped, bound_to=_identity(key))
        except (Tampered, WrongKey) as error:
            raise type(error)(
                f"Data key {wrapped.id} is not as it was stored: its wrapped bytes, tenant or subject were changed. Restore its "
                f"row from a backup or an exported keyring."
            ) from None
        return replace(key, secret=cipher.KeyBytes(secret))

    def rewrap(self, wrapped: WrappedKey) -> WrappedKey:
        """The same key wrapped with the newest secret. Raises what :meth:`unwrap` raises."""
        return self.wrap(self.unwrap(wrapped), created_at=wrapped.created_at)


def _identity(key: DataKey) -> bytes:
    return canonical(["audit data key v1", str(key.id), *key.scope]).encode()

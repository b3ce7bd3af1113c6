"""Keyrings: where data keys are found by who opens a sealed value.

A service outside the application opens values with an exported keyring and ``SENSITIVE_KEYS``::

    keyring = MemoryKeyring.load(open("keyring.json").read(), Secrets([os.environ["AUDIT_SENSITIVE_KEY"]]))
    unseal(recorded.event, "ssn", "after", keyring)
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from audit_core.privacy.errors import KeyMissing
from audit_core.privacy.keys import DataKey, Scope, Secrets, WrappedKey

FORMAT = "audit-keyring"
VERSION = 1


class Keyring(Protocol):
    """Finds the data keys under which values are sealed."""

    def get(self, key_id: UUID) -> DataKey:
        """The key of this id. Raises :class:`~audit_core.privacy.errors.SealError`: it is missing, destroyed, or wrapped with a
        secret that is not here.
        """


class MemoryKeyring:
    """Data keys in memory: the reference, for tests and for services that were given an export."""

    def __init__(self, secrets: Secrets, keys: Iterable[WrappedKey] = ()) -> None:
        self._secrets = secrets
        self._keys = {key.id: key for key in keys}

    @classmethod
    def load(cls, text: str, secrets: Secrets) -> MemoryKeyring:
        """The keyring that :func:`export` wrote. Raises ``ValueError`` for a text that is none."""
        data = json.loads(text)
        if not isinstance(data, dict) or (data.get("format"), data.get("version")) != (FORMAT, VERSION):
            raise ValueError(
                f"This is no keyring of version {VERSION}. Make one with `audit keys export`, or update audit-core."
            )
        return cls(secrets, map(WrappedKey.from_dict, data["keys"]))

    def get(self, key_id: UUID) -> DataKey:
        """See :class:`Keyring`."""
        if key_id not in self._keys:
            raise missing(key_id)
        return self._secrets.unwrap(self._keys[key_id])

    def for_scope(self, scope: Scope) -> DataKey:
        """The oldest key of this scope that was not destroyed; a new one if there is none."""
        for wrapped in self._keys.values():
            if wrapped.scope == scope and wrapped.wrapped is not None:
                return self._secrets.unwrap(wrapped)
        key, wrapped = self._secrets.new_key(scope)
        self._keys[key.id] = wrapped
        return key

    def destroy(self, key_id: UUID) -> None:
        """Destroy a key: what was sealed under it cannot be read any more."""
        self._keys[key_id] = self._keys[key_id].destroyed(datetime.now(UTC))

    def wrapped(self) -> list[WrappedKey]:
        """Every key as it is stored."""
        return list(self._keys.values())


def missing(key_id: UUID) -> KeyMissing:
    """That a keyring does not have this key."""
    return KeyMissing(
        f"The keyring has no data key {key_id}. Export it anew with `audit keys export`, or restore the table of keys "
        f"from a backup."
    )


def export(keys: Iterable[WrappedKey]) -> str:
    """The keys as JSON, still wrapped: only who has ``SENSITIVE_KEYS`` too can use it. Destroyed ones are named in it."""
    data: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "keys": [key.to_dict() for key in keys],
    }
    return json.dumps(data, indent=2)

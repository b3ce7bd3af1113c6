"""Sealed values to test with."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from audit_core.privacy.cipher import KeyBytes
from audit_core.privacy.keys import DataKey, Scope
from audit_core.privacy.sealing import seal

_KEY = DataKey(UUID(int=1), Scope(), KeyBytes(b"only for tests, not a secret key"))
_EVENT = UUID(int=2)


def sealed(value: Any) -> Any:
    """``value`` as it stands in an event that was recorded with keys; empty ones as they are. It belongs to no event."""
    return value if value in (None, "") else seal(value, _KEY, _EVENT, "field", "after")

"""Sealed values: what stands in an event where a sensitive value would be.

A sealed value is ``{"sealed": {…}}``: with keys configured it holds ``mac``, a keyed mask that tells whether two values
are the same and nothing else; without keys it is empty. A plain hash is never used: the few values that a social security
number can have are tried in minutes.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

from audit_core.codec import canonical
from audit_core.errors import ConfigurationError

MASK = "••••••••"  # what people see: as long for a short value as for a long one
_CONTEXT = b"audit mask v1\x00"


def is_sealed(value: Any) -> bool:
    """Whether ``value``, taken from a change that is ``sensitive``, is a sealed one (an empty value is not sealed)."""
    if (
        type(value) is str
    ):  # nearly all are, and to ask whether one is a Mapping takes longer than all the rest
        return False
    return isinstance(value, Mapping) and value.keys() == {"sealed"}


class Sealer:
    """Seals values with the newest of ``keys``, each a secret of at least 32 characters.

    Raises :class:`~audit_core.errors.ConfigurationError` for a key that is too short.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        for position, key in enumerate(keys, start=1):
            if len(key) < 32:
                raise ConfigurationError(
                    f"Key {position} of SENSITIVE_KEYS has {len(key)} characters and could be guessed: give it at least 32, "
                    f"for example those that `python -c 'import secrets; print(secrets.token_urlsafe(32))'` prints."
                )
        self._keys = [hashlib.sha256(_CONTEXT + key.encode()).digest() for key in keys]

    def seal(self, value: Any) -> Any:
        """The sealed form of a plain JSON value. ``None`` and ``""`` stay: that a value is missing is no secret."""
        if value is None or value == "":
            return value
        return {"sealed": {"mac": self._mac(self._keys[0], value)} if self._keys else {}}

    @staticmethod
    def _mac(key: bytes, value: Any) -> str:
        # The canonical text keeps 1 and "1" apart; the id tells which key to try.
        key_id = hashlib.sha256(b"id" + key).hexdigest()[:8]
        return f"{key_id}:{hmac.new(key, canonical(value).encode(), hashlib.sha256).hexdigest()}"

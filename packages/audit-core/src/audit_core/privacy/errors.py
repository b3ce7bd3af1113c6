"""Why a sealed value cannot be seen. No message holds a value or a key."""

from __future__ import annotations

from audit_core.errors import AuditError


class SealError(AuditError):
    """A sealed value cannot be opened."""


class NothingKept(SealError):
    """The value was not kept: there were no keys when it was sealed, or it is a password."""


class KeyMissing(SealError):
    """The keyring does not have the data key, or ``SENSITIVE_KEYS`` not the secret that it is wrapped under."""


class KeyDestroyed(SealError):
    """The data key was destroyed, so nobody can read what was sealed under it, ever."""


class WrongKey(SealError):
    """The ciphertext was made with another key than the one given."""


class Tampered(SealError):
    """The sealed value is not what was sealed here: it was changed, cut short, or taken from another event, field or side."""

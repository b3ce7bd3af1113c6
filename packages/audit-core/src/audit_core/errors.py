"""Everything that can go wrong, and who should act on it.

A message says what happened and what to do next. Backends raise :class:`RetryableError` for what passes by itself and
:class:`PermanentError` for what will never succeed; anything else they raise is taken for the former, because waiting
loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID


class AuditError(Exception):
    """The base of every error that the audit trail raises."""


class ConfigurationError(AuditError):
    """A setting, a plugin or a registration is wrong: a person has to change it."""


class RetryableError(AuditError):
    """The same call may succeed later (a timeout, a lost connection, throttling).

    ``retry_after_seconds`` is what the store asked for, if it did.
    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class PermanentError(AuditError):
    """The same call will never succeed (an event too large, a value refused)."""


class EncodeError(PermanentError):
    """A value has no canonical form, so an event with it could be neither hashed nor stored."""


class PartialWrite(AuditError):
    """A storage took a batch but for some events, which it refuses for good.

    ``reasons`` maps the id of each refused event to the store's words. Every event that is not named was stored.
    """

    def __init__(self, reasons: Mapping[UUID, str]) -> None:
        self.reasons = dict(reasons)
        first = next(iter(self.reasons.values()), "no reason given")
        super().__init__(f"{len(self.reasons)} event(s) refused, the first with: {first}")


class LeaseLost(AuditError):
    """Another worker holds the lease now: stop, write nothing more, and let it go on."""

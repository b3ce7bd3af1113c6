"""The outbox: where events wait, in the same transaction as the business data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from audit_core.event import RecordedEvent


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is in the outbox: how many events, and when the oldest of them occurred."""

    count: int = 0
    oldest: datetime | None = None


@runtime_checkable
class Outbox(Protocol):
    """Takes events inside the caller's transaction: they are there after its commit, and never after its rollback."""

    def append(self, events: Sequence[RecordedEvent]) -> None:
        """Keep these events with the caller's transaction, in this order. Raises when they cannot be kept."""

    def waiting(self) -> Waiting:
        """What has been committed and has no seq yet."""

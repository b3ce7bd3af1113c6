"""The table of keys: what an operator does with it. A framework keeps it; here is what needs no framework."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from audit_core.errors import ConfigurationError
from audit_core.privacy.errors import SealError
from audit_core.privacy.keys import Secrets, WrappedKey

BATCH = 200  # keys in one transaction


class KeyTable(Protocol):
    """Where the wrapped data keys of one trail are kept."""

    @property
    def secrets(self) -> Secrets:
        """Those of ``SENSITIVE_KEYS``."""

    def keys(self, *, tenant: str | None = None, subject: str | None = None) -> Iterable[WrappedKey]:
        """The keys in the order in which they were made, destroyed ones too; those of a tenant or person if one is given."""

    def count_outdated(self, newest: str) -> int:
        """How many are wrapped with another secret than the one of the id ``newest``."""

    def outdated(self, newest: str, after: UUID | None, limit: int) -> Sequence[WrappedKey]:
        """Those, by id, from the one after ``after`` on."""

    def replace(self, keys: Sequence[WrappedKey]) -> None:
        """Store these keys as they are wrapped now, in one transaction. One that was destroyed meanwhile stays so."""

    def destroy(self, key_ids: Sequence[UUID]) -> int:
        """Forget these keys for ever, in the open transaction; how many there were."""


@dataclass(slots=True)
class Rotation:
    """What a rotation has done: ``failures`` says of each key that could not be rewrapped why."""

    rewrapped: int = 0
    failures: list[str] = field(default_factory=list)


def rotate(table: KeyTable, progress: Callable[[int], object]) -> Rotation:
    """Wrap every data key with the newest secret. No event is touched.

    Each batch is a transaction, and what is done needs not be done again: stopped at any time, it goes on when called anew.
    ``progress`` is told how many keys each batch had.
    """
    newest, done, after = newest_of(table), Rotation(), None
    while batch := table.outdated(newest, after, BATCH):
        rewrapped = []
        for key in batch:
            try:
                rewrapped.append(table.secrets.rewrap(key))
            except SealError as error:
                done.failures.append(str(error))
        table.replace(rewrapped)
        done.rewrapped += len(rewrapped)
        after = batch[-1].id
        progress(len(batch))
    return done


def newest_of(table: KeyTable) -> str:
    """The id of the newest secret. Raises :class:`~audit_core.errors.ConfigurationError` when there is none."""
    if not table.secrets:
        raise ConfigurationError("SENSITIVE_KEYS is empty: there is no secret to wrap data keys with.")
    return table.secrets.ids[0]

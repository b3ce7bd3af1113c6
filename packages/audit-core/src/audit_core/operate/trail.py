"""What the commands work on. A framework subclasses both classes; :mod:`audit_core.config` has those of a file."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from audit_core.errors import ConfigurationError
from audit_core.event import Target
from audit_core.log import Log
from audit_core.outbox import Outbox
from audit_core.plugins.errors import did_you_mean
from audit_core.privacy.table import KeyTable
from audit_core.relay import Relay, RelaySettings
from audit_core.storages.contract import Storage


class Trail(ABC):
    """One outbox with its log, and the sinks that it is delivered to.

    ``name`` tells it from the others of an installation (a database alias, a file). ``keeps_events``: people read the
    log's own tables, so their texts are not only on their way. ``command`` is what people type to work on it.
    """

    command = "audit"

    name: str
    outbox: Outbox
    log: Log
    settings: RelaySettings
    keeps_events: bool

    @property
    @abstractmethod
    def sinks(self) -> Collection[str]:
        """The names of the sinks that are configured."""

    @abstractmethod
    def sink(self, name: str) -> Any:
        """The storage or stream of this name. Raises :class:`~audit_core.errors.ConfigurationError` when it cannot be made."""

    def is_own(self, storage: Storage) -> bool:
        """Whether this storage is the log's own tables, read and searched as a storage."""
        return False

    @property
    def key_table(self) -> KeyTable:
        """The table of data keys. Raises :class:`~audit_core.errors.ConfigurationError` where there is none."""
        raise ConfigurationError(
            f"{self.name} has no table of data keys: sensitive values are not kept here. A framework's package has one, as "
            f"`manage.py audit` of audit-django."
        )

    @abstractmethod
    def relay(self, settings: RelaySettings) -> Relay:
        """A relay over outbox, log and sinks."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[object]:
        """A transaction in which :meth:`record` and the log's calls are kept together."""

    @abstractmethod
    def record(self, action: str, target: Target | None, reason: str, extra: Mapping[str, Any]) -> None:
        """Record what an operator did (category ``system``), in the open transaction."""

    @abstractmethod
    def release_connections(self) -> None:
        """Close what this thread opened, or give it back to its pool."""

    def release_pooled_connections(self) -> None:  # noqa: B027 - most have no pool
        """Give back what this thread has from a pool, and keep what it opened itself."""

    def listen(self, wake: Callable[[], None], stop: threading.Event) -> None:  # noqa: B027 - most have nothing to listen to
        """Have ``wake`` called, by a thread that ends when ``stop`` is set, whenever something is committed.

        Only a hint: what nobody tells is found by polling.
        """

    def check_sink(self, name: str) -> None:
        """Raise :class:`~audit_core.errors.ConfigurationError` for a name that neither the settings nor the log knows."""
        known = {*self.sinks, *(cursor.name for cursor in self.log.cursors())}
        if name not in known:
            hint = did_you_mean(name, known) or f" The sinks are: {', '.join(sorted(self.sinks)) or 'none'}."
            raise ConfigurationError(f"There is no sink {name!r}.{hint}")


class Level(StrEnum):
    """How a finding of the doctor is meant."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was examined: where, how it is, and what to do when it is not well."""

    subject: str
    level: Level
    words: str


class Installation(ABC):
    """Every trail of a program, and the backends of its settings."""

    @abstractmethod
    def trails(self) -> Sequence[Trail]:
        """The trails, the default one first. Raises :class:`~audit_core.errors.ConfigurationError`."""

    @abstractmethod
    def backends(self) -> Mapping[str, Callable[[], Any]]:
        """What makes each backend, by where it is configured (``STORAGES['archive']``).

        Called again it gives the same one. It raises what is wrong with the settings.
        """

    @abstractmethod
    def storages(self) -> Mapping[str, Callable[[], Any]]:
        """What makes each storage, by its name; as :meth:`backends` does."""

    @property
    def read_storage(self) -> str | None:
        """The name of the storage that people read, where the settings say so."""
        return None

    @abstractmethod
    def findings(self) -> Sequence[Finding]:
        """What the framework itself knows: its settings, its migrations, its plugins."""

    @abstractmethod
    def close(self) -> None:
        """Give up the connections of the backends; what is asked next opens new ones."""

    def trail(self, name: str | None) -> Trail:
        """The trail of this name; the first without one."""
        trails = {trail.name: trail for trail in self.trails()}
        if name is None:
            return next(iter(trails.values()))
        if name not in trails:
            hint = did_you_mean(name, trails) or f" There are: {', '.join(trails)}."
            raise ConfigurationError(f"No outbox of the name {name!r} is configured.{hint}")
        return trails[name]

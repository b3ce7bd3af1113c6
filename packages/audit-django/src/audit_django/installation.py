"""What ``manage.py audit`` works on: the outbox and log of each alias in ``DATABASES``, and the backends of the settings."""

from __future__ import annotations

import getpass
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, partial
from typing import Any

from django.core import checks
from django.db import connections, transaction
from django.db.migrations.executor import MigrationExecutor

from audit_core.event import Actor, Category, Target
from audit_core.operate.trail import Finding, Installation, Level, Trail
from audit_core.relay import Relay, RelaySettings
from audit_core.storages.contract import Storage
from audit_django import backends
from audit_django.conf import get_settings
from audit_django.log import DjangoLog
from audit_django.outbox import DjangoOutbox
from audit_django.privacy.table import DjangoKeyTable
from audit_django.relay import make_relay, notify
from audit_django.storages.database import DatabaseStorage


class DjangoTrail(Trail):
    """The trail of one database alias."""

    command = "manage.py audit"

    def __init__(self, using: str) -> None:
        settings = get_settings()
        self.name = using
        self.outbox = DjangoOutbox(using)
        self.log = DjangoLog(using, settings.language)
        self._key_table = DjangoKeyTable(using)
        self.settings = settings.relay_settings

    @cached_property
    def keeps_events(self) -> bool:  # type: ignore[override]
        """Whether the timeline reads the tables of this alias."""
        return any(self.is_own(backends.storage(name)) for name in get_settings().storages)

    def is_own(self, storage: Storage) -> bool:
        """Whether it is the storage ``database`` on this alias."""
        return isinstance(storage, DatabaseStorage) and storage.using == self.name

    @property
    def sinks(self) -> Collection[str]:
        """The names of the storages and streams but the log's own tables."""
        return backends.sinks().keys()

    def sink(self, name: str) -> Any:
        """That of the settings."""
        return backends.sinks()[name]

    @property
    def key_table(self) -> DjangoKeyTable:
        """That of the alias."""
        return self._key_table

    def relay(self, settings: RelaySettings) -> Relay:
        """A relay with these settings."""
        return make_relay(self.name, settings)

    def transaction(self) -> AbstractContextManager[object]:
        """``transaction.atomic``."""
        return transaction.atomic(using=self.name)

    def record(self, action: str, target: Target | None, reason: str, extra: Mapping[str, Any]) -> None:
        """Record as the user of the operating system."""
        from audit_django.recording import record

        actor = Actor(type="operator", username=getpass.getuser())
        record(
            action,
            target,
            category=Category.SYSTEM,
            actor=actor,
            reason=reason,
            extra=extra,
            using=self.name,
        )

    def release_connections(self) -> None:
        """Close this thread's connections; pooled ones go back to their pool."""
        connections.close_all()

    def release_pooled_connections(self) -> None:
        """Give this thread's connections back to Django's pools of psycopg."""
        for connection in connections.all(initialized_only=True):
            if getattr(connection, "pool", None):  # PostgreSQL's alone has one, from Django 5.1 on
                connection.close()

    def listen(self, wake: Callable[[], None], stop: threading.Event) -> None:
        """Listen for notifications, if ``RELAY_NOTIFY`` is set and the alias is PostgreSQL."""
        if get_settings().relay_notify and notify.can_listen(self.name):
            notify.listen(self.name, wake, stop)


class DjangoInstallation(Installation):
    """The trails of the settings."""

    def trails(self) -> Sequence[Trail]:
        """One for each alias in ``DATABASES``."""
        return [DjangoTrail(using) for using in get_settings().databases]

    def backends(self) -> Mapping[str, Callable[[], Any]]:
        """Every storage, every stream and the summarizer."""
        return backends.configured()

    def storages(self) -> Mapping[str, Callable[[], Any]]:
        """The storages of ``STORAGES``."""
        return {name: partial(backends.storage, name) for name in get_settings().storages}

    def close(self) -> None:
        """Give up the connections of what was made."""
        backends.close()

    @property
    def read_storage(self) -> str:
        """That of ``QUERY``."""
        return get_settings().query

    def findings(self) -> Sequence[Finding]:
        """The system checks of the trail, and migrations that were not run."""
        found = []
        for message in checks.run_checks(include_deployment_checks=False):
            if (message.id or "").startswith("audit."):
                level = Level.PROBLEM if message.is_serious() else Level.WARNING
                found.append(Finding(message.id or "", level, f"{message.msg} {message.hint or ''}".strip()))
        if not found:
            found.append(Finding("settings", Level.OK, "`manage.py check` finds nothing about the trail"))
        return [*found, *(_migrations(using) for using in get_settings().databases)]


def _migrations(using: str) -> Finding:
    subject = f"migrations on {using}"
    try:
        executor = MigrationExecutor(connections[using])
    except Exception as error:  # noqa: BLE001 - a database that is down is a finding
        return Finding(subject, Level.PROBLEM, f"The database cannot be asked: {error}")
    targets = [key for key in executor.loader.graph.leaf_nodes() if key[0] == "audit_django"]
    if executor.migration_plan(targets):
        return Finding(
            subject,
            Level.PROBLEM,
            f"The audit tables are not up to date: `manage.py migrate --database {using}`.",
        )
    return Finding(subject, Level.OK, "the audit tables are up to date")

"""The installation that a configuration file describes, for programs without a framework."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from audit_core import backends
from audit_core.config import Config, load_config, storage_label
from audit_core.event import Actor, Category, Target
from audit_core.operate.trail import Finding, Installation, Level, Trail
from audit_core.plugins.manager import get_plugin_manager
from audit_core.recorder import Recorder
from audit_core.relay import Relay, RelaySettings


class StandaloneInstallation(Installation):
    """The one trail of ``config``. Backends are made when first used, and closed by :meth:`close`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._made: dict[str, Any] = {}

    def trails(self) -> Sequence[Trail]:
        """The trail of ``OUTBOX``."""
        return [StandaloneTrail(self)]

    def backends(self) -> Mapping[str, Callable[[], Any]]:
        """What makes every backend of the file."""
        return {label: partial(self.made, label) for _, label, _ in self.config.backends()}

    def storages(self) -> Mapping[str, Callable[[], Any]]:
        """What makes the storages of the file."""
        return {name: partial(self.made, storage_label(name)) for name in self.config.storages}

    def made(self, label: str) -> Any:
        """The backend that is configured here."""
        if label not in self._made:
            [(kind, config)] = [(kind, config) for kind, at, config in self.config.backends() if at == label]
            self._made[label] = backends.build(kind, config, label=label)
        return self._made[label]

    def findings(self) -> Sequence[Finding]:
        """That the file could be read."""
        return [Finding("configuration", Level.OK, "it can be read")]

    def close(self) -> None:
        """Give up the connections of what was made."""
        for backend in self._made.values():
            backends.close(backend)


class StandaloneTrail(Trail):
    """The outbox of a file, the log that it belongs to, and the sinks beside them."""

    keeps_events = False

    def __init__(self, installation: StandaloneInstallation) -> None:
        self._installation = installation
        config = installation.config
        self._database = installation.made("OUTBOX").database
        self.name = config.outbox["BACKEND"]
        self.outbox = self._database.outbox
        self.log = self._database.log
        self.settings = RelaySettings(**config.relay)
        self._labels = {
            **{name: storage_label(name) for name in config.storages},
            **{name: f"STREAMS[{name!r}]" for name in config.streams},
        }

    @property
    def sinks(self) -> Collection[str]:
        """The storages and streams of the file."""
        return self._labels.keys()

    def sink(self, name: str) -> Any:
        """What the file describes."""
        return self._installation.made(self._labels[name])

    def relay(self, settings: RelaySettings) -> Relay:
        """A relay with these settings."""
        return Relay(
            self.log,
            {name: self.sink(name) for name in self._labels},
            starts=self._installation.config.starts,
            summarizer=self._installation.made("SUMMARIZER"),
            hooks=get_plugin_manager(),
            settings=settings,
        )

    def transaction(self) -> AbstractContextManager[object]:
        """A transaction of the outbox's database."""
        return self._database.transaction()  # type: ignore[no-any-return]

    def record(self, action: str, target: Target | None, reason: str, extra: Mapping[str, Any]) -> None:
        """Record as the user of the operating system."""
        recorder = Recorder(get_plugin_manager())
        actor = Actor(type="operator", username=getpass.getuser())
        event = recorder.build(
            action, category=Category.SYSTEM, target=target, actor=actor, reason=reason, extra=extra
        )
        self.outbox.append([event])

    def release_connections(self) -> None:
        """Close this thread's connection."""
        self._database.close()


def load_installation(source: str | os.PathLike[str] | None) -> StandaloneInstallation:
    """The installation of a file; see :func:`audit_core.config.load_config`."""
    return StandaloneInstallation(load_config(source))

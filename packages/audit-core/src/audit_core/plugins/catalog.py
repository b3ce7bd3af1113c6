"""What is installed: the plugins, what each registers, and what is wrong with them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeAlias

from audit_core.errors import ConfigurationError
from audit_core.plugins import discovery
from audit_core.plugins.discovery import BLOCKED, BROKEN, OK, HookCall, Plugin
from audit_core.plugins.errors import PluginError, UnknownBackendError, did_you_mean, explain
from audit_core.plugins.spec import Factory

GROUP = "audit"
BLOCKED_VARIABLE = "AUDIT_BLOCKED_PLUGINS"
REGISTRATION_HOOKS = {
    "storage": "audit_register_storages",
    "stream": "audit_register_streams",
    "summarizer": "audit_register_summarizers",
    "outbox": "audit_register_outboxes",
    "exporter": "audit_register_exporters",
}

Calls: TypeAlias = Mapping[str, tuple[HookCall, ...]]
Owners: TypeAlias = dict[str, Factory]  # by the name of the plugin


class Catalog:
    """The plugins of one process, loaded when something is first asked of them.

    ``entry_points`` are those of group ``audit`` of everything installed, unless given. ``plugins`` are
    further plugin objects by name. ``blocked`` are names not to load, besides those in the environment
    variable ``AUDIT_BLOCKED_PLUGINS`` (separated by commas). Safe to share between threads.
    """

    def __init__(
        self,
        entry_points: Iterable[EntryPoint] | None = None,
        *,
        plugins: Mapping[str, object] | None = None,
        blocked: Collection[str] = (),
    ) -> None:
        self._entry_points = entry_points
        self._given = dict(plugins or {})
        from_environment = os.environ.get(BLOCKED_VARIABLE, "").replace(",", " ").split()
        self._blocked = frozenset((*blocked, *from_environment))
        self._pluggy = discovery.new_pluggy_manager()
        self._plugins: dict[str, Plugin] = {}
        self._calls: Calls | None = None
        self._registered: Mapping[str, Mapping[str, Owners]] | None = None
        self._lock = threading.RLock()
        self._loading = False

    def plugins(self) -> list[Plugin]:
        """Every plugin that is installed, by name, the broken and the blocked too."""
        self._registrations()
        return [self._plugins[name] for name in sorted(self._plugins)]

    def problems(self) -> list[str]:
        """What is wrong, needed or not: broken plugins, names claimed twice, unknown names blocked."""
        broken = [plugin for plugin in self.plugins() if plugin.state == BROKEN]
        found = [f"Plugin {plugin.origin} is broken: {plugin.cause}." for plugin in broken]
        unknown = sorted(self._blocked - self._plugins.keys())
        found += [
            f"Plugin {n!r} is blocked but not installed.{did_you_mean(n, self._plugins)}" for n in unknown
        ]
        return found + self.conflicts()

    def conflicts(self) -> list[str]:
        """The names that two plugins claim, in words."""
        registered = self._registrations().items()
        claims = [(kind, name, owners) for kind, names in registered for name, owners in names.items()]
        return [self._claimed_twice(kind, name, owners) for kind, name, owners in claims if len(owners) > 1]

    def names(self, kind: str) -> list[str]:
        """The names that can be a ``BACKEND`` of this kind (``storage``, ``stream``, ``summarizer`` …)."""
        return sorted(self._registrations()[kind])

    def factory(self, kind: str, name: str) -> Callable[..., Any]:
        """What makes a backend of this kind: by the name a plugin gave it, or by dotted path.

        Raises :class:`~audit_core.plugins.errors.UnknownBackendError` for a name nobody knows,
        :class:`~audit_core.plugins.errors.PluginError` when two plugins claim it, and
        :class:`~audit_core.errors.ConfigurationError` when it cannot be imported.
        """
        owners = self._registrations()[kind].get(name, {})
        if len(owners) > 1:
            raise PluginError(self._claimed_twice(kind, name, owners))
        for owner, factory in owners.items():
            if not isinstance(factory, str):
                return factory
            return _import(factory, f"The {kind} {name!r} of plugin {self._plugins[owner].origin}")
        if "." in name or ":" in name:
            return _import(name, f"The {kind} {name!r}")
        raise UnknownBackendError(self._unknown(kind, name))

    def _claimed_twice(self, kind: str, name: str, owners: Iterable[str]) -> str:
        both = " and ".join(self._plugins[owner].origin for owner in owners)
        remedy = f"uninstall one of them, or name it in {BLOCKED_VARIABLE}"
        return f"The {kind} {name!r} is registered by {both}: {remedy}."

    def _unknown(self, kind: str, name: str) -> str:
        registered = self._registrations()
        message = f"There is no {kind} {name!r}.{did_you_mean(name, registered[kind])}"
        for other, names in registered.items():
            if name in names:
                message += f" There is a {other} of that name."
        known = ", ".join(self.names(kind)) or "none"
        message += f" Installed are: {known}. Give one of them, or the dotted path of a class."
        # Nobody knows what a plugin that cannot be imported would have registered: each may be the one that
        # is meant.
        for plugin in self.plugins():
            if plugin.state == BROKEN:
                message += f" Plugin {plugin.origin}, which may have it, is broken: {plugin.cause}."
            elif plugin.state == BLOCKED:
                message += f" Plugin {plugin.origin}, which may have it, is blocked."
        return message

    def _load(self) -> Calls:
        with self._lock:
            if self._calls is None:
                if self._loading:
                    raise PluginError(
                        "it asks for the plugins while they are being imported; ask inside a function"
                    )
                self._loading = True
                try:
                    self._load_all()
                    self._calls = self._find_calls()
                finally:
                    self._loading = False
            return self._calls

    def _load_all(self) -> None:
        found = entry_points(group=GROUP) if self._entry_points is None else self._entry_points
        loaders: list[tuple[Plugin, Callable[[], object]]] = [
            *((discovery.describe(entry_point), entry_point.load) for entry_point in found),
            *((Plugin(name), partial(self._given.get, name)) for name in self._given),
        ]
        # pluggy calls the last registered first: registered from Z to A, plugins are asked from A to Z.
        for plugin, load in sorted(loaders, key=lambda item: item[0].name, reverse=True):
            self._add(plugin, load)

    def _add(self, plugin: Plugin, load: Callable[[], object]) -> None:
        if other := self._plugins.get(plugin.name):
            self._break(other, PluginError(f"{plugin.origin} has the same name; uninstall one of the two"))
        elif plugin.name in self._blocked:
            self._plugins[plugin.name] = replace(plugin, state=BLOCKED)
        else:
            try:
                hooks = discovery.register(self._pluggy, load(), plugin.name)
            except Exception as error:  # noqa: BLE001 - whatever a module raises, the others go on
                self._break(plugin, error)
            else:
                self._plugins[plugin.name] = replace(plugin, hooks=hooks)

    def _break(self, plugin: Plugin, error: Exception) -> None:
        if self._pluggy.has_plugin(plugin.name):
            self._pluggy.unregister(name=plugin.name)
        self._plugins[plugin.name] = replace(plugin, state=BROKEN, cause=explain(error))

    def _find_calls(self) -> Calls:
        return {
            name: tuple(
                HookCall(found.plugin_name, name, found.function, tuple(found.argnames))
                for found in reversed(caller.get_hookimpls())
            )
            for name, caller in discovery.hook_callers(self._pluggy)
        }

    def _registrations(self) -> Mapping[str, Mapping[str, Owners]]:
        if self._registered is None:
            with self._lock:
                if self._registered is None:
                    self._registered = self._collect()
        return self._registered

    def _collect(self) -> Mapping[str, Mapping[str, Owners]]:
        calls = self._load()
        registered: dict[str, dict[str, Owners]] = {kind: {} for kind in REGISTRATION_HOOKS}
        for plugin in sorted(self._plugins.values(), key=lambda plugin: plugin.name):
            if plugin.state != OK:
                continue
            try:
                own = dict(_registered_by(plugin.name, calls))
            except Exception as error:  # noqa: BLE001 - as above
                self._break(plugin, error)
                continue
            self._plugins[plugin.name] = replace(
                plugin, registers={kind: tuple(sorted(own[kind])) for kind in own}
            )
            for kind, factories in own.items():
                for name, factory in factories.items():
                    registered[kind].setdefault(name, {})[plugin.name] = factory
        self._calls = self._find_calls()
        return registered


def _registered_by(plugin: str, calls: Calls) -> Iterator[tuple[str, Mapping[str, Factory]]]:
    for kind, hook in REGISTRATION_HOOKS.items():
        for call in calls[hook]:
            if call.plugin != plugin:
                continue
            factories = call()
            if factories is None:
                continue
            if not isinstance(factories, Mapping):
                raise PluginError(
                    f"{hook} returned {type(factories).__name__}; return a mapping of names to factories"
                )
            for name, factory in factories.items():
                if not isinstance(name, str) or not (isinstance(factory, str) or callable(factory)):
                    raise PluginError(
                        f"{hook} returned {name!r}: {factory!r}; a factory is a callable or a dotted path"
                    )
            if factories:
                yield kind, factories


def _import(path: str, what: str) -> Callable[..., Any]:
    try:
        found = discovery.import_path(path)
    except Exception as error:
        raise ConfigurationError(f"{what} cannot be imported: {explain(error)}") from error
    if not callable(found):
        raise ConfigurationError(f"{what} cannot be made: {path} is no class or function.")
    return found  # type: ignore[no-any-return]

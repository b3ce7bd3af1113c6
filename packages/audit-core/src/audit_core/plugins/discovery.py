"""From an entry point to a checked plugin: what is wrong with one is written down and stops nobody else."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any

import pluggy

from audit_core.errors import ConfigurationError
from audit_core.plugins import spec
from audit_core.plugins.errors import PluginError, did_you_mean
from audit_core.plugins.markers import PROJECT

OK, BROKEN, BLOCKED = "ok", "broken", "blocked"


@dataclass(frozen=True, slots=True)
class Plugin:
    """What is known of one plugin.

    ``name`` is that of its entry point. ``state`` is ``ok``; ``broken``, with the ``cause``: it could not be
    imported or its hooks are wrong, and none of them is called; or ``blocked``: somebody asked not to load
    it. ``registers`` has the names of its backends by kind (``{"storage": ("s3",)}``), ``hooks`` every hook
    that it implements.
    """

    name: str
    distribution: str | None = None
    version: str | None = None
    state: str = OK
    cause: str | None = None
    registers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hooks: tuple[str, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of backend that it registers, and ``hooks`` when it implements any other hook."""
        others = any(not hook.startswith("audit_register_") for hook in self.hooks)
        return (*self.registers, "hooks") if others else tuple(self.registers)

    @property
    def origin(self) -> str:
        """The plugin and the distribution that it came with, for messages: ``s3 (audit-storage-s3 1.2)``."""
        return f"{self.name} ({self.distribution} {self.version})" if self.distribution else self.name


@dataclass(frozen=True, slots=True)
class HookCall:
    """One plugin's implementation of a hook; called with all arguments, it passes on those that it takes."""

    plugin: str
    hook: str
    function: Callable[..., Any]
    argnames: tuple[str, ...]

    def __call__(self, **arguments: Any) -> Any:
        return self.function(*[arguments[name] for name in self.argnames])


def new_pluggy_manager() -> pluggy.PluginManager:
    """A pluggy manager that knows our hooks and no plugin."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(spec)
    return manager


def hook_names() -> list[str]:
    """The names of all hooks."""
    return sorted(name for name, _ in hook_callers(new_pluggy_manager()))


def hook_callers(manager: pluggy.PluginManager) -> Iterator[tuple[str, pluggy.HookCaller]]:
    """The hooks that have a specification, by name."""
    for name, caller in vars(manager.hook).items():
        if isinstance(caller, pluggy.HookCaller) and caller.has_spec():
            yield name, caller


def describe(entry_point: EntryPoint) -> Plugin:
    """What is known of a plugin before it is imported."""
    distribution = entry_point.dist
    if distribution is None:
        return Plugin(entry_point.name)
    return Plugin(entry_point.name, distribution.name, distribution.version)


def register(manager: pluggy.PluginManager, plugin: object, name: str) -> tuple[str, ...]:
    """Register ``plugin`` and return the names of the hooks that it implements.

    Raises :class:`~audit_core.plugins.errors.PluginError` and leaves ``manager`` as it was when one of them
    is wrong.
    """
    _require_marks(manager, plugin)
    try:
        manager.register(plugin, name)
        hooks = _checked_hooks(manager, plugin)
        manager.check_pending()
    except Exception as error:
        if manager.get_plugin(name) is plugin:
            manager.unregister(name=name)
        if isinstance(error, pluggy.PluginValidationError):
            raise PluginError(" ".join(str(error).split())) from error
        raise
    return hooks


def _require_marks(manager: pluggy.PluginManager, plugin: object) -> None:
    for name, _ in hook_callers(manager):
        function = inspect.getattr_static(plugin, name, None)
        if function is not None and manager.parse_hookimpl_opts(plugin, name) is None:
            raise PluginError(f"{name} is not marked: put @audit_core.hookimpl above it")


def _checked_hooks(manager: pluggy.PluginManager, plugin: object) -> tuple[str, ...]:
    callers = manager.get_hookcallers(plugin) or []
    known = [name for name, _ in hook_callers(manager)]
    for caller in callers:
        for implementation in caller.get_hookimpls():
            if implementation.plugin is not plugin:
                continue
            if not caller.has_spec() and not implementation.optionalhook:
                raise PluginError(f"there is no hook {caller.name!r}.{did_you_mean(caller.name, known)}")
            if implementation.wrapper or implementation.hookwrapper:
                raise PluginError(
                    f"{caller.name} is a wrapper, and those are not accepted: implement the hook itself"
                )
            if inspect.iscoroutinefunction(implementation.function):
                raise PluginError(
                    f"{caller.name} is a coroutine, and hooks are not awaited: make it a plain function"
                )
    if not callers:
        raise PluginError("it implements no hook: mark its functions with @audit_core.hookimpl")
    return tuple(sorted(caller.name for caller in callers if caller.has_spec()))


def import_path(path: str) -> Any:
    """The object at a dotted path, ``package.module.Name`` or ``package.module:Name``.

    Raises :class:`~audit_core.errors.ConfigurationError` when there is none, and lets through what the import
    of an existing module raises.
    """
    module_name, _, attribute = path.replace(":", ".").rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise ConfigurationError(
                f"there is no module {error.name!r}; correct the path, or install the package it belongs to."
            ) from error
        raise
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ConfigurationError(
            f"module {module_name!r} has no {attribute!r}."
            f"{did_you_mean(attribute, [name for name in vars(module) if not name.startswith('_')])}"
        ) from None

"""From ``{"BACKEND": name, "OPTIONS": {…}}`` to a storage, stream or summarizer, or to words why not.

What every backend may have besides its contract is called through here: ``setup()`` creates what it needs (a
table, a bucket, a topic) and may be called again; ``check()`` returns its problems in words; ``close()``
gives up its connections, and the next call opens new ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from audit_core.errors import AuditError, ConfigurationError
from audit_core.outbox import Outbox
from audit_core.plugins.errors import did_you_mean, explain
from audit_core.plugins.manager import PluginManager, get_plugin_manager
from audit_core.storages.contract import Storage
from audit_core.streams.contract import Stream
from audit_core.summarizers.contract import Summarizer

CONTRACTS: dict[str, type] = {
    "storage": Storage,
    "stream": Stream,
    "summarizer": Summarizer,
    "outbox": Outbox,
}
_KEYS = ("BACKEND", "OPTIONS", "START")  # START is for the relay


def build(
    kind: str, config: Mapping[str, Any], *, label: str = "", plugins: PluginManager | None = None
) -> Any:
    """The backend that ``config`` describes, of this kind (``storage``, ``stream``, ``summarizer``,
    ``outbox``).

    ``label`` says in messages where it is configured (``STORAGES['archive']``); ``plugins`` are those of the
    process unless given. Raises :class:`~audit_core.errors.ConfigurationError` for an unknown backend or key,
    for options that it does not take or is missing, for a client library that is not installed, and for a
    factory that makes something else. No message shows the value of an option: it may be a password.
    """
    label = label or f"The {kind}"
    name, options = _read(config, label)
    try:
        factory = (plugins or get_plugin_manager()).factory(kind, name)
    except ConfigurationError as error:
        raise ConfigurationError(f"{label}: {error}") from error
    _match(factory, options, f"{label} ({name})")
    backend = _call(factory, options, f"{label} ({name})")
    contract = CONTRACTS.get(kind)
    if contract is not None and not isinstance(backend, contract):
        lacking = [m for m in _methods(contract) if not callable(getattr(backend, m, None))]
        raise ConfigurationError(
            f"{label} ({name}) gave an object of type {type(backend).__name__}, which is no {kind}: it has "
            f"no {', '.join(f'{method}()' for method in lacking)}."
        )
    return backend


def setup(backend: object) -> None:
    """Create what ``backend`` needs, if it needs anything; what it raises is let through."""
    _optional(backend, "setup")


def check(backend: object) -> list[str]:
    """What is wrong with ``backend``, in words; nothing when it is reachable, permitted and sane."""
    try:
        problems = _optional(backend, "check")
    except Exception as error:  # noqa: BLE001 - a check that fails is what was asked for
        return [f"It could not be checked. {explain(error)}"]
    return [problems] if isinstance(problems, str) else [str(problem) for problem in problems or ()]


def close(backend: object) -> None:
    """Give up the connections of ``backend``, if it has any."""
    _optional(backend, "close")


def _optional(backend: object, method: str) -> Any:
    function = getattr(backend, method, None)
    return function() if callable(function) else None


def _read(config: Mapping[str, Any], label: str) -> tuple[str, Mapping[str, Any]]:
    if not isinstance(config, Mapping) or not isinstance(config.get("BACKEND"), str):
        raise ConfigurationError(
            f"{label} has no BACKEND: write {{'BACKEND': name, 'OPTIONS': {{…}}}}, with the name that a "
            f"plugin registers or the dotted path of a class."
        )
    for key in config:
        if key not in _KEYS:
            hint = f"{did_you_mean(key, _KEYS)} What the backend itself is to be given goes into OPTIONS."
            raise ConfigurationError(f"{label} has the unknown key {key!r}.{hint}")
    options = config.get("OPTIONS", {})
    if not isinstance(options, Mapping) or not all(isinstance(key, str) for key in options):
        raise ConfigurationError(f"{label}: OPTIONS must be a mapping of names to values.")
    return config["BACKEND"], options


def _match(factory: Callable[..., Any], options: Mapping[str, Any], label: str) -> None:
    """Say which option is wrong before the factory is called, when its signature can tell."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # written in C without a signature
        return
    by_name = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    accepted = [parameter.name for parameter in by_name]
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        for option in options:
            if option not in accepted:
                hint = f"{did_you_mean(option, accepted)} {_accepted(accepted)}"
                raise ConfigurationError(f"{label} has no option {option!r}.{hint}")
    missing = [p.name for p in by_name if p.default is p.empty and p.name not in options]
    if missing:
        raise ConfigurationError(f"{label} needs the option {missing[0]!r}. {_accepted(accepted)}")


def _accepted(names: Collection[str]) -> str:
    return f"Its OPTIONS are: {', '.join(names)}." if names else "It takes no OPTIONS."


def _call(factory: Callable[..., Any], options: Mapping[str, Any], label: str) -> Any:
    try:
        return factory(**options)
    except AuditError:
        raise
    except ImportError as error:
        raise ConfigurationError(
            f"{label} needs a package that cannot be imported: {explain(error)}. Install it."
        ) from error
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{label} does not accept its OPTIONS: {explain(error)}.") from error


def _methods(contract: type) -> list[str]:
    return [name for name, member in vars(contract).items() if inspect.isfunction(member) and name[0] != "_"]

"""The settings of a program without a framework: ``audit.toml``.

    [outbox]
    backend = "sqlite"
    options = { path = "audit.sqlite3" }

    [storages.archive]
    backend = "jsonl"
    options = { path = "audit.jsonl" }

    [summarizer]
    backend = "grammar"

The keys are those of the ``AUDIT`` dict of a Django project, in lower or upper case; options keep theirs.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit_core.errors import ConfigurationError
from audit_core.plugins.errors import did_you_mean
from audit_core.relay.settings import RelaySettings, Start, start_of

DEFAULT_PATH = "audit.toml"
VARIABLE = "AUDIT_CONFIG"
_KEYS = ("OUTBOX", "STORAGES", "STREAMS", "SUMMARIZER", "RELAY")


@dataclass(frozen=True, slots=True)
class Config:
    """What is configured. Each backend is a mapping of ``BACKEND`` and ``OPTIONS``, by its name.

    ``relay`` has the options of :class:`~audit_core.relay.RelaySettings`.
    """

    storages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    streams: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    summarizer: Mapping[str, Any] = field(default_factory=lambda: {"BACKEND": "grammar"})
    outbox: Mapping[str, Any] = field(
        default_factory=lambda: {"BACKEND": "sqlite", "OPTIONS": {"path": "audit.sqlite3"}}
    )
    relay: Mapping[str, Any] = field(default_factory=dict)

    @property
    def starts(self) -> Mapping[str, Start]:
        """Where each sink begins that was never served."""
        sinks = {**self.storages, **self.streams}
        return {name: start_of(config.get("START", "first")) for name, config in sinks.items()}

    def backends(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Every backend: its kind, what messages call it (``STORAGES['archive']``), and its own settings."""
        yield "outbox", "OUTBOX", self.outbox
        for name, config in self.storages.items():
            yield "storage", storage_label(name), config
        for name, config in self.streams.items():
            yield "stream", f"STREAMS[{name!r}]", config
        yield "summarizer", "SUMMARIZER", self.summarizer


def storage_label(name: str) -> str:
    """What messages call the storage of this name."""
    return f"STORAGES[{name!r}]"


def load_config(source: str | os.PathLike[str] | Mapping[str, Any] | None = None) -> Config:
    """The configuration in ``source``: a mapping, or the path of a TOML file.

    Without one it is the file that the environment variable ``AUDIT_CONFIG`` names, or else ``audit.toml`` in
    the current folder. Raises :class:`~audit_core.errors.ConfigurationError` for a file that is not there or
    not TOML, and for a key that does not exist.
    """
    if isinstance(source, Mapping):
        return _read(source, "The configuration")
    path = Path(source or os.environ.get(VARIABLE) or DEFAULT_PATH)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"There is no configuration at {path}. Name a file with --config or with {VARIABLE}, or create "
            f"{DEFAULT_PATH} here."
        ) from None
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    return _read(raw, str(path))


def _read(raw: Mapping[str, Any], where: str) -> Config:
    top = _upper(raw, where)
    for key in top:
        if key not in _KEYS:
            hint = did_you_mean(key, _KEYS) or f" There are: {', '.join(_KEYS)}."
            raise ConfigurationError(f"{where} has the unknown key {key!r}.{hint}")
    values: dict[str, Any] = {}
    for key in ("STORAGES", "STREAMS"):
        named = _mapping(top.get(key, {}), f"{where}: {key}")
        values[key.lower()] = {
            str(name): _upper(_mapping(config, f"{where}: {key}[{name!r}]"), f"{where}: {key}[{name!r}]")
            for name, config in named.items()
        }
    for key in ("OUTBOX", "SUMMARIZER"):
        if key in top:
            values[key.lower()] = _upper(_mapping(top[key], f"{where}: {key}"), f"{where}: {key}")
    values["relay"] = _mapping(top.get("RELAY", {}), f"{where}: RELAY")
    config = Config(**values)
    try:
        RelaySettings(**config.relay)
        _ = config.starts
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{where} cannot be used: {error}") from error
    return config


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{what} must be a table, not {type(value).__name__}.")
    return value


def _upper(values: Mapping[str, Any], what: str) -> dict[str, Any]:
    upper: dict[str, Any] = {}
    for key, value in values.items():
        if str(key).upper() in upper:
            raise ConfigurationError(f"{what} has {key!r} twice, in lower and in upper case. Keep one.")
        upper[str(key).upper()] = value
    return upper

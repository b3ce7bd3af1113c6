"""The backends of the settings, made when first used and kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from audit_core import backends
from audit_core.plugins.manager import get_plugin_manager
from audit_django.conf import get_settings, read
from audit_django.storages.database import DatabaseStorage

_made: dict[str, Any] = {}


def _backend(kind: str, config: Mapping[str, Any], label: str) -> Any:
    if label not in _made:
        _made[label] = backends.build(kind, config, label=label)
    return _made[label]


def storage(name: str) -> Any:
    """The storage of this name in ``STORAGES``. Raises :class:`~audit_core.errors.ConfigurationError`."""
    return _backend("storage", get_settings().storages[name], f"AUDIT['STORAGES']['{name}']")


def stream(name: str) -> Any:
    """The stream of this name in ``STREAMS``."""
    return _backend("stream", get_settings().streams[name], f"AUDIT['STREAMS']['{name}']")


def summarizer() -> Any:
    """The summarizer; ``None`` where no sentences are to be written."""
    config = get_settings().summarizer
    return None if config is None else _backend("summarizer", config, "AUDIT['SUMMARIZER']")


def close() -> None:
    """Give up the connections of every backend that was made; what is asked next opens new ones."""
    for backend in list(_made.values()):
        backends.close(backend)


def sinks() -> Mapping[str, Any]:
    """What the relay delivers to: every storage and stream but the log's own database, which has the events already."""
    settings = get_settings()
    found: dict[str, Any] = {name: storage(name) for name in settings.storages}
    found = {name: backend for name, backend in found.items() if not isinstance(backend, DatabaseStorage)}
    return {**found, **{name: stream(name) for name in settings.streams}}


def configured() -> Mapping[str, Callable[[], Any]]:
    """What makes every backend of the settings, by where it is configured."""
    settings = get_settings()
    found: dict[str, Callable[[], Any]] = {
        **{f"STORAGES[{name!r}]": partial(storage, name) for name in settings.storages},
        **{f"STREAMS[{name!r}]": partial(stream, name) for name in settings.streams},
    }
    return found if settings.summarizer is None else {**found, "SUMMARIZER": summarizer}


def load() -> None:
    """Find every backend that the settings name, so that one that cannot be loaded stops the start and not the first event.

    Raises :class:`~audit_core.errors.ConfigurationError` naming its distribution, version and cause.
    """
    settings, problems = read(getattr(django_settings, "AUDIT", {}))
    if problems:
        return  # the system checks list them
    manager = get_plugin_manager()
    for kind, configured in (("storage", settings.storages), ("stream", settings.streams)):
        for config in configured.values():
            manager.factory(kind, config["BACKEND"])
    if settings.summarizer is not None:
        manager.factory("summarizer", settings.summarizer["BACKEND"])


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "AUDIT":
        close()
        _made.clear()


setting_changed.connect(_forget)
if hasattr(os, "register_at_fork"):  # clients are not shared with a child, nor closed by it
    os.register_at_fork(after_in_child=_made.clear)

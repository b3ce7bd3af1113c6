"""The backends of the settings, made when first used and kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache, lru_cache, partial
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from audit_core import backends
from audit_core.plugins.manager import get_plugin_manager
from audit_django.conf import get_settings, read
from audit_django.storages.database import DatabaseStorage


@cache
def storage(name: str) -> Any:
    """The storage of this name in ``STORAGES``. Raises :class:`~audit_core.errors.ConfigurationError`."""
    return backends.build("storage", get_settings().storages[name], label=f"AUDIT['STORAGES']['{name}']")


@cache
def stream(name: str) -> Any:
    """The stream of this name in ``STREAMS``."""
    return backends.build("stream", get_settings().streams[name], label=f"AUDIT['STREAMS']['{name}']")


@lru_cache(maxsize=1)
def summarizer() -> Any:
    """The summarizer; ``None`` where no sentences are to be written."""
    config = get_settings().summarizer
    return None if config is None else backends.build("summarizer", config, label="AUDIT['SUMMARIZER']")


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
        storage.cache_clear()
        stream.cache_clear()
        summarizer.cache_clear()


setting_changed.connect(_forget)
if hasattr(os, "register_at_fork"):  # clients are not shared with a child
    os.register_at_fork(after_in_child=lambda: _forget(setting="AUDIT"))

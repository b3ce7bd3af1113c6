"""The relay in Django: which one, and where it runs (the setting ``RELAY``)."""

from __future__ import annotations

import os
from functools import cache

from django.core.signals import setting_changed

from audit_core.plugins.manager import get_plugin_manager
from audit_core.relay import Relay, RelaySettings
from audit_django import backends
from audit_django.conf import get_settings
from audit_django.log import DjangoLog


def make_relay(using: str, relay_settings: RelaySettings) -> Relay:
    """A relay for one database alias: its outbox and log, and every sink of the settings."""
    settings = get_settings()
    return Relay(
        DjangoLog(using, settings.language),
        backends.sinks(),
        starts=settings.starts,
        summaries=settings.summarizer is not None,
        summarizer=backends.summarizer(),
        language=settings.language,
        hooks=get_plugin_manager(),
        settings=relay_settings,
    )


@cache
def get_relay(using: str) -> Relay:
    """The relay of this process for one database alias."""
    return make_relay(using, get_settings().relay_settings)


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting in ("AUDIT", "LANGUAGE_CODE"):
        get_relay.cache_clear()


setting_changed.connect(_forget)
if hasattr(os, "register_at_fork"):  # a child has an owner's name and clients of its own
    os.register_at_fork(after_in_child=get_relay.cache_clear)

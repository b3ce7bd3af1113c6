"""Calls hooks, and holds the plugins of the process.

Hooks are called here one by one instead of through pluggy's relay: what one plugin raises is attributed to it
and kept from the others, and while no plugin implements a hook, a save pays for looking up an empty tuple.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from audit_core.codec import plain
from audit_core.errors import AuditError, EncodeError
from audit_core.event import Event, RecordedEvent
from audit_core.plugins.catalog import BLOCKED_VARIABLE, Catalog
from audit_core.plugins.discovery import HookCall
from audit_core.plugins.errors import HookError, location

logger = logging.getLogger("audit.plugins")


class PluginManager(Catalog):
    """The plugins of one process and their hooks, as :class:`audit_core.recorder.RecorderHooks` asks for."""

    def implements(self, hook: str) -> bool:
        """Whether any plugin implements ``hook``. Raises ``KeyError`` when there is no such hook."""
        return bool((self._calls or self._load())[hook])

    @property
    def wants_recorded_events(self) -> bool:
        """Whether any plugin implements ``audit_event_recorded``, so that events must be kept for it."""
        return self.implements("audit_event_recorded")

    def encode_value(self, value: object) -> Any:
        """The first answer to ``audit_encode_value``.

        Raises :class:`~audit_core.errors.EncodeError` when a plugin does.
        """
        for call in (self._calls or self._load())["audit_encode_value"]:
            encoded = _ask(call, EncodeError, value=value)
            if encoded is not None:
                return encoded
        return None

    def diff_field(self, field: Any, before: Any, after: Any) -> Mapping[str, Any] | None:
        """The first answer to ``audit_diff_field``: ``before`` and ``after`` as plain values, or nothing.

        Raises :class:`~audit_core.plugins.errors.HookError` when a plugin raises or answers anything else.
        """
        for call in (self._calls or self._load())["audit_diff_field"]:
            change = _ask(call, HookError, field=field, before=before, after=after)
            if change is None:
                continue
            if not isinstance(change, Mapping) or (change and change.keys() != {"before", "after"}):
                raise HookError(
                    f"Plugin {call.plugin} answered audit_diff_field with something else than a mapping of "
                    f"'before' and 'after', or an empty one. {_remedy(call)}"
                )
            return {key: plain(value, encode_unknown=self.encode_value) for key, value in change.items()}
        return None

    def resolve_actor(self) -> Any:
        """The first answer to ``audit_resolve_actor``.

        Raises :class:`~audit_core.plugins.errors.HookError` when a plugin does.
        """
        for call in (self._calls or self._load())["audit_resolve_actor"]:
            actor = _ask(call, HookError)
            if actor is not None:
                return actor
        return None

    def enrich_event(self, event: Event) -> dict[str, Any]:
        """What each plugin adds to ``event``, as plain JSON values by the plugin's name.

        A plugin that raises, or whose facts have no JSON form, adds ``{"error": class of the exception}``.
        """
        calls = (self._calls or self._load())["audit_enrich_event"]
        if not calls:
            return {}
        # A plugin that writes into the diff by mistake must fail, not change what is recorded.
        shown = replace(event, diff=MappingProxyType(event.diff), extra=MappingProxyType(event.extra))
        added: dict[str, Any] = {}
        for call in calls:
            try:
                facts = call(event=shown)
                if facts is not None and not isinstance(facts, Mapping):
                    raise TypeError(
                        f"audit_enrich_event returned {type(facts).__name__}, not a mapping or None"
                    )
                if facts:
                    added[call.plugin] = plain(facts, encode_unknown=self.encode_value)
            except Exception as error:
                logger.exception("Plugin %s could not enrich event %s, which says so.", call.plugin, event.id)
                added[call.plugin] = {"error": type(error).__name__}
        return added

    def event_recorded(self, event: RecordedEvent) -> None:
        """Tell every plugin that ``event`` is committed."""
        for call in (self._calls or self._load())["audit_event_recorded"]:
            _tell(call, event=event)

    def batch_delivered(self, sink: str, events: Sequence[RecordedEvent]) -> None:
        """Tell every plugin that ``sink`` has taken ``events``."""
        for call in (self._calls or self._load())["audit_batch_delivered"]:
            _tell(call, sink=sink, events=events)

    def delivery_failed(
        self, sink: str, events: Sequence[RecordedEvent], error: Exception, attempt: int, final: bool
    ) -> None:
        """Tell every plugin that ``sink`` has not taken ``events``."""
        for call in (self._calls or self._load())["audit_delivery_failed"]:
            _tell(call, sink=sink, events=events, error=error, attempt=attempt, final=final)

    @staticmethod
    def _tell(call: HookCall, **arguments: Any) -> None:
        try:
            call(**arguments)
        except Exception:
            logger.exception("Plugin %s failed in %s; everything else goes on.", call.plugin, call.hook)


def _ask(call: HookCall, error_class: type[AuditError], **arguments: Any) -> Any:
    try:
        return call(**arguments)
    except Exception as error:  # noqa: BLE001 - it goes on, without its words
        where = location(error, call.function.__module__)
        raise error_class(
            f"Plugin {call.plugin} raised {type(error).__name__} in {call.hook} ({where}). What "
            f"it said is not repeated, because it may quote a sensitive value. {_remedy(call)}"
        ) from None


def _remedy(call: HookCall) -> str:
    return f"Correct the plugin, or keep it from loading with {BLOCKED_VARIABLE}={call.plugin}."


def _tell(call: HookCall, **arguments: Any) -> None:
    try:
        call(**arguments)
    except Exception:
        logger.exception("Plugin %s raised in %s; everything else goes on.", call.plugin, call.hook)


_current: PluginManager | None = None
_lock = threading.Lock()


def get_plugin_manager() -> PluginManager:
    """The plugins of this process. They are searched for once, when something is first asked of them."""
    global _current
    if _current is None:
        with _lock:
            if _current is None:
                _current = PluginManager()
    return _current


@contextmanager
def override_plugin_manager(manager: PluginManager) -> Generator[PluginManager]:
    """Make ``manager`` the process's own inside the block: for tests, with the plugins that they name.

    with override_plugin_manager(PluginManager(entry_points=[], plugins={"mine": module})):
        ...
    """
    global _current
    before, _current = _current, manager
    try:
        yield manager
    finally:
        _current = before

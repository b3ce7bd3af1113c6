"""The recorder: from what happened and what the scope knows to an event that is ready for the outbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from audit_core.codec import plain, safe_text
from audit_core.context import current
from audit_core.diff import Diff
from audit_core.errors import EncodeError
from audit_core.event import NO_CONTEXT, Actor, Category, Event, Outcome, RecordedEvent, Target
from audit_core.ids import uuid7
from audit_core.privacy.sealing import KeyOf, seal_event, without_keys

_ACTOR_FIELDS = tuple(f.name for f in fields(Actor))


class RecorderHooks(Protocol):
    """What the recorder asks of plugins; :class:`audit_core.plugins.manager.PluginManager` is one."""

    def encode_value(self, value: object) -> Any: ...

    def resolve_actor(self) -> Any: ...

    def enrich_event(self, event: Event) -> Mapping[str, Any]: ...


class Recorder:
    """Builds events. ``as_actor`` turns what a framework calls a user into an :class:`~audit_core.event.Actor`.

    ``key_of`` gives the data key that an event's sensitive values are sealed under, and may ask a database for it; without it
    they are not kept. ``clock`` gives the time of an event. Building does no other I/O.
    """

    def __init__(
        self,
        hooks: RecorderHooks,
        *,
        as_actor: Callable[[Any], Actor | None] | None = None,
        resolve_actor: Callable[[], Any] | None = None,
        key_of: KeyOf = without_keys,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._hooks = hooks
        self._as_actor = as_actor or actor_from
        self._resolve_actor = resolve_actor
        self._key_of = key_of
        self._clock = clock

    def build(
        self,
        action: str,
        *,
        category: str = Category.CHANGE,
        outcome: str = Outcome.SUCCESS,
        target: Target | None = None,
        related: Sequence[Target] = (),
        diff: Diff | None = None,
        actor: Any = None,
        tenant: str | None = None,
        reason: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> RecordedEvent:
        """The event of what happened now, with what the scope adds. What is passed here wins over the scope.

        The diff's values must be plain already, or a :class:`~audit_core.privacy.Secret` of a plain one, which is sealed before
        any plugin sees the event; everything else is made plain. Raises :class:`~audit_core.errors.EncodeError` for a value in
        ``extra`` that has no JSON form.
        """
        scope = current()
        merged = {**scope.extra, **(extra or {})}
        tenant = tenant if tenant is not None else scope.tenant() if callable(scope.tenant) else scope.tenant
        reason = reason if reason is not None else scope.reason
        event = Event(
            id=uuid7(),
            occurred_at=self._clock(),
            category=category,
            action=action,
            outcome=outcome,
            actor=self._actor(actor if actor is not None else scope.actor, resolve=True),
            on_behalf_of=self._actor(scope.on_behalf_of, resolve=False),
            target=None if target is None else _safe(target),
            related=tuple(map(_safe, related)),
            tenant=None if tenant is None else safe_text(str(tenant)),
            reason=None if reason is None else safe_text(str(reason)),
            context=NO_CONTEXT if scope.context is NO_CONTEXT else _safe(scope.context),
            diff=diff or {},
            extra={safe_text(str(key)): self._plain(key, value) for key, value in merged.items()},
        )
        event = seal_event(event, self._key_of)
        if enrichment := self._hooks.enrich_event(event):
            extra_by_plugin = {name: self._plain(name, value) for name, value in enrichment.items()}
            event = replace(event, extra={**event.extra, **extra_by_plugin})
        return RecordedEvent.of(event)

    def _plain(self, key: str, value: object) -> Any:
        try:
            return plain(value, encode_unknown=self._hooks.encode_value)
        except EncodeError as error:
            raise EncodeError(f"extra[{key!r}]: {error}") from None

    def actor(self, source: Any) -> Actor | None:
        """The actor that ``source`` is now."""
        return self._actor(source, resolve=False)

    def _actor(self, source: Any, *, resolve: bool) -> Actor | None:
        while callable(source) and not isinstance(source, type):
            source = source()
        if source is None and resolve:
            source = self._hooks.resolve_actor()
        if source is None and resolve and self._resolve_actor is not None:
            source = self._resolve_actor()
        if source is None:
            return None
        actor = source if isinstance(source, Actor) else self._as_actor(source)
        return None if actor is None else _safe(actor)


def actor_from(source: Any) -> Actor | None:
    """An actor from a name, a mapping (``id``, ``username``, ``email``, ``repr``, ``type``) or an object with such attributes."""
    if source is None or isinstance(source, Actor):
        return source
    if isinstance(source, str):
        return Actor(username=source, repr=source)
    if isinstance(source, Mapping):
        values = {name: source.get(name) for name in _ACTOR_FIELDS}
    else:
        values = {name: getattr(source, name, None) for name in _ACTOR_FIELDS}
        values.pop("repr", None)
        values["repr"] = str(source)
    named = {name: str(value) for name, value in values.items() if value is not None and value != ""}
    return Actor(**named) if named else None


def _safe(part: Any) -> Any:
    """The same part, its texts fit for every database (:func:`~audit_core.codec.safe_text`)."""
    changed = {}
    for name in part.__dataclass_fields__:
        value = getattr(part, name)
        if value.__class__ is str:
            if not value.isascii() or "\x00" in value:
                changed[name] = safe_text(value)
        elif value is not None:
            changed[name] = safe_text(str(value))
    if not changed:
        return part
    return type(part)(**{name: changed.get(name, getattr(part, name)) for name in part.__dataclass_fields__})

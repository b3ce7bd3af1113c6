"""Who is acting, why and from where: one immutable scope in a ``contextvars`` variable.

A scope is replaced, never changed, so threads, tasks of one event loop and nested blocks each keep their own, and
leaving a block always restores what was before it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from audit_core.event import NO_CONTEXT, Actor, Context

if TYPE_CHECKING:
    from contextlib import _GeneratorContextManager

ActorSource: TypeAlias = "Actor | str | Mapping[str, Any] | Callable[[], Any] | Any"
"""An actor, or what the recorder makes one of: a name, a mapping, a user object, or a callable asked when recording."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What applies to every event recorded now.

    ``tenant`` may be a callable without arguments, asked when recording. ``disabled`` is what :func:`capture_off` was given.
    """

    actor: ActorSource = None
    on_behalf_of: ActorSource = None
    tenant: str | Callable[[], str | None] | None = None
    reason: str | None = None
    context: Context = NO_CONTEXT
    extra: Mapping[str, Any] = field(default_factory=dict)
    disabled: Any = None


_scope: ContextVar[Scope] = ContextVar("audit_scope", default=Scope())  # noqa: B039  a Scope is never changed
_CONTEXT_NAMES = frozenset(f.name for f in fields(Context))
_SCOPE_NAMES = frozenset({"actor", "on_behalf_of", "tenant", "reason"})


def current() -> Scope:
    """The scope that applies here."""
    return _scope.get()


@contextmanager
def audit_context(**values: Any) -> Generator[Scope]:
    """Record with these values inside the block, or the decorated function; what is not named is inherited.

    ``actor``, ``on_behalf_of``, ``tenant``, ``reason`` and the fields of :class:`~audit_core.event.Context` (``ip``,
    ``request_id`` …) go where they belong; any other keyword is kept in the event's ``extra``. ``None`` clears a value.

        with audit_context(reason="customer's letter of 3 March", ticket="T-17"):
            policy.save()
    """
    token = _scope.set(_merged(_scope.get(), values))
    try:
        yield _scope.get()
    finally:
        _scope.reset(token)


@contextmanager
def resumed(scope: Scope) -> Generator[None]:
    """Record with ``scope`` as it was when the work inside the block was left off: the next step of a generator, a callback."""
    token = _scope.set(scope)
    try:
        yield
    finally:
        _scope.reset(token)


def _merged(scope: Scope, values: Mapping[str, Any]) -> Scope:
    own = {name: value for name, value in values.items() if name in _SCOPE_NAMES}
    context = {name: value for name, value in values.items() if name in _CONTEXT_NAMES}
    extra = {k: v for k, v in values.items() if k not in _SCOPE_NAMES and k not in _CONTEXT_NAMES}
    if context:
        own["context"] = replace(scope.context, **context)
    if extra:
        own["extra"] = {**scope.extra, **extra}
    return replace(scope, **own)


def with_reason(reason: str) -> _GeneratorContextManager[Scope]:
    """Give every event of the block or the decorated function this reason: ``@with_reason("yearly renewal")``."""
    return audit_context(reason=reason)


@contextmanager
def capture_off(mark: Any) -> Generator[None]:
    """Switch capture off inside the block; ``mark`` is what the capture finds in :attr:`Scope.disabled`."""
    token = _scope.set(replace(_scope.get(), disabled=mark))
    try:
        yield
    finally:
        _scope.reset(token)

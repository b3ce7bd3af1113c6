"""The hooks that a plugin may implement, in the order of an event's way.

A plugin takes as few of a hook's arguments as it likes; more may be added later. Plugins are asked in the
alphabetical order of their names, ``@hookimpl(tryfirst=True)`` before and ``trylast=True`` after all others.
There is no hook that could keep an event from being recorded or change it, and no wrapper is accepted: a
trail that any installed package can silence is none. Hooks are plain functions; a coroutine is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from audit_core.plugins.markers import hookspec

if TYPE_CHECKING:
    from audit_core.event import Event, RecordedEvent

Factory: TypeAlias = "Callable[..., Any] | str"
"""What makes a backend: a class, a function, or the dotted path of one, imported when it is needed."""


@hookspec
def audit_register_storages() -> Mapping[str, Factory] | None:
    """The storages that this plugin brings: the name that goes into ``BACKEND``, and what makes one.

    Called once, when a backend is first looked up by name or the plugins are listed. Return data and do
    nothing else: no client library is imported here, so name a class by its dotted path, or import inside a
    function. The factory is called with the entry's ``OPTIONS`` as keyword arguments and returns a
    :class:`~audit_core.storages.contract.Storage`.

    ``None`` means that there is none.
    """


@hookspec
def audit_register_streams() -> Mapping[str, Factory] | None:
    """The streams that this plugin brings; a factory returns a :class:`~audit_core.streams.contract.Stream`.

    Called, and ``None`` means, as for ``audit_register_storages``.
    """


@hookspec
def audit_register_summarizers() -> Mapping[str, Factory] | None:
    """The summarizers that this plugin brings; a factory returns a
    :class:`~audit_core.summarizers.contract.Summarizer`.

    Called, and ``None`` means, as for ``audit_register_storages``.
    """


@hookspec
def audit_register_outboxes() -> Mapping[str, Factory] | None:
    """The outboxes that this plugin brings, one for each framework; a factory returns an
    :class:`~audit_core.outbox.Outbox`.

    Called, and ``None`` means, as for ``audit_register_storages``.
    """


@hookspec
def audit_register_exporters() -> Mapping[str, Factory] | None:
    """The file formats that this plugin can export events to, by the name that people choose.

    Called, and ``None`` means, as for ``audit_register_storages``.
    """


@hookspec(firstresult=True)
def audit_diff_field(field: Any, before: Any, after: Any) -> Mapping[str, Any] | None:
    """Compare the two values of one field, for a field that wants its own comparison.

    Called by the capture inside the business transaction, for each field whose values differ: do no I/O.
    ``field`` is the framework's own object for it (a Django model field), ``before`` and ``after`` are plain
    JSON values. Relations and sensitive fields are not asked about.

    Return ``{"before": …, "after": …}`` with what is to be recorded, or an empty mapping when the two mean
    the same and nothing happened. ``None`` means: not mine, ask the next plugin; if nobody answers, the
    values are recorded as they are. An exception refuses the business write, because a change that cannot be
    compared cannot be recorded either.
    """


@hookspec(firstresult=True)
def audit_encode_value(value: object) -> Any:
    """Give a value that JSON does not know a form that it does.

    Called by the recorder inside the business transaction, for a value that is no JSON value, number, date,
    UUID, enum, mapping or sequence, and also for values of sensitive fields: keep it nowhere, do no I/O.

    Return a JSON value that a person can read. ``None`` means: not mine, ask the next plugin; if nobody
    answers, the event cannot be recorded and the business write is refused, which an exception in this hook
    does as well.
    """


@hookspec(firstresult=True)
def audit_resolve_actor() -> Any:
    """Say who is acting, when neither the caller nor the context has named anyone.

    Called by the recorder inside the business transaction, for every such event: do no I/O, read what is at
    hand (a ``contextvars`` variable).

    Return an :class:`~audit_core.event.Actor`, a user object, a mapping (``id``, ``username``, ``email``,
    ``repr``, ``type``) or a name. ``None`` means: I do not know, ask the next plugin; if nobody answers, the
    event has no actor. An exception refuses the business write: nobody learns later that the wrong person, or
    nobody, was written down.
    """


@hookspec
def audit_enrich_event(event: Event) -> Mapping[str, Any] | None:
    """Add facts to an event: a trace id, a feature flag, the release that was running.

    Called by the recorder inside the business transaction, once for each event: do no I/O. ``event`` is as it
    will be recorded, sensitive values sealed; it cannot be changed.

    Return a mapping of what to add. It is kept under ``extra[name of the plugin]``, so that nobody overwrites
    what another one said. ``None`` or an empty mapping means: nothing to add. An exception, or a value that
    has no JSON form, loses no event: it is logged, and the event says ``{"error": name of the exception's
    class}`` in that place.
    """


@hookspec
def audit_event_recorded(event: RecordedEvent) -> None:
    """Learn that an event has been recorded for good.

    Called once for each event after its transaction has committed, in the process that recorded it and before
    its caller goes on: be quick, and do not count on it, because a process can die between the commit and
    this call. What must not be missed is a storage or a stream. The return value is ignored; an exception is
    logged with the plugin's name.
    """


@hookspec
def audit_batch_delivered(sink: str, events: Sequence[RecordedEvent]) -> None:
    """Learn that a sink has taken a batch.

    Called by the relay after the write and before the cursor moves, so after a crash the same batch may be
    reported again. ``sink`` is the name of its cursor. The return value is ignored; an exception is logged
    with the plugin's name.
    """


@hookspec
def audit_delivery_failed(
    sink: str, events: Sequence[RecordedEvent], error: Exception, attempt: int, final: bool
) -> None:
    """Learn that a sink has not taken a batch.

    Called by the relay after each attempt that failed, before it waits. ``attempt`` counts from 1 and starts
    again after a success. ``final`` is true when there will be no further attempt and ``events`` are parked.
    The return value is ignored; an exception is logged with the plugin's name.
    """

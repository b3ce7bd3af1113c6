"""The last step of every way of writing: the event is built and joins its transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

from django.db.models import Model

from audit_core.context import audit_context
from audit_core.diff import MANY_TO_MANY, Change
from audit_core.event import Event, RecordedEvent, Target
from audit_core.privacy.sealing import seal_event
from audit_django.capture.transactions import TransactionState
from audit_django.fields import Tracked
from audit_django.privacy.keyring import key_of
from audit_django.recording import get_recorder


def push(
    state: TransactionState,
    tracked: Tracked,
    action: str,
    target: Target,
    diff: Mapping[str, Change],
    *,
    instance: Model | None = None,
    related: Sequence[Target] = (),
    extra: Mapping[str, Any] | None = None,
) -> RecordedEvent:
    """Record a change of ``target``. ``instance``, where there is one, may add context of its own."""
    recorded = built(state, action, target, diff, instance=instance, related=related, extra=extra)
    state.record(recorded, required=tracked.required)
    return recorded


def built(
    state: TransactionState,
    action: str,
    target: Target,
    diff: Mapping[str, Change],
    *,
    instance: Model | None,
    related: Sequence[Target] = (),
    extra: Mapping[str, Any] | None = None,
) -> RecordedEvent:
    """The event of a change, which is not recorded yet."""
    values = own() if (own := getattr(instance, "get_audit_context", None)) else None
    keys = partial(key_of, state)
    with audit_context(**values) if values else nullcontext():
        return get_recorder().build(
            action, target=target, diff=diff, related=related, extra=extra, key_of=keys
        )


def push_or_join(
    state: TransactionState,
    tracked: Tracked,
    target: Target,
    diff: Mapping[str, Change],
    instance: Model | None,
) -> None:
    """Record a change of relations, as part of the event before it if that is the same object's, by the same actor.

    A form saves an object and then sets its many-to-many fields: for people that is one change.
    """
    last = state.pending.last()
    if last is None or not _same_deed(last.recorded.event, target):
        push(state, tracked, "update", target, diff, instance=instance)
        return
    push(state, tracked, "update", target, diff, instance=instance)
    entry = state.pending.last()
    if entry is None or not _same_circumstances(last.recorded.event, entry.recorded.event):
        return
    state.pending.drop_last()
    event = last.recorded.event
    joined = {name: _join(event.diff.get(name), change) for name, change in diff.items()}
    merged = {name: change for name, change in {**event.diff, **joined}.items() if _says_something(change)}
    if merged or event.action == "create":
        # What `diff` has is not sealed yet: a sealed value opens in the event that it was made for, and in no other.
        last.recorded = RecordedEvent.of(seal_event(replace(event, diff=merged), partial(key_of, state)))
    else:
        state.pending.drop_last()  # what was linked was unlinked again


def _same_deed(event: Event, target: Target) -> bool:
    return (
        event.target is not None and event.target.key == target.key and event.action in ("create", "update")
    )


def _same_circumstances(one: Event, other: Event) -> bool:
    names = ("actor", "on_behalf_of", "tenant", "reason", "context", "extra")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _says_something(change: Change) -> bool:
    if change.relation == MANY_TO_MANY:
        return bool(change.added or change.removed)
    return bool(change.before != change.after)


def _join(earlier: Change | None, later: Change) -> Change:
    """Both changes of one relation as one: what was added and then removed is neither."""
    if earlier is None:
        return later
    if later.relation != MANY_TO_MANY:
        return later._replace(before=earlier.before)
    return later._replace(
        added=[*_without(earlier.added, later.removed), *_without(later.added, earlier.removed)],
        removed=[*_without(earlier.removed, later.added), *_without(later.removed, earlier.added)],
    )


def _without(
    references: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    keys = [other["pk"] for other in others]
    return [reference for reference in references if reference["pk"] not in keys]

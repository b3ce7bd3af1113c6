"""Events to test with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from audit_core.diff import Change, Diff
from audit_core.event import Actor, Category, Context, Event, Outcome, RecordedEvent, Target
from audit_core.ids import uuid7

ALICE = Actor(id="7", username="alice", email="alice@example.com", repr="Alice")
BOB = Actor(id="9", username="bob", repr="Bob")


def make_event(
    action: str = "update",
    *,
    target: Target | str | None = "policies.Policy:1",
    diff: Diff | Mapping[str, tuple[Any, Any]] | None = None,
    actor: Actor | None = ALICE,
    occurred_at: datetime | None = None,
    category: str = Category.CHANGE,
    outcome: str = Outcome.SUCCESS,
    related: Sequence[Target] = (),
    tenant: str | None = None,
    reason: str | None = None,
    context: Context | None = None,
    extra: Mapping[str, Any] | None = None,
    id: UUID | None = None,
    seq: int | None = None,
    summary: str | None = None,
) -> RecordedEvent:
    """One event, with what a test does not care about filled in.

    ``target`` may be written ``"policies.Policy:1"``; ``diff`` may be written ``{"status": ("pending",
    "approved")}``.
    """
    event = Event(
        id=id or uuid7(),
        occurred_at=occurred_at or datetime.now(UTC),
        category=category,
        action=action,
        outcome=outcome,
        actor=actor,
        target=_target(target) if isinstance(target, str) else target,
        related=tuple(related),
        tenant=tenant,
        reason=reason,
        context=context or Context(),
        diff=_diff({"status": ("pending", "approved")} if diff is None else diff),
        extra=extra or {},
    )
    return RecordedEvent.of(event, seq=seq, summary=summary)


def make_events(
    count: int, *, targets: int = 3, first_seq: int | None = None, **values: Any
) -> list[RecordedEvent]:
    """``count`` events that go round over ``targets`` objects; ``first_seq`` numbers them as a log would."""
    return [
        make_event(
            target=f"policies.Policy:{n % targets + 1}",
            diff={"premium": (n, n + 1)},
            seq=None if first_seq is None else first_seq + n,
            **values,
        )
        for n in range(count)
    ]


def _target(text: str) -> Target:
    type_, _, id_ = text.partition(":")
    kind = type_.rpartition(".")[2].lower()
    return Target(
        type=type_, id=id_ or None, repr=f"P-{id_}" if id_ else None, kind=kind, kind_plural=f"{kind}s"
    )


def _diff(diff: Diff | Mapping[str, tuple[Any, Any]]) -> Diff:
    return {
        name: change if isinstance(change, Change) else Change(field=name, before=change[0], after=change[1])
        for name, change in diff.items()
    }

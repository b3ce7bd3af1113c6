"""The events of a block of test code, under ``TestCase`` as well as with real commits."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audit_core.event import Event


class CapturedEvents(Sequence["Event"]):
    """The events recorded since the block began, in the order of recording. Looking at it inside the block is allowed."""

    def __init__(self, using: str) -> None:
        from audit_django.models import AuditEvent

        # A query on the audit tables writes first what the open transaction holds.
        self._rows = AuditEvent.objects.using(using).order_by("number")
        self._after = self._rows.values_list("number", flat=True).last() or 0
        self._until: int | None = None

    def _close(self) -> None:
        self._until = self._rows.values_list("number", flat=True).last() or 0

    def _events(self) -> list[Event]:
        rows = self._rows.filter(number__gt=self._after)
        if self._until is not None:
            rows = rows.filter(number__lte=self._until)
        return [row.event for row in rows]

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events())

    def __len__(self) -> int:
        return len(self._events())

    def __getitem__(self, index: Any) -> Any:
        return self._events()[index]

    def matching(
        self, action: str | None = None, target: Any = None, *, changed: Sequence[str] | str | None = None
    ) -> list[Event]:
        """The events of this ``action`` on this ``target`` (an object or a model) that changed at least these fields."""
        fields = {changed} if isinstance(changed, str) else set(changed or ())
        wanted = _key(target)
        return [
            event
            for event in self._events()
            if (action is None or event.action == action)
            and (wanted is None or (event.target is not None and _fits(event.target.key, wanted)))
            and fields <= event.diff.keys()
        ]

    def one(self, action: str | None = None, target: Any = None, **kwargs: Any) -> Event:
        """The only event that matches. Raises ``AssertionError`` listing what was recorded when there is not exactly one."""
        found = self.matching(action, target, **kwargs)
        if len(found) != 1:
            raise AssertionError(
                f"{len(found)} events match {_asked(action, target, kwargs)}.\n{self.describe()}"
            )
        return found[0]

    def assert_recorded(self, action: str | None = None, target: Any = None, **kwargs: Any) -> None:
        """At least one event matches."""
        if not self.matching(action, target, **kwargs):
            raise AssertionError(f"No event matches {_asked(action, target, kwargs)}.\n{self.describe()}")

    def assert_nothing_recorded(self) -> None:
        """There is no event at all."""
        if len(self):
            raise AssertionError(f"Expected no event.\n{self.describe()}")

    def describe(self) -> str:
        """What was recorded, one sentence a line."""
        from audit_core.summarizers.grammar import GrammarSummarizer

        events = self._events()
        if not events:
            return "Nothing was recorded. Is the model registered, and was anything changed?"
        sentences = GrammarSummarizer().summarize(events, "en")
        lines = [
            f"  {event.action:<12} {_name(event):<28} {sentence}"
            for event, sentence in zip(events, sentences, strict=True)
        ]
        return "\n".join([f"{len(events)} recorded:", *lines])

    def __repr__(self) -> str:
        return self.describe()


def _key(target: Any) -> tuple[str, str | None] | None:
    from audit_django.recording import target_of

    found = target_of(target)
    return None if found is None else found.key


def _fits(key: tuple[str, str | None], wanted: tuple[str, str | None]) -> bool:
    return key[0] == wanted[0] and wanted[1] in (None, key[1])


def _name(event: Event) -> str:
    return f"{event.target.type} {event.target.id or ''}".strip() if event.target else "-"


def _asked(action: str | None, target: Any, kwargs: dict[str, Any]) -> str:
    parts = [f"action={action!r}" if action else "", f"target={target!r}" if target is not None else ""]
    parts += [f"{name}={value!r}" for name, value in kwargs.items() if value is not None]
    return ", ".join(filter(None, parts)) or "any event"


@contextmanager
def captured_events(using: str = "default") -> Generator[CapturedEvents]:
    """The events that the block records on this database alias.

    with captured_events() as events:
        policy.save()
    assert events.one("update", policy).diff["status"].after == "approved"
    """
    events = CapturedEvents(using)
    yield events
    events._close()

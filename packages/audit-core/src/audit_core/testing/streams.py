"""The contracts of :class:`~audit_core.streams.contract.Stream` and ``ConsumableStream`` as tests."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest

from audit_core.event import RecordedEvent
from audit_core.streams.contract import ConsumableStream, Stream, Subscription
from audit_core.testing.events import make_event, make_events


class StreamContract:
    """Subclass it and give the fixture ``stream``: an empty stream for each test.

    A stream that cannot be consumed overrides :meth:`published`; the tests of consuming are then skipped.
    """

    arrival_seconds: float = 20.0
    """How long a test waits for an event that must come."""

    quiet_seconds: float = 0.2
    """How long a test waits to see that nothing comes."""

    @pytest.fixture
    def stream(self) -> Any:
        """Override: an empty stream for one test."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a fixture `stream` that returns an empty stream."
        )

    @contextmanager
    def published(self, stream: Any) -> Generator[list[RecordedEvent]]:
        """What is published inside the block: the list is filled when the block ends."""
        if not isinstance(stream, ConsumableStream):
            raise NotImplementedError(
                f"{type(self).__name__}: the stream cannot be read, so override published()."
            )
        seen: list[RecordedEvent] = []
        subscription = stream.subscribe("contract", "reader")
        try:
            subscription.poll(1, self.quiet_seconds)  # a broker gives the place with the first poll
            yield seen
            seen += self.receive_all(subscription)
        finally:
            subscription.close()

    def receive(self, subscription: Subscription, count: int) -> list[RecordedEvent]:
        """The next ``count`` events, which must come."""
        events: list[RecordedEvent] = []
        deadline = time.monotonic() + self.arrival_seconds
        while len(events) < count and (left := deadline - time.monotonic()) > 0:
            events += subscription.poll(count - len(events), min(left, 1.0))
        assert len(events) == count, f"{len(events)} of {count} events came within {self.arrival_seconds} s"
        return events

    def receive_all(self, subscription: Subscription) -> list[RecordedEvent]:
        """Everything until nothing has come for ``quiet_seconds``."""
        events: list[RecordedEvent] = []
        while polled := subscription.poll(500, self.quiet_seconds):
            events += polled
        return events

    def _consumable(self, stream: Any) -> ConsumableStream:
        if not isinstance(stream, ConsumableStream):
            pytest.skip("this stream cannot be consumed")
        return stream

    def _place(self, stream: Any, group: str = "group", name: str = "reader-1") -> Subscription:
        subscription = self._consumable(stream).subscribe(group, name)
        assert list(subscription.poll(1, self.quiet_seconds)) == []
        return subscription

    # publishing

    def test_it_is_a_stream(self, stream: Any) -> None:
        assert isinstance(stream, Stream)

    def test_setup_may_be_called_again(self, stream: Any) -> None:
        if not hasattr(stream, "setup"):
            pytest.skip("this stream needs no setup()")
        stream.setup()
        stream.setup()

    def test_a_good_stream_has_no_problems(self, stream: Any) -> None:
        if not hasattr(stream, "check"):
            pytest.skip("this stream has no check()")
        assert list(stream.check()) == []

    def test_publishing_nothing_is_no_error(self, stream: Any) -> None:
        with self.published(stream) as seen:
            stream.publish([])
        assert seen == []

    def test_an_event_arrives_as_it_was_recorded(self, stream: Any) -> None:
        event = make_event(
            diff={"name": ("Ünï\u2028cödé 🦊", '<&"\\')}, seq=7, summary="Alice renamed it: 🦊."
        )
        with self.published(stream) as seen:
            stream.publish([event])
        [arrived] = seen
        assert (arrived.id, arrived.text, arrived.leaf_hash) == (event.id, event.text, event.leaf_hash)
        assert (arrived.seq, arrived.summary, arrived.event) == (7, event.summary, event.event)

    def test_the_order_of_each_target_is_kept(self, stream: Any) -> None:
        events = make_events(60, targets=5, first_seq=1)
        with self.published(stream) as seen:
            for start in range(0, 60, 20):
                stream.publish(events[start : start + 20])
        assert by_target(seen) == by_target(events)

    def test_events_without_a_target_arrive(self, stream: Any) -> None:
        events = [make_event("login", target=None, diff={}, category="auth", seq=n) for n in (1, 2, 3)]
        with self.published(stream) as seen:
            stream.publish(events)
        assert {event.id for event in seen} == {event.id for event in events}

    # consuming

    def test_polling_an_empty_stream_ends(self, stream: Any) -> None:
        subscription = self._place(stream)
        started = time.monotonic()
        assert list(subscription.poll(10, 0.1)) == []
        assert time.monotonic() - started < 5
        subscription.close()

    def test_a_poll_gives_no_more_than_was_asked_for(self, stream: Any) -> None:
        subscription = self._place(stream)
        stream.publish(make_events(10, first_seq=1))
        self.receive(subscription, 1)
        assert len(subscription.poll(3, self.arrival_seconds)) <= 3
        subscription.close()

    def test_what_was_committed_does_not_come_again(self, stream: Any) -> None:
        events = make_events(6, targets=1, first_seq=1)
        subscription = self._place(stream)
        stream.publish(events)
        first = self.receive(subscription, 4)
        subscription.commit()
        subscription.close()
        again = self._consumable(stream).subscribe("group", "reader-1")
        rest = self.receive(again, 2)
        again.commit()
        assert [event.id for event in [*first, *rest]] == [event.id for event in events]
        assert self.receive_all(again) == []
        again.close()

    def test_what_was_not_committed_comes_again_in_order(self, stream: Any) -> None:
        events = make_events(6, targets=1, first_seq=1)
        subscription = self._place(stream)
        stream.publish(events)
        self.receive(subscription, 2)
        subscription.commit()
        self.receive(subscription, 3)
        subscription.close()
        again = self._consumable(stream).subscribe("group", "reader-1")
        assert [event.id for event in self.receive(again, 4)] == [event.id for event in events[2:]]
        again.close()

    def test_each_group_sees_everything(self, stream: Any) -> None:
        one, two = self._place(stream, "one"), self._place(stream, "two")
        events = make_events(8, first_seq=1)
        stream.publish(events)
        assert by_target(self.receive(one, 8)) == by_target(events)
        one.commit()
        assert by_target(self.receive(two, 8)) == by_target(events)
        one.close()
        two.close()

    def test_the_readers_of_a_group_share_its_events(self, stream: Any) -> None:
        readers = [self._place(stream, name=f"reader-{n}") for n in (1, 2)]
        events = make_events(40, targets=20, first_seq=1)
        stream.publish(events)
        seen: list[RecordedEvent] = []
        deadline = time.monotonic() + self.arrival_seconds
        while len({event.id for event in seen}) < 40 and time.monotonic() < deadline:
            for reader in readers:
                seen += reader.poll(10, self.quiet_seconds)
                reader.commit()
        assert sorted(event.id for event in seen) == sorted(event.id for event in events)
        assert by_target(seen) == by_target(events)
        for reader in readers:
            reader.close()

    def test_a_reader_takes_over_what_another_left(self, stream: Any) -> None:
        first, second = (self._place(stream, name=f"reader-{n}") for n in (1, 2))
        events = make_events(12, targets=12, first_seq=1)
        stream.publish(events)
        taken = [*first.poll(4, self.quiet_seconds)]
        first.close()  # without a commit: everything is the second reader's now
        seen: set[UUID] = set()
        deadline = time.monotonic() + self.arrival_seconds
        while len(seen) < 12 and time.monotonic() < deadline:
            seen |= {event.id for event in second.poll(12, self.quiet_seconds)}
        assert seen == {event.id for event in events}
        assert {event.id for event in taken} <= seen
        second.close()


def by_target(events: Sequence[RecordedEvent]) -> dict[Any, list[UUID]]:
    """The ids in the order of arrival, for each target."""
    found: dict[Any, list[UUID]] = {}
    for event in events:
        target = event.event.target
        found.setdefault(target and target.key, []).append(event.id)
    return found

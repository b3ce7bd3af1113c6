"""The contract of :class:`~audit_core.log.Log` as tests."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from audit_core.event import RecordedEvent
from audit_core.log import SEQUENCER, SUMMARIES, Log, target_key
from audit_core.testing.environment import SINK, LogEnvironment
from audit_core.testing.events import make_event, make_events
from audit_core.testing.leases import LeaseTests
from audit_core.testing.operations import OperationTests


class LogContract(LeaseTests, OperationTests):
    """Subclass it and give the fixture ``env``, a :class:`LogEnvironment`."""

    def test_it_is_a_log(self, env: LogEnvironment) -> None:
        assert isinstance(env.log, Log)

    # sequencing

    def test_seq_is_dense_over_many_batches(self, env: LogEnvironment) -> None:
        events = self.append(env, *make_events(10))
        lease = self.acquire(env, SEQUENCER)
        assert [env.log.sequence(lease, 4) for _ in range(4)] == [4, 4, 2, 0]
        assert self.log_ids(env) == [event.id for event in events]
        assert env.outbox.waiting().count == 0
        assert not env.log.unsequenced()

    def test_the_sequencer_s_cursor_is_the_head_of_the_log(self, env: LogEnvironment) -> None:
        assert env.log.cursor(SEQUENCER).seq == 0
        self.append(env, *make_events(3))
        self.sequence(env)
        assert env.log.cursor(SEQUENCER).seq == 3

    def test_a_rolled_back_append_leaves_no_gap(self, env: LogEnvironment) -> None:
        first, second = make_event(), make_event()
        self.append(env, first)
        with pytest.raises(ZeroDivisionError), env.transaction():
            env.outbox.append([make_event()])
            _ = 1 / 0
        self.append(env, second)
        self.sequence(env)
        assert self.log_ids(env) == [first.id, second.id]

    def test_an_event_that_commits_late_is_not_skipped(self, env: LogEnvironment) -> None:
        late, quick = make_event(target="a.A:1"), make_event(target="a.A:2")
        with self.open_transaction(env, late) as commit:
            self.append(env, quick)  # a higher row number, committed first
            assert self.sequence(env) == 1
            commit()
            assert self.sequence(env) == 1
        assert self.log_ids(env) == [quick.id, late.id]

    def test_an_open_transaction_stalls_nobody(self, env: LogEnvironment) -> None:
        with self.open_transaction(env, make_event(target="a.A:1")):
            others = self.append(env, *make_events(5))
            assert env.log.unsequenced()
            assert self.sequence(env) == 5
            assert self.log_ids(env) == [event.id for event in others]
            assert not env.log.unsequenced()

    def test_one_target_is_in_the_order_of_its_changes(self, env: LogEnvironment) -> None:
        events = [make_event(target="a.A:1", diff={"n": (n, n + 1)}) for n in range(6)]
        with self.open_transaction(env, make_event(target="a.A:2")) as commit:
            for event in events[:3]:
                self.append(env, event)
            self.sequence(env, limit=2)
            commit()
        for event in events[3:]:
            self.append(env, event)
        while self.sequence(env, limit=2):
            pass
        changed = [e.id for e in env.log.read(0, 100) if e.event.target and e.event.target.id == "1"]
        assert changed == [event.id for event in events]

    # reading

    def test_reading_goes_by_seq_and_limit(self, env: LogEnvironment) -> None:
        self.fill(env, 10)

        def seqs(events: Sequence[RecordedEvent]) -> list[int | None]:
            return [event.seq for event in events]

        assert seqs(env.log.read(0, 3)) == [1, 2, 3]
        assert seqs(env.log.read(3, 3)) == [4, 5, 6]
        assert seqs(env.log.read(8, 100)) == [9, 10]
        assert seqs(env.log.read(10, 100)) == []

    def test_get_finds_events_by_id_in_order_of_seq(self, env: LogEnvironment) -> None:
        events = self.fill(env, 4)
        wanted = [events[2].id, events[0].id, make_event().id]
        assert list(env.log.get(wanted)) == [events[0], events[2]]
        assert list(env.log.get([])) == []

    # summaries

    def test_saved_summaries_are_read_with_their_events(self, env: LogEnvironment) -> None:
        events = self.fill(env, 3)
        lease = self.acquire(env, SUMMARIES)
        env.log.save_summaries(lease, {})
        env.log.save_summaries(lease, {events[0].id: "first", events[1].id: "second"})
        assert [event.summary for event in env.log.read(0, 10)] == ["first", "second", None]
        assert [event.summary for event in env.log.get([events[1].id])] == ["second"]

    def test_a_newer_summary_replaces_the_older(self, env: LogEnvironment) -> None:
        [event] = self.fill(env, 1)
        lease = self.acquire(env, SUMMARIES)
        env.log.save_summaries(lease, {event.id: "old"})
        env.log.save_summaries(lease, {event.id: "née 🦊"})
        assert env.log.read(0, 1)[0].summary == "née 🦊"

    # parking

    def test_parked_events_are_listed_by_sink_and_seq(self, env: LogEnvironment) -> None:
        events = self.fill(env, 3)
        lease = self.acquire(env, "z-sink")
        env.log.park(lease, [], "nothing")
        env.log.park(lease, [events[2]], "too late")
        env.log.park(lease, [events[0]], "too large")
        env.log.park(self.acquire(env, "a-sink"), [events[1]], "no such column")
        rows = [(p.sink, p.seq, p.event_id, p.reason) for p in env.log.parked()]
        assert rows == [
            ("a-sink", 2, events[1].id, "no such column"),
            ("z-sink", 1, events[0].id, "too large"),
            ("z-sink", 3, events[2].id, "too late"),
        ]
        assert [p.seq for p in env.log.parked("z-sink")] == [1, 3]
        assert [p.seq for p in env.log.parked("z-sink", limit=1)] == [1]
        assert [p.seq for p in env.log.parked("z-sink", after=1)] == [3]
        assert all(p.parked_at.tzinfo is not None for p in env.log.parked())

    def test_parking_twice_changes_nothing(self, env: LogEnvironment) -> None:
        events = self.fill(env, 2)
        lease = self.acquire(env, SINK)
        env.log.park(lease, events[:1], "the first reason")
        before = env.log.parked()
        env.log.park(lease, events, "another reason")
        assert env.log.parked()[:1] == before[:1]
        assert len(env.log.parked()) == 2

    def test_parked_targets_name_the_first_seq_of_each(self, env: LogEnvironment) -> None:
        self.append(env, make_event(target="a.A:1"), make_event(target="a.A:2"), make_event(target="a.A:1"))
        self.append(env, make_event(target="b.B"), make_event(target=None))
        self.sequence(env)
        events = env.log.read(0, 10)
        lease = self.acquire(env, SINK)
        env.log.park(lease, [events[2], events[0], events[3], events[4]], "refused")
        assert dict(env.log.parked_targets(SINK)) == {("a.A", "1"): 1, ("b.B", None): 4}
        assert dict(env.log.parked_targets("another")) == {}
        assert [p.target for p in env.log.parked(SINK)] == [("a.A", "1"), ("a.A", "1"), ("b.B", None), None]

    def test_targets_with_long_names_are_told_apart(self, env: LogEnvironment) -> None:
        long = "a." + "A" * 200
        self.append(env, make_event(target=f"{long}:{'1' * 300}"), make_event(target=f"{long}:{'1' * 301}"))
        self.sequence(env)
        one, other = env.log.read(0, 10)
        env.log.park(self.acquire(env, SINK), [other], "refused")
        assert dict(env.log.parked_targets(SINK)) == {target_key(other): 2}
        assert target_key(one) != target_key(other)

    def test_unparked_events_are_forgotten(self, env: LogEnvironment) -> None:
        events = self.fill(env, 3)
        lease, other = self.acquire(env, SINK), self.acquire(env, "another")
        env.log.park(lease, events, "refused")
        env.log.park(other, events, "refused")
        env.log.unpark(lease, [])
        env.log.unpark(lease, [events[0].id, events[2].id])
        assert [p.event_id for p in env.log.parked(SINK)] == [events[1].id]
        assert len(env.log.parked("another")) == 3
        assert len(env.log.parked_targets(SINK)) == 1

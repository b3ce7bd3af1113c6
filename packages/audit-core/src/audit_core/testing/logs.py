"""The contracts of :class:`~audit_core.outbox.Outbox` and :class:`~audit_core.log.Log` as tests.

Both need more than the two objects: a transaction to append in, and a clock to turn. :class:`LogEnvironment`
is that.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from uuid import UUID

import pytest

from audit_core.errors import LeaseLost
from audit_core.event import RecordedEvent
from audit_core.log import SEQUENCER, SUMMARIES, Cursor, Lease, Log, target_key
from audit_core.outbox import Outbox
from audit_core.testing.events import make_event, make_events

SINK = "archive"


class LogEnvironment(ABC):
    """An empty outbox and log, and what a test needs around them."""

    outbox: Outbox
    log: Log

    lease_seconds: float = 30.0
    """How long the leases of the tests last. Make it short where ``advance_clock`` has to sleep."""

    concurrent_writers: bool = True
    """Whether one transaction can write while another is open (SQLite: no, so its traps cannot happen)."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[object]:
        """A transaction of the calling thread: an exception rolls it back, the end of the block commits it.

        Inside another one it is a savepoint.
        """

    @abstractmethod
    def advance_clock(self, seconds: float) -> None:
        """Let ``seconds`` pass for the log: move its clock, move the times in its tables back, or sleep."""

    def close_thread(self) -> None:  # noqa: B027 - most environments have nothing to close
        """Close what is the thread's own (a connection); called at the end of each that a test starts."""


class _EnvironmentTests:
    @pytest.fixture
    def env(self) -> LogEnvironment:
        """Override: an empty environment for one test."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a fixture `env` that returns a LogEnvironment."
        )

    def append(self, env: LogEnvironment, *events: RecordedEvent) -> list[RecordedEvent]:
        """Append in a transaction of its own."""
        with env.transaction():
            env.outbox.append(events)
        return list(events)

    def acquire(self, env: LogEnvironment, name: str, owner: str = "worker-1") -> Lease:
        """The lease, which nobody holds."""
        lease = env.log.acquire(name, owner, env.lease_seconds)
        assert lease is not None, f"the lease on {name!r} is free, but {owner!r} was not given it"
        return lease

    def sequence(self, env: LogEnvironment, limit: int = 1000) -> int:
        """Sequence once, under a lease of its own."""
        lease = self.acquire(env, SEQUENCER, "sequencer")
        moved = env.log.sequence(lease, limit)
        env.log.release(lease)
        return moved

    def expire(self, env: LogEnvironment) -> None:
        """Let every lease expire."""
        env.advance_clock(env.lease_seconds * 1.1)

    def log_ids(self, env: LogEnvironment) -> list[UUID]:
        """The ids in the log, in order; the numbers must be 1, 2, 3 …"""
        events = env.log.read(0, 10_000)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        return [event.id for event in events]

    @contextmanager
    def open_transaction(self, env: LogEnvironment, *events: RecordedEvent) -> Generator[Callable[[], None]]:
        """``events`` appended by a thread whose transaction stays open; calling the result commits it."""
        if not env.concurrent_writers:
            pytest.skip(
                "this database has one writer at a time, so no transaction can stay open beside another"
            )
        appended, finish, failures = threading.Event(), threading.Event(), []

        def hold() -> None:
            try:
                with env.transaction():
                    env.outbox.append(events)
                    appended.set()
                    if not finish.wait(60):
                        raise TimeoutError("the test never ended its open transaction")
            except BaseException as error:
                failures.append(error)
            finally:
                appended.set()
                env.close_thread()

        thread = threading.Thread(target=hold)

        def commit() -> None:
            finish.set()
            thread.join(60)
            assert not failures, failures

        thread.start()
        try:
            assert appended.wait(60)
            assert not failures, failures
            yield commit
        finally:
            finish.set()
            thread.join(60)


class OutboxContract(_EnvironmentTests):
    """Subclass it and give the fixture ``env``, a :class:`LogEnvironment`."""

    def test_it_is_an_outbox(self, env: LogEnvironment) -> None:
        assert isinstance(env.outbox, Outbox)

    def test_nothing_waits_at_first(self, env: LogEnvironment) -> None:
        waiting = env.outbox.waiting()
        assert (waiting.count, waiting.oldest) == (0, None)
        assert not env.log.unsequenced()

    def test_appended_events_wait_after_the_commit(self, env: LogEnvironment) -> None:
        early = datetime(2026, 3, 3, 9, 0, 0, 123456, tzinfo=UTC)
        late = datetime(2026, 3, 3, 10, 0, tzinfo=UTC)
        self.append(env, make_event(occurred_at=early), make_event(occurred_at=late))
        waiting = env.outbox.waiting()
        assert (waiting.count, waiting.oldest) == (2, early)
        assert env.log.unsequenced()

    def test_appending_nothing_is_no_error(self, env: LogEnvironment) -> None:
        self.append(env)
        assert env.outbox.waiting().count == 0

    def test_a_rollback_leaves_nothing(self, env: LogEnvironment) -> None:
        with pytest.raises(ZeroDivisionError), env.transaction():
            env.outbox.append([make_event()])
            _ = 1 / 0
        assert env.outbox.waiting().count == 0
        assert self.sequence(env) == 0
        assert self.log_ids(env) == []

    def test_a_rolled_back_savepoint_takes_only_its_own_events(self, env: LogEnvironment) -> None:
        before, inside, after = make_event(), make_event(), make_event()
        with env.transaction():
            env.outbox.append([before])
            with pytest.raises(ZeroDivisionError), env.transaction():
                env.outbox.append([inside])
                _ = 1 / 0
            env.outbox.append([after])
        assert self.sequence(env) == 2
        assert self.log_ids(env) == [before.id, after.id]

    def test_the_order_of_appending_is_kept(self, env: LogEnvironment) -> None:
        events = make_events(7)
        self.append(env, *events[:4])
        self.append(env, *events[4:])
        self.sequence(env)
        assert self.log_ids(env) == [event.id for event in events]

    def test_the_text_is_kept_as_it_was_hashed(self, env: LogEnvironment) -> None:
        [event] = self.append(
            env, make_event(diff={"name": ("Ünï\u2028cödé 🦊", "\\u0000 '\"%_;--")}, reason="ß")
        )
        self.sequence(env)
        [kept] = env.log.read(0, 10)
        assert (kept.id, kept.text, kept.leaf_hash) == (event.id, event.text, event.leaf_hash)
        assert kept.event == event.event

    def test_an_open_transaction_does_not_show(self, env: LogEnvironment) -> None:
        with self.open_transaction(env, make_event()) as commit:
            assert env.outbox.waiting().count == 0
            commit()
            assert env.outbox.waiting().count == 1


class LogContract(_EnvironmentTests):
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

    # leases

    def test_a_lease_has_one_holder(self, env: LogEnvironment) -> None:
        lease = self.acquire(env, SINK, "worker-1")
        assert (lease.name, lease.owner) == (SINK, "worker-1")
        assert env.log.acquire(SINK, "worker-2", env.lease_seconds) is None
        assert env.log.acquire("another", "worker-2", env.lease_seconds) is not None

    def test_a_held_lease_is_renewed_with_its_epoch(self, env: LogEnvironment) -> None:
        lease = self.acquire(env, SINK)
        for _ in range(3):
            env.advance_clock(env.lease_seconds * 0.6)
            assert self.acquire(env, SINK) == lease
            assert env.log.acquire(SINK, "worker-2", env.lease_seconds) is None

    def test_an_expired_lease_goes_to_the_next(self, env: LogEnvironment) -> None:
        lease = self.acquire(env, SINK, "worker-1")
        self.expire(env)
        rival = self.acquire(env, SINK, "worker-2")
        assert rival.epoch > lease.epoch
        assert env.log.acquire(SINK, "worker-1", env.lease_seconds) is None

    def test_an_expired_lease_is_not_renewed_but_new(self, env: LogEnvironment) -> None:
        lease = self.acquire(env, SINK)
        self.expire(env)
        assert self.acquire(env, SINK).epoch > lease.epoch

    def test_a_released_lease_is_free_and_lost(self, env: LogEnvironment) -> None:
        lease = self.acquire(env, SINK, "worker-1")
        env.log.release(lease)
        with pytest.raises(LeaseLost):
            env.log.advance(lease, 1)
        assert self.acquire(env, SINK, "worker-2").epoch > lease.epoch

    def test_releasing_a_lost_lease_does_nothing(self, env: LogEnvironment) -> None:
        lost = self.acquire(env, SINK, "worker-1")
        self.expire(env)
        self.acquire(env, SINK, "worker-2")
        env.log.release(lost)
        assert env.log.acquire(SINK, "worker-3", env.lease_seconds) is None

    def test_threads_race_for_one_lease(self, env: LogEnvironment) -> None:
        won: list[Lease] = []
        start = threading.Barrier(4)

        def race(owner: str) -> None:
            try:
                start.wait(30)
                if lease := env.log.acquire(SINK, owner, env.lease_seconds):
                    won.append(lease)
            finally:
                env.close_thread()

        env.log.release(self.acquire(env, SINK, "the row exists"))
        threads = [threading.Thread(target=race, args=(f"worker-{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(won) == 1

    # fencing: each of these lost its lease to a rival and changes nothing

    def _lost(self, env: LogEnvironment, name: str) -> Lease:
        lost = self.acquire(env, name, "zombie")
        self.expire(env)
        self.acquire(env, name, "rival")
        return lost

    def test_a_zombie_cannot_sequence(self, env: LogEnvironment) -> None:
        self.append(env, *make_events(3))
        lost = self._lost(env, SEQUENCER)
        with pytest.raises(LeaseLost):
            env.log.sequence(lost, 10)
        assert env.log.read(0, 10) == []
        assert env.outbox.waiting().count == 3
        assert env.log.cursor(SEQUENCER).seq == 0

    def test_a_zombie_cannot_advance(self, env: LogEnvironment) -> None:
        lost = self._lost(env, SINK)
        with pytest.raises(LeaseLost):
            env.log.advance(lost, 5)
        assert env.log.cursor(SINK).seq == 0

    def test_a_zombie_cannot_overwrite_a_newer_cursor(self, env: LogEnvironment) -> None:
        lost = self.acquire(env, SINK, "zombie")
        self.expire(env)
        env.log.advance(self.acquire(env, SINK, "rival"), 9)
        with pytest.raises(LeaseLost):
            env.log.advance(lost, 5)
        assert env.log.cursor(SINK).seq == 9

    def test_a_zombie_cannot_park_or_unpark(self, env: LogEnvironment) -> None:
        events = self._sequenced(env, 2)
        lost = self.acquire(env, SINK, "zombie")
        self.expire(env)
        env.log.park(self.acquire(env, SINK, "rival"), events[:1], "too large")
        with pytest.raises(LeaseLost):
            env.log.park(lost, events[1:], "late")
        with pytest.raises(LeaseLost):
            env.log.unpark(lost, [events[0].id])
        assert [parked.event_id for parked in env.log.parked()] == [events[0].id]

    def test_a_zombie_cannot_save_summaries(self, env: LogEnvironment) -> None:
        [event] = self._sequenced(env, 1)
        lost = self._lost(env, SUMMARIES)
        with pytest.raises(LeaseLost):
            env.log.save_summaries(lost, {event.id: "too late"})
        assert env.log.read(0, 10)[0].summary is None

    def test_a_zombie_cannot_fail(self, env: LogEnvironment) -> None:
        lost = self._lost(env, SINK)
        with pytest.raises(LeaseLost):
            env.log.fail(lost, "timeout", 60)
        cursor = env.log.cursor(SINK)
        assert (cursor.failures, cursor.error, cursor.retry_at, cursor.owner) == (0, None, None, "rival")

    # cursors

    def test_an_unknown_cursor_stands_at_zero(self, env: LogEnvironment) -> None:
        assert env.log.cursor("never seen") == Cursor("never seen")

    def test_a_new_cursor_starts_at_zero_and_moves(self, env: LogEnvironment) -> None:
        lease = self.acquire(env, SINK)
        assert env.log.cursor(SINK).seq == 0
        env.log.advance(lease, 3)
        assert env.log.cursor(SINK).seq == 3
        env.log.release(lease)
        assert env.log.cursor(SINK).seq == 3

    def test_the_cursors_are_listed_by_name(self, env: LogEnvironment) -> None:
        for name in ("zeta", "alpha"):
            env.log.advance(self.acquire(env, name), 2)
        names = [cursor.name for cursor in env.log.cursors() if cursor.name in ("alpha", "zeta")]
        assert names == ["alpha", "zeta"]

    def test_each_sink_has_its_own_cursor(self, env: LogEnvironment) -> None:
        env.log.advance(self.acquire(env, "one"), 5)
        env.log.advance(self.acquire(env, "two"), 7)
        assert (env.log.cursor("one").seq, env.log.cursor("two").seq) == (5, 7)

    # failures and pauses

    def test_a_failure_gives_the_lease_back_and_waits(self, env: LogEnvironment) -> None:
        lease = self.acquire(env, SINK, "worker-1")
        cursor = env.log.fail(lease, "connection refused", env.lease_seconds)
        assert (cursor.failures, cursor.error, cursor.seq) == (1, "connection refused", 0)
        assert cursor.retry_at is not None
        assert cursor.retry_at.tzinfo is not None
        assert env.log.cursor(SINK).failures == 1
        assert env.log.acquire(SINK, "worker-1", env.lease_seconds) is None
        assert env.log.acquire(SINK, "worker-2", env.lease_seconds) is None
        env.advance_clock(env.lease_seconds * 1.1)
        assert self.acquire(env, SINK, "worker-2").epoch > lease.epoch

    def test_a_lease_that_failed_is_lost(self, env: LogEnvironment) -> None:
        lease = self.acquire(env, SINK)
        env.log.fail(lease, "connection refused", 0)
        with pytest.raises(LeaseLost):
            env.log.advance(lease, 1)

    def test_failures_are_counted_until_the_next_success(self, env: LogEnvironment) -> None:
        for attempt in (1, 2, 3):
            cursor = env.log.fail(self.acquire(env, SINK), f"attempt {attempt}", 0)
            assert cursor.failures == attempt
        env.log.advance(self.acquire(env, SINK), 1)
        cursor = env.log.cursor(SINK)
        assert (cursor.failures, cursor.error, cursor.retry_at) == (0, None, None)

    def test_a_long_error_is_no_error(self, env: LogEnvironment) -> None:
        cursor = env.log.fail(self.acquire(env, SINK), "kaputt " * 20_000, 0)
        assert cursor.error is not None
        assert cursor.error.startswith("kaputt")

    def test_a_failure_holds_up_no_other_sink(self, env: LogEnvironment) -> None:
        env.log.fail(self.acquire(env, SINK), "down", env.lease_seconds)
        assert env.log.acquire("another", "worker-1", env.lease_seconds) is not None

    def test_a_paused_cursor_is_given_to_nobody(self, env: LogEnvironment) -> None:
        lease = self.acquire(env, SINK)
        env.log.pause(SINK)
        assert env.log.cursor(SINK).paused
        assert env.log.acquire(SINK, "worker-1", env.lease_seconds) is None  # not even renewed
        env.log.advance(lease, 4)  # but the batch under way may finish
        env.log.release(lease)
        assert env.log.acquire(SINK, "worker-2", env.lease_seconds) is None
        env.log.resume(SINK)
        assert not env.log.cursor(SINK).paused
        self.acquire(env, SINK, "worker-2")

    def test_a_sink_can_be_paused_before_it_was_ever_served(self, env: LogEnvironment) -> None:
        env.log.pause("brand new")
        assert env.log.acquire("brand new", "worker-1", env.lease_seconds) is None

    def test_resuming_ends_the_wait_after_a_failure(self, env: LogEnvironment) -> None:
        env.log.fail(self.acquire(env, SINK), "down", env.lease_seconds)
        env.log.resume(SINK)
        self.acquire(env, SINK)

    # reading

    def _sequenced(self, env: LogEnvironment, count: int) -> list[RecordedEvent]:
        self.append(env, *make_events(count))
        self.sequence(env)
        return list(env.log.read(0, count))

    def test_reading_goes_by_seq_and_limit(self, env: LogEnvironment) -> None:
        self._sequenced(env, 10)

        def seqs(events: Sequence[RecordedEvent]) -> list[int | None]:
            return [event.seq for event in events]

        assert seqs(env.log.read(0, 3)) == [1, 2, 3]
        assert seqs(env.log.read(3, 3)) == [4, 5, 6]
        assert seqs(env.log.read(8, 100)) == [9, 10]
        assert seqs(env.log.read(10, 100)) == []

    def test_get_finds_events_by_id_in_order_of_seq(self, env: LogEnvironment) -> None:
        events = self._sequenced(env, 4)
        wanted = [events[2].id, events[0].id, make_event().id]
        assert list(env.log.get(wanted)) == [events[0], events[2]]
        assert list(env.log.get([])) == []

    # summaries

    def test_saved_summaries_are_read_with_their_events(self, env: LogEnvironment) -> None:
        events = self._sequenced(env, 3)
        lease = self.acquire(env, SUMMARIES)
        env.log.save_summaries(lease, {})
        env.log.save_summaries(lease, {events[0].id: "first", events[1].id: "second"})
        assert [event.summary for event in env.log.read(0, 10)] == ["first", "second", None]
        assert [event.summary for event in env.log.get([events[1].id])] == ["second"]

    def test_a_newer_summary_replaces_the_older(self, env: LogEnvironment) -> None:
        [event] = self._sequenced(env, 1)
        lease = self.acquire(env, SUMMARIES)
        env.log.save_summaries(lease, {event.id: "old"})
        env.log.save_summaries(lease, {event.id: "née 🦊"})
        assert env.log.read(0, 1)[0].summary == "née 🦊"

    # parking

    def test_parked_events_are_listed_by_sink_and_seq(self, env: LogEnvironment) -> None:
        events = self._sequenced(env, 3)
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
        events = self._sequenced(env, 2)
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
        events = self._sequenced(env, 3)
        lease, other = self.acquire(env, SINK), self.acquire(env, "another")
        env.log.park(lease, events, "refused")
        env.log.park(other, events, "refused")
        env.log.unpark(lease, [])
        env.log.unpark(lease, [events[0].id, events[2].id])
        assert [p.event_id for p in env.log.parked(SINK)] == [events[1].id]
        assert len(env.log.parked("another")) == 3
        assert len(env.log.parked_targets(SINK)) == 1

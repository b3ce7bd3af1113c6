"""The part of the log's contract that is about leases: who holds one, and what one that is lost can do (nothing)."""

from __future__ import annotations

import threading

import pytest

from audit_core.errors import LeaseLost
from audit_core.log import SEQUENCER, SUMMARIES, Cursor, Lease
from audit_core.testing.environment import SINK, EnvironmentTests, LogEnvironment
from audit_core.testing.events import make_events


class LeaseTests(EnvironmentTests):
    """Leases, fencing, cursors, failures and pauses."""

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
        events = self.fill(env, 2)
        lost = self.acquire(env, SINK, "zombie")
        self.expire(env)
        env.log.park(self.acquire(env, SINK, "rival"), events[:1], "too large")
        with pytest.raises(LeaseLost):
            env.log.park(lost, events[1:], "late")
        with pytest.raises(LeaseLost):
            env.log.unpark(lost, [events[0].id])
        assert [parked.event_id for parked in env.log.parked()] == [events[0].id]

    def test_a_zombie_cannot_save_summaries(self, env: LogEnvironment) -> None:
        [event] = self.fill(env, 1)
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

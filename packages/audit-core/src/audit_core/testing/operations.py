"""The part of the log's contract that is for operators: cursors set by hand, and what the log may give up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from audit_core.errors import LeaseLost
from audit_core.log import SEQUENCER, SUMMARIES, TRIMMER, Cursor
from audit_core.testing.environment import SINK, EnvironmentTests, LogEnvironment
from audit_core.testing.events import make_event

NOON = datetime(2026, 3, 3, 12, 0, tzinfo=UTC)


class OperationTests(EnvironmentTests):
    """Start, seek, forget, release and trim."""

    # cursors set by hand

    def test_a_cursor_starts_where_it_is_told(self, env: LogEnvironment) -> None:
        env.log.start(SINK, 7)
        assert env.log.cursor(SINK).seq == 7
        assert env.log.cursor(SINK) == Cursor(SINK, 7)

    def test_a_cursor_starts_once(self, env: LogEnvironment) -> None:
        env.log.start(SINK, 7)
        env.log.advance(self.acquire(env, SINK), 9)
        env.log.start(SINK, 2)
        assert env.log.cursor(SINK).seq == 9

    @pytest.mark.parametrize("seq", [2, 30])
    def test_seeking_moves_a_cursor_back_and_forward(self, env: LogEnvironment, seq: int) -> None:
        lease = self.acquire(env, SINK)
        env.log.advance(lease, 9)
        env.log.release(lease)
        env.log.seek(SINK, seq)
        assert env.log.cursor(SINK).seq == seq

    def test_seeking_takes_the_lease_from_its_holder(self, env: LogEnvironment) -> None:
        zombie = self.acquire(env, SINK, "worker-1")
        env.log.seek(SINK, 3)
        with pytest.raises(LeaseLost):
            env.log.advance(zombie, 9)
        assert env.log.cursor(SINK).seq == 3
        assert self.acquire(env, SINK, "worker-2").epoch > zombie.epoch
        with pytest.raises(LeaseLost):
            env.log.advance(zombie, 9)

    def test_seeking_takes_the_lease_from_its_holder_even_under_its_own_name(
        self, env: LogEnvironment
    ) -> None:
        zombie = self.acquire(env, SINK, "worker-1")
        env.log.seek(SINK, 3)
        assert self.acquire(env, SINK, "worker-1").epoch > zombie.epoch

    def test_seeking_forgets_failures_and_keeps_a_pause(self, env: LogEnvironment) -> None:
        env.log.fail(self.acquire(env, SINK), "down", env.lease_seconds)
        env.log.pause(SINK)
        env.log.seek(SINK, 3)
        cursor = env.log.cursor(SINK)
        assert (cursor.failures, cursor.error, cursor.retry_at, cursor.paused) == (0, None, None, True)

    def test_seeking_makes_the_cursor_of_a_new_sink(self, env: LogEnvironment) -> None:
        env.log.seek(SINK, 3)
        assert env.log.cursor(SINK).seq == 3

    def test_a_forgotten_cursor_is_gone_with_what_is_parked(self, env: LogEnvironment) -> None:
        events = self.fill(env, 2)
        zombie = self.acquire(env, SINK)
        env.log.park(zombie, events, "refused")
        env.log.start("another", 1)
        env.log.forget(SINK)
        assert SINK not in [cursor.name for cursor in env.log.cursors()]
        assert not env.log.parked(SINK)
        assert env.log.cursor("another").seq == 1
        with pytest.raises(LeaseLost):
            env.log.advance(zombie, 9)

    def test_parked_events_are_counted_by_sink(self, env: LogEnvironment) -> None:
        events = self.fill(env, 3)
        env.log.park(self.acquire(env, SINK), events, "refused")
        env.log.park(self.acquire(env, "another"), events[:1], "refused")
        assert dict(env.log.parked_counts()) == {SINK: 3, "another": 1}

    def test_parked_events_are_discarded_without_a_lease(self, env: LogEnvironment) -> None:
        events = self.fill(env, 3)
        for name in (SINK, "another"):
            env.log.park(self.acquire(env, name), events, "refused")
        env.log.pause(SINK)
        assert env.log.discard(SINK, [event.id for event in events[:2]]) == 2
        assert env.log.discard(SINK, [events[0].id]) == 0
        assert [parked.event_id for parked in env.log.parked(SINK)] == [events[2].id]
        assert len(env.log.parked("another")) == 3

    def test_expired_leases_lose_their_owner(self, env: LogEnvironment) -> None:
        self.acquire(env, SINK)
        self.expire(env)
        held = self.acquire(env, "another")
        assert list(env.log.release_expired()) == [SINK]
        assert env.log.cursor(SINK).owner is None
        env.log.advance(held, 1)

    # time

    def test_the_clock_moves_on(self, env: LogEnvironment) -> None:
        before = env.log.now()
        assert before.tzinfo is not None
        assert env.log.now() >= before

    def test_the_seq_before_a_moment(self, env: LogEnvironment) -> None:
        moments = [NOON + timedelta(minutes=n) for n in range(4)]
        self.append(env, *(make_event(occurred_at=moment) for moment in moments))
        self.sequence(env)
        assert env.log.seq_before(moments[0]) == 0
        assert env.log.seq_before(moments[2]) == 2
        assert env.log.seq_before(moments[2] - timedelta(seconds=1)) == 2
        assert env.log.seq_before(moments[3] + timedelta(seconds=1)) == 4

    def test_the_seq_before_a_moment_leaves_out_nothing_that_came_late(self, env: LogEnvironment) -> None:
        moments = [NOON + timedelta(minutes=n) for n in (5, 1, 6)]  # the second was committed late
        self.append(env, *(make_event(occurred_at=moment) for moment in moments))
        self.sequence(env)
        assert env.log.seq_before(moments[0]) == 0

    # trimming

    def test_what_every_reader_has_is_trimmed(self, env: LogEnvironment) -> None:
        events = self.fill(env, 5)
        self._all_at(env, 4)
        lease = self.acquire(env, TRIMMER)
        assert env.log.trim(lease, 3) == 3
        assert env.log.cursor(TRIMMER).seq == 3
        assert [event.id for event in env.log.read(0, 10)] == [event.id for event in events[3:]]
        assert not env.log.get([events[0].id])
        assert env.log.cursor(SEQUENCER).seq == 5

    def test_trimming_never_passes_a_reader(self, env: LogEnvironment) -> None:
        self.fill(env, 5)
        self._all_at(env, 4)
        env.log.start("late", 2)
        assert env.log.trim(self.acquire(env, TRIMMER), 5) == 2
        assert [event.seq for event in env.log.read(0, 10)] == [3, 4, 5]

    def test_trimming_never_passes_what_is_parked(self, env: LogEnvironment) -> None:
        events = self.fill(env, 5)
        self._all_at(env, 5)
        env.log.park(self.acquire(env, SINK), events[1:2], "refused")
        assert env.log.trim(self.acquire(env, TRIMMER), 5) == 1
        assert [event.id for event in env.log.get([events[1].id])] == [events[1].id]

    def test_trimming_twice_gives_up_nothing_more(self, env: LogEnvironment) -> None:
        self.fill(env, 3)
        self._all_at(env, 3)
        lease = self.acquire(env, TRIMMER)
        assert [env.log.trim(lease, seq) for seq in (2, 2, 1, 3)] == [2, 0, 0, 1]

    def test_only_the_holder_of_the_lease_trims(self, env: LogEnvironment) -> None:
        self.fill(env, 3)
        self._all_at(env, 3)
        zombie = self.acquire(env, TRIMMER, "worker-1")
        self.expire(env)
        self.acquire(env, TRIMMER, "worker-2")
        with pytest.raises(LeaseLost):
            env.log.trim(zombie, 3)
        with pytest.raises(ValueError, match="lease on 'trimmed'"):
            env.log.trim(self.acquire(env, SINK), 3)
        assert len(env.log.read(0, 10)) == 3

    def test_the_log_goes_on_after_a_trim(self, env: LogEnvironment) -> None:
        self.fill(env, 2)
        self._all_at(env, 2)
        env.log.trim(self.acquire(env, TRIMMER), 2)
        self.append(env, make_event())
        self.sequence(env)
        assert [event.seq for event in env.log.read(0, 10)] == [3]

    def _all_at(self, env: LogEnvironment, seq: int) -> None:
        for name in (SUMMARIES, SINK):
            env.log.seek(name, seq)

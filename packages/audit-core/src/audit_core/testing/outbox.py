"""The contract of :class:`~audit_core.outbox.Outbox` as tests."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from audit_core.outbox import Outbox
from audit_core.testing.environment import EnvironmentTests, LogEnvironment
from audit_core.testing.events import make_event, make_events


class OutboxContract(EnvironmentTests):
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

"""What the suites of outbox and log need around the two: a transaction to append in, and a clock to turn."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from uuid import UUID

import pytest

from audit_core.event import RecordedEvent
from audit_core.log import SEQUENCER, Lease, Log
from audit_core.outbox import Outbox
from audit_core.testing.events import make_events

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


class EnvironmentTests:
    """What the suites do with an environment."""

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

    def fill(self, env: LogEnvironment, count: int) -> list[RecordedEvent]:
        """``count`` events in the log, as it gives them."""
        self.append(env, *make_events(count))
        self.sequence(env)
        return list(env.log.read(0, count))

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

"""The world: a database, two sinks, three workers, an application and an operator, all from one seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import partial
from uuid import UUID

from audit_core.event import RecordedEvent
from audit_core.memory import MemoryDatabase, MemoryTransaction
from audit_core.testing import VirtualClock

from .events import PREPARED, TARGETS, names
from .invariants import Invariant, Violation
from .operations import Operator
from .sinks import Sink
from .witness import Witness
from .worker import Worker

STEPS = 120
WORKERS = 3
SINKS = ("one", "two")

# How likely each trouble is. Every run draws one of the levels of each: a trouble that is everywhere hides what another
# does alone.
TROUBLES = {
    "kill": (0, 0.002, 0.01),
    "pause": (0.01, 0.04, 0.15),
    "unreachable": (0, 0.002, 0.01),
    "lost_acknowledgement": (0, 0.02, 0.06),
    "broken_write": (0, 0.03, 0.1),
    "slow": (0, 0.1, 0.3),
    "poison": (0, 0.05, 0.15),
    "partial_write": (0, 0.3, 1),
}


class World:
    """One run. ``trace`` is given each step in words."""

    def __init__(self, seed: int, trace: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.violation: Violation | None = None
        self.moving: Worker | None = None
        self._trace = trace
        self._odds = {trouble: self.random.choice(levels) for trouble, levels in TROUBLES.items()}
        self.reached = 0  # steps of all workers
        self.elapsed = 0.0  # in seconds, as nobody's clock tells them
        self.clock = VirtualClock()  # the database's
        self._database = MemoryDatabase(self.database_time)
        self.log = self._database.log
        self.witness = Witness(self)
        self.sinks = {name: Sink(name) for name in SINKS}
        self.started: list[str] = []  # the sinks that the operator has added
        self.committed: dict[UUID, RecordedEvent] = {}  # in the order of the commits
        # The open transactions, by target: its row lock allows one.
        self._open: dict[str | None, tuple[MemoryTransaction, list[RecordedEvent]]] = {}
        self._fresh = {target: iter(prepared) for target, prepared in PREPARED.items()}
        self.operator = Operator(self)
        self.workers = [Worker(self, number) for number in range(WORKERS)]

    # what every part of it needs

    def database_time(self) -> datetime:
        """What the database takes for the time."""
        return self.clock()

    def chance(self, trouble: str) -> bool:
        """Whether it happens now."""
        odds = self._odds.get(trouble, 0)
        return odds > 0 and self.random.random() < odds

    def note(self, *words: object) -> None:
        """A step of the trace."""
        if self._trace is not None:
            who = self.moving.name if self.moving else "world"
            self._trace(f"{self.elapsed:9.1f} s  {who:9} {' '.join(map(str, words))}")

    def count(self, what: str, *words: object, amount: int = 1) -> None:
        """Something happened that the simulation is about."""
        self.counts[what] += amount
        self.note(f"[{what}]", *words)

    def violate(self, invariant: Invariant, details: str) -> None:
        """Stop the world."""
        self.violation = Violation(invariant, details, self.seed)
        for worker in self.workers:
            worker.dead = True  # what is on its way out may write nothing
        raise self.violation

    def pass_time(self, seconds: float) -> None:
        """Let time pass, for each machine as fast as its clock goes."""
        self.elapsed += seconds
        self.clock.advance(seconds)
        for worker in self.workers:
            worker.clock.advance(seconds * worker.pace)

    # the run

    def play(self) -> None:
        """All of it. Raises :class:`Violation`."""
        try:
            self.operator.begin()
            steps = [self._application, self._work, self._wait, self._clocks, self._outage, self.operator.act]
            for step in self.random.choices(steps, [20, 40, 20, 4, 2, 8], k=STEPS):
                step()
            self._calm_down()
            self._settle()
            self.witness.check_parked()
            self.operator.cure_all()
            self._settle(retry=True)
            self.witness.check_end()
        finally:
            for worker in self.workers:
                worker.close()
        self.counts["events"] += len(self.committed)

    def _application(self) -> None:
        for _ in range(self.random.randrange(3)):
            target = self.random.choice(TARGETS)
            if target not in self._open:
                events = [next(self._fresh[target]) for _ in range(self.random.randrange(1, 4))]
                transaction = self._database.begin()
                transaction.append(events)
                self._open[target] = transaction, events
        for target in [target for target in self._open if self.random.random() < 0.5]:
            self._finish(target, commit=self.random.random() < 0.85)

    def _finish(self, target: str | None, *, commit: bool) -> None:
        transaction, events = self._open.pop(target)
        if not commit:
            transaction.rollback()
            self.count("transactions rolled back", names(events))
            return
        transaction.commit()
        self.note("commits", names(events), "of", target)
        self.committed |= {event.id: event for event in events}
        for sink in self.sinks.values():
            sink.poison |= {event.id for event in events if self.chance("poison")}

    def _work(self) -> None:
        worker = self.random.choice(self.workers)
        if worker.fiber.paused:
            worker.resume()
        else:
            tasks = [worker.run_once, worker.run_lane, worker.mend_and_retry, worker.trim]
            worker.do(self.random.choices(tasks, [6, 2, 2, 2])[0])

    def _wait(self) -> None:
        self.pass_time(self.random.choice([0.1, 0.5, 1, 2, 5, 70, 600, 7200]))

    def _clocks(self) -> None:
        worker = self.random.choice(self.workers)
        match self.random.randrange(4):
            case 0:
                self._jump(self.random.choice([3, 60, 7200]))
            case 1:
                self._jump(-self.random.choice([3, 60, 7200]))
            case 2:
                worker.clock.advance(self.random.choice([3, 60, 7200]))
                self.count("jumps of a worker's clock", worker.name)
            case 3:
                worker.pace = self.random.choice([0, 0.5, 1, 1, 2])
                self.count("changes of a worker's pace", worker.name, worker.pace)

    def _jump(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.count(f"jumps of the database's clock {'back' if seconds < 0 else 'forward'}", seconds)

    def _outage(self) -> None:
        sink = self.sinks[self.random.choice(SINKS)]
        hours = self.random.choice([0.001, 0.1, 3])
        sink.down_until = self.elapsed + hours * 3600
        self.count("outages", sink.name, f"for {hours} h")

    def _calm_down(self) -> None:
        """From now on nothing goes wrong, and who slept wakes up and does what he was about to do."""
        self.note("all is in order again")
        self._odds = {}
        for sink in self.sinks.values():
            sink.down_until = 0
        self.operator.end()
        for worker in self.workers:
            if worker.fiber.paused:
                worker.resume()
        for target in list(self._open):
            self._finish(target, commit=True)

    def _settle(self, *, retry: bool = False) -> None:
        for worker in self.workers:
            self.pass_time(1e6)  # more than all that the clock jumped back
            for name in SINKS if retry else ():
                worker.do(partial(worker.retry, name))
            worker.do(worker.run_once)

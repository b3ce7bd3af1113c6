"""Two rival workers under everything that can go wrong at once, in virtual time, from a seed.

A step may kill the worker, or put it to sleep past its leases while its rival goes on; sinks fail, refuse,
and lose their acknowledgements; transactions stay open and commit out of order. Whatever happens, at the end:
the log holds what was committed, densely numbered, each sink holds every event once and each target's in
order, and no cursor ever went back.

A checker that cannot fail proves nothing, so each of the mutants below must be caught.
"""

import random

import pytest

from audit_core.errors import PermanentError, RetryableError
from audit_core.log import SEQUENCER, Cursor, Lease, target_key
from audit_core.memory import MemoryDatabase, MemoryLog
from audit_core.relay import Relay, RelaySettings
from audit_core.relay.batch import Blocked, Verdict
from audit_core.relay.deliver import DeliverStage
from audit_core.testing import VirtualClock, make_event

SEEDS = range(150)
SINKS = ("one", "two")
SETTINGS = RelaySettings(batch_size=4, batches_per_turn=3)
TARGETS = 4


class Killed(BaseException):
    """The process is gone."""


class Violation(AssertionError):
    """Something that must never be true."""


class Process:
    """What a worker sees of the log; after a kill nothing of it reaches the log any more."""

    def __init__(self, log):
        self._log = log
        self.dead = False

    def __getattr__(self, name):
        method = getattr(self._log, name)

        def call(*args, **kwargs):
            if self.dead:
                raise Killed
            return method(*args, **kwargs)

        return call


class Sink:
    """Keeps the order in which events first came; fails as the simulation says."""

    def __init__(self, simulation):
        self.simulation = simulation
        self.order = []
        self.ids = set()
        self.poison = set()

    def write(self, events):
        simulation = self.simulation
        simulation.disturb("sink.before")
        if simulation.chance(0.08):
            raise simulation.random.choice([RetryableError("503"), OSError("reset")])
        if any(event.id in self.poison for event in events):
            raise PermanentError("refused")
        for event in events:
            if event.id not in self.ids:
                self.ids.add(event.id)
                self.order.append(event)
        simulation.disturb("sink.after")
        if simulation.chance(0.08):
            raise ConnectionError("the acknowledgement was lost")


class Simulation:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.clock = VirtualClock()
        self.database = MemoryDatabase(self.clock)
        self.trouble = True
        self.sinks = {name: Sink(self) for name in SINKS}
        self.committed = []
        self.open = {}  # target to its open transaction: the row lock allows one
        self.highest = {}
        self.workers = [self.spawn(0), self.spawn(1)]
        self.running = []

    def chance(self, probability):
        return self.trouble and self.random.random() < probability

    def spawn(self, number):
        process = Process(self.database.log)
        relay = Relay(
            process,
            self.sinks,
            owner=f"worker-{number}",
            settings=SETTINGS,
            monotonic=self.clock.monotonic,
            random=self.random.random,
            probe=self.disturb,
        )
        return process, relay

    def disturb(self, step):
        """Between any two steps: death, or a sleep in which the rival goes on."""
        self.watch()
        if not self.running:
            return
        if self.chance(0.02):
            self.workers[self.running[-1]][0].dead = True
            raise Killed
        if len(self.running) == 1 and self.chance(0.06):
            self.clock.advance(self.random.choice([0.5, 5, 90]))
            self.append()
            self.run(1 - self.running[-1])

    def watch(self):
        for cursor in self.database.log.cursors():
            if cursor.seq < self.highest.get(cursor.name, 0):
                raise Violation(f"the cursor {cursor.name} went back")
            self.highest[cursor.name] = cursor.seq

    def run(self, number):
        self.running.append(number)
        _, relay = self.workers[number]
        try:
            if self.chance(0.2):
                relay.retry(self.random.choice(SINKS))
            else:
                relay.run_once()
        except Killed:
            self.workers[number] = self.spawn(number)
        finally:
            self.running.pop()

    def append(self):
        for _ in range(self.random.randrange(4)):
            target = self.random.randrange(TARGETS)
            if target not in self.open:
                events = [make_event(target=f"a.A:{target}") for _ in range(self.random.randrange(1, 4))]
                transaction = self.database.begin()
                transaction.append(events)
                self.open[target] = transaction, events
        for target in [target for target in self.open if self.random.random() < 0.5]:
            self.finish(target, commit=self.random.random() < 0.85)

    def finish(self, target, *, commit):
        transaction, events = self.open.pop(target)
        if commit:
            transaction.commit()
            self.committed += events
            for sink in self.sinks.values():
                sink.poison |= {event.id for event in events if self.chance(0.05)}
        else:
            transaction.rollback()

    def play(self, steps=25):
        for _ in range(steps):
            self.append()
            self.run(self.random.randrange(2))
            self.clock.advance(self.random.choice([0, 0.1, 1, 5, 70]))
        for target in list(self.open):
            self.finish(target, commit=True)
        self.trouble = False
        self.settle()
        self.check_parked()
        for sink in self.sinks.values():
            sink.poison = set()
        self.settle(retry=True)
        self.check_end()

    def settle(self, *, retry=False):
        """Everything is in order again: it may take a few waits until all is done."""
        for _ in range(4):
            self.clock.advance(10_000)
            for _, relay in self.workers:
                if retry:
                    for name in SINKS:
                        relay.retry(name)
                relay.run_once()

    def check_parked(self):
        """What is parked was refused, or comes after something parked of the same target."""
        for name, sink in self.sinks.items():
            parked = {parked.event_id for parked in self.database.log.parked(name)}
            ill = set()
            for event in self.database.log.read(0, 10_000):
                if event.id in sink.poison:
                    ill.add(target_key(event))
                if (event.id in parked) != (target_key(event) in ill) and not (
                    event.id not in parked and event.id in sink.ids
                ):
                    raise Violation(
                        f"seq {event.seq} is {'parked' if event.id in parked else 'missing'} in {name}"
                    )

    def check_end(self):
        log = self.database.log.read(0, 10_000)
        if [event.seq for event in log] != list(range(1, len(log) + 1)):
            raise Violation("the log is not dense")
        if sorted(event.id for event in log) != sorted(event.id for event in self.committed):
            raise Violation("the log is not what was committed")
        if by_target(log) != by_target(self.committed):
            raise Violation("the log has an inversion")
        for name, sink in self.sinks.items():
            if sorted(event.id for event in sink.order) != sorted(event.id for event in log):
                raise Violation(f"{name} does not have every event once")
            if by_target(sink.order) != by_target(log):
                raise Violation(f"{name} has an inversion")
            if any(event.summary is None for event in sink.order):
                raise Violation(f"{name} has an event without its sentence")
            if self.database.log.parked(name):
                raise Violation(f"{name} has parked events that it would take")
            if self.database.log.cursor(name).seq != len(log):
                raise Violation(f"{name} is behind")


def by_target(events):
    found = {}
    for event in events:
        found.setdefault(target_key(event), []).append(event.id)
    return found


@pytest.mark.parametrize("first", SEEDS[::25])
def test_nothing_is_lost_doubled_or_reordered(first):
    for seed in range(first, first + 25):
        try:
            Simulation(seed).play()
        except Violation as violation:
            pytest.fail(f"seed {seed}: {violation}")


def counting(method, counts, key):
    def call(*args):
        counts[key] += 1
        return method(*args)

    return call


def test_the_simulation_reaches_what_it_is_about():
    """Without this, a change of the probabilities could make the test above true of nothing."""
    seen = {"retried": 0, "parked": 0, "failures": 0, "takeovers": 0, "late": 0}
    for seed in range(30):
        simulation = Simulation(seed)
        log = simulation.database.log
        for method, key in (("unpark", "retried"), ("park", "parked"), ("fail", "failures")):
            setattr(log, method, counting(getattr(log, method), seen, key))
        simulation.play()
        seen["takeovers"] += sum(cursor.epoch for cursor in log.cursors())
        seen["late"] += [e.id for e in log.read(0, 10_000)] != sorted(e.id for e in simulation.committed)
    assert all(count > 20 for count in seen.values()), seen


# Mutants: each is a mistake that was made somewhere


def id_above_last(monkeypatch):
    """Reads the outbox past a number: what commits late with a lower id is lost."""
    original = MemoryLog.sequence
    last = {}

    def sequence(self, lease, limit):
        waiting = self._database.waiting
        seen = last.get(id(self), 0)
        waiting[:] = [row for row in waiting if row[0] > seen]
        if waiting:
            last[id(self)] = waiting[:limit][-1][0]
        return original(self, lease, limit)

    monkeypatch.setattr(MemoryLog, "sequence", sequence)


def cursor_before_the_store(monkeypatch):
    """Moves the cursor, then writes: a crash between the two loses the batch."""
    original = DeliverStage._deliver

    def deliver(self, hold, blocked, position, through):
        self._tools.log.advance(hold.lease, through)
        return original(self, hold, blocked, position, through)

    monkeypatch.setattr(DeliverStage, "_deliver", deliver)


def advance_without_fencing(monkeypatch):
    """A zombie moves the cursor back to where it had come."""

    def advance(self, lease, seq):
        row = self._rows[lease.name]
        old = row.cursor
        row.cursor = Cursor(old.name, seq, old.owner, old.epoch, paused=old.paused)

    monkeypatch.setattr(MemoryLog, "advance", advance)


def unpark_before_the_store(monkeypatch):
    """Forgets what is parked before the sink has it."""
    original = DeliverStage.attempt

    def attempt(self, batch, piece, stage):
        if stage == "retry":
            owner = self._tools.log.cursor(self.name)
            lease = Lease(self.name, owner.owner, owner.epoch)
            self._tools.log.unpark(lease, [event.id for event in piece])
        return original(self, batch, piece, stage)

    monkeypatch.setattr(DeliverStage, "attempt", attempt)


def followers_go_on(monkeypatch):
    """Parks the refused event alone: the later ones of its target overtake it."""
    monkeypatch.setattr(Blocked, "holds", lambda self, recorded: False)


def outage_parks(monkeypatch):
    """Takes a store that is down for one that refuses."""
    monkeypatch.setattr("audit_core.relay.deliver.verdict", lambda error, events: Verdict.REFUSED)


def store_without_idempotence(monkeypatch):
    """Keeps what it has already."""
    original = Sink.write

    def write(self, events):
        self.ids = set()
        original(self, events)

    monkeypatch.setattr(Sink, "write", write)


def sequence_twice(monkeypatch):
    """Gives numbers without a transaction: the outbox rows are still there when the worker dies."""
    original = MemoryLog.sequence

    def sequence(self, lease, limit):
        rows = self._database.waiting[:limit]
        moved = original(self, lease, limit)
        if moved and lease.name == SEQUENCER and lease.epoch % 5 == 0:
            self._database.waiting[:0] = rows
        return moved

    monkeypatch.setattr(MemoryLog, "sequence", sequence)


@pytest.mark.parametrize(
    "mutant",
    [
        id_above_last,
        cursor_before_the_store,
        advance_without_fencing,
        unpark_before_the_store,
        followers_go_on,
        outage_parks,
        store_without_idempotence,
        sequence_twice,
    ],
    ids=lambda mutant: mutant.__name__,
)
def test_the_checker_catches_this_mutant(mutant, monkeypatch):
    mutant(monkeypatch)
    for seed in SEEDS:
        try:
            Simulation(seed).play()
        except Violation:
            return
    pytest.fail(f"{len(SEEDS)} runs did not show that the mutant is wrong")

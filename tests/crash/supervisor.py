"""Who dies when: the supervisor of one run."""

from __future__ import annotations

import itertools
import logging
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

from django.db import connections, transaction
from tests.crash import roles, witness
from tests.crash.processes import Child, Processes
from tests.crash.sinks import Calm, Mood, have, sinks_in
from tests.crash.steps import SINK_POINTS, Fate, Journal, Steps

from audit_core.relay import CRASH_POINTS, RelaySettings

POINTS = CRASH_POINTS + SINK_POINTS
CAST = ("worker", "worker", "writer", "writer", "trimmer")
# Where a worker is stopped, in turn: what comes next is a write that a zombie must be refused. Acknowledgements first.
ZOMBIE_POINTS = (
    "deliver.after_write",
    "summaries.after_save",
    "deliver.before_write",
    "sequence.before",
    "deliver.before_park",
    "deliver.after_park",
    "retry.before_write",
    "retry.after_write",
    "summaries.before_save",
    "lease.taken",
)
OUTSIDE, ZOMBIE, POINT = 0.1, 0.35, 0.5  # of the fates of a worker; the rest die at a statement
PATIENCE_SECONDS = 1.0  # for a step that may never come
# How often it passes its step before it dies; fast processes live longer this way.
PASSINGS = {"worker": (1, 1, 2, 3), "writer": (40, 100, 160), "trimmer": (2, 4, 8)}
STOPPED_SECONDS = 4 * roles.KILLING.lease_seconds
ZOMBIE_SECONDS = 0.5  # to do harm in
KILL_LIMIT_SECONDS = 3.0  # on average: a run that needs longer is stuck
FINISH_LIMIT_SECONDS = 60.0
STALL_SECONDS = 10.0  # without progress at the end: longer than any lease and any wait after a failure
RECOVERY_POINTS = ("deliver.before_write", "sequence.before", "summaries.before_save", "lease.taken")
RECOVERY_CAP_SECONDS = 30.0  # for the measurement; the limit is an invariant
EVERY_POINT_FROM = 300  # kills; fewer cannot promise to reach them all


class Supervisor:
    """Sets the stage for one run, forks and kills, and counts."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.processes = Processes()
        self.deaths: Counter[str] = Counter()  # by step, or "outside"
        self.deaths_by_role: Counter[str] = Counter()
        self.passed: set[str] = set(POINTS)  # every step that is known
        self.kill_seconds = 0.0
        self.zombies = 0
        self.leases_lost = 0
        self.recovery_seconds: list[float] = []
        self.points_missed: list[str] = []
        self.surprises: list[str] = []
        self.sinks = sinks_in(folder, lambda step: None, Calm())
        for sink in self.sinks.values():
            sink.setup()
        witness.setup(self.sinks)
        self._seed = seed
        self._chance = random.Random(seed)
        self._journal = Journal(folder / "journal")
        self._forks = 0
        self._statements_of: dict[str, set[str]] = {"worker": set(), "writer": set(), "trimmer": set()}
        self._tried: Counter[tuple[str, str]] = Counter()
        self._zombie_points = itertools.cycle(ZOMBIE_POINTS)
        self._missed: set[str] = set()  # the steps that some process did not come to in time
        self._last_words: dict[int, str] = {}
        self._role_of: dict[int, str] = {}

    def kill(self, kills: int) -> None:
        """Fork and kill until so many have died."""
        deadline = time.monotonic() + 60 + kills * KILL_LIMIT_SECONDS
        told = started = time.monotonic()
        while self.deaths.total() < kills:
            now = time.monotonic()
            if now > deadline:
                self.surprises.append(f"only {self.deaths.total()} of {kills} kills came about")
                break
            for role in (Counter(CAST) - Counter(child.role for child in self.processes.alive)).elements():
                self._fork(role, *self._choose(role))
            for child in self.processes.wait(min(1.0, *(child.due - now for child in self.processes.alive))):
                self._note(child)
            self._act_on_due()
            if now - told > 5:
                told = now
                self._tell(f"{self.deaths.total():,} of {kills:,} kills, {now - started:.0f} s")
        self.kill_seconds = time.monotonic() - started
        self._end_all()
        if kills >= EVERY_POINT_FROM:
            self.points_missed = [point for point in POINTS if not self.deaths[point]]

    def recover(self, times: int) -> None:
        """Take the time from a death to the arrival of what is committed next, with the default settings."""
        if not times:
            return
        for role in ("writer", "writer", "worker"):
            self._fork(role, None, settings=RelaySettings())
        for n in range(times):
            fate = Fate(RECOVERY_POINTS[n % len(RECOVERY_POINTS)])
            victim = self._fork("worker", fate, settings=RelaySettings())
            if not self._wait_for(lambda victim=victim: victim.status is not None):
                self.surprises.append(f"no worker came to {fate.step} within {RECOVERY_CAP_SECONDS:g} s")
                break
            self.recovery_seconds.append(self._until_arrival(time.monotonic()))
            self._tell(f"recovered in {self.recovery_seconds[-1]:.2f} s after {fate.step}")
        self._end_all()

    def finish(self) -> None:
        """Let two workers do all that is left, undisturbed."""
        workers = [self._fork("worker", None) for _ in range(2)]
        deadline = time.monotonic() + FINISH_LIMIT_SECONDS
        left, stalled_at = witness.left(self.sinks), time.monotonic() + STALL_SECONDS
        while left and time.monotonic() < min(deadline, stalled_at):
            for child in self.processes.wait(0.1):
                self._expect_death(child)
            before, left = left, witness.left(self.sinks)
            if left != before:
                stalled_at = time.monotonic() + STALL_SECONDS
        if left:
            self.surprises.append(f"at the end {left} is left, {witness.leases()}")
        if not self.processes.end(workers, signal.SIGTERM, roles.KILLING.stop_seconds + 5):
            self.surprises.append("a worker did not stop when it was told to")
        for worker in workers:
            self._expect_death(worker)
        self._read_journal()

    # who dies how

    def _choose(self, role: str) -> tuple[Fate | None, float]:
        """A fate, and how many seconds until death comes from outside."""
        chance = self._chance
        if chance.random() < OUTSIDE or not self._statements_of[role]:
            return None, chance.uniform(0.05, PATIENCE_SECONDS)
        stopped = any(child.fate and child.fate.signal is signal.SIGSTOP for child in self.processes.alive)
        if role == "worker" and not stopped and chance.random() < ZOMBIE:
            return Fate(next(self._zombie_points), signal=signal.SIGSTOP), PATIENCE_SECONDS
        at_point = role == "worker" and chance.random() < POINT
        missing = [point for point in POINTS if not self.deaths[point]]
        step = self._least_tried(role, missing or POINTS if at_point else self._statements_of[role])
        passing = min(PASSINGS[role]) if step in self._missed else chance.choice(PASSINGS[role])
        return Fate(step, passing), PATIENCE_SECONDS

    def _least_tried(self, role: str, steps: Collection[str]) -> str:
        """The step that was tried least: else the frequent ones would have nearly all the deaths."""
        least = min(self._tried[role, step] for step in steps)
        found = self._chance.choice(sorted(step for step in steps if self._tried[role, step] == least))
        self._tried[role, found] += 1
        return found

    def _act_on_due(self) -> None:
        now = time.monotonic()
        for child in self.processes.alive:
            if child.due > now:
                continue
            if child.stopped:
                child.stopped, child.due = False, now + self._chance.uniform(0, ZOMBIE_SECONDS)
                child.send(signal.SIGCONT)
            else:
                if child.fate and child.fate.signal is signal.SIGKILL:
                    self._missed.add(child.fate.step)
                child.due = float("inf")
                child.send(signal.SIGKILL)

    def _note(self, child: Child) -> None:
        """Count what became of a child."""
        self._read_journal()
        if child.status is None:
            self.zombies += 1
            child.due = time.monotonic() + STOPPED_SECONDS
        elif child.status == -signal.SIGKILL:
            died_at = child.fate and child.fate.signal is signal.SIGKILL and self._last_words.get(child.pid)
            self.deaths[died_at or "outside"] += 1
            self.deaths_by_role[child.role] += 1
        self._expect_death(child)

    def _expect_death(self, child: Child) -> None:
        if child.status not in (None, 0, -signal.SIGKILL):
            self.surprises.append(f"a {child.role} ended by itself, with exit code {child.status}")

    def _read_journal(self) -> None:
        for pid, what, text in self._journal.news():
            if what == "passes":
                self.passed.add(text)
                if text not in POINTS:
                    self._statements_of[self._role_of[pid]].add(text)
            elif what == "ends":
                self._last_words[pid] = text
            elif what == "lost":
                self.leases_lost += 1
            else:
                self.surprises.append(f"{what}: {text}")

    def _end_all(self) -> None:
        self.processes.end(list(self.processes.alive), signal.SIGKILL, 10)
        self._read_journal()

    # what they do

    def _fork(
        self,
        role: str,
        fate: Fate | None,
        seconds: float = float("inf"),
        settings: RelaySettings = roles.KILLING,
    ) -> Child:
        self._forks += 1
        chance = random.Random(f"{self._seed} {self._forks}")
        calm = seconds == float("inf")

        def body(stop: threading.Event) -> None:
            logging.disable()  # the journal has what the relay complains of
            steps = Steps(self._journal, fate)
            steps.watch_statements()
            mood = Calm() if calm else Mood(chance)
            alone = fate is not None and fate.signal is signal.SIGSTOP
            {
                "worker": lambda: roles.work(
                    self.folder, steps, self._journal, mood, settings, stop, alone=alone
                ),
                "writer": lambda: roles.write(chance, stop),
                "trimmer": lambda: roles.trim(f"trimmer {self._forks}", stop),
            }[role]()

        connections.close_all()  # a child must not share ours
        child = self.processes.fork(role, body, fate, time.monotonic() + seconds)
        self._role_of[child.pid] = role
        self._last_words.pop(child.pid, None)  # of a process that had its pid before
        return child

    def _until_arrival(self, since: float) -> float:
        with transaction.atomic():
            id_ = witness.write_event(self._chance.choice(witness.TARGETS))
        connections.close_all()
        arrived = self._wait_for(lambda: len(have(self.sinks, id_)) == len(self.sinks))
        return (time.monotonic() if arrived else float("inf")) - since

    def _wait_for(self, true: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + RECOVERY_CAP_SECONDS
        while time.monotonic() < deadline:
            if true():
                return True
            for child in self.processes.wait(0.02):
                self._expect_death(child)
        return False

    def _tell(self, words: str) -> None:
        print(words, file=sys.stderr, flush=True)

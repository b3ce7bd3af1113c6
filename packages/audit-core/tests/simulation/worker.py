"""A worker: the real relay in a process that may die, or sleep, at any step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from audit_core.errors import LeaseLost
from audit_core.event import Event
from audit_core.log import SEQUENCER, SUMMARIES, TRIMMER
from audit_core.relay import Relay, RelaySettings, State
from audit_core.relay.lease import Hold
from audit_core.testing import VirtualClock

from .fiber import Fiber
from .invariants import Invariant
from .sinks import client_of
from .witness import FENCED_WRITES

if TYPE_CHECKING:
    from .world import World

SETTINGS = RelaySettings(batch_size=4, batches_per_turn=3)
WRITES = {*FENCED_WRITES, "acquire", "release"}
MAX_REACHED = 20_000  # steps in one run; the longest take a tenth of them


class Killed(BaseException):
    """The process is gone."""


class Unreachable(OSError):
    """The database of the log does not answer."""


class OneWord:
    """A summarizer that takes no time."""

    def summarize(self, events: Sequence[Event], language: str) -> Sequence[str]:
        return ["changed"] * len(events)


class LogClient:
    """A worker's connection to the log. A write may be done and its acknowledgement lost."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = partial(self._call, name, getattr(self._worker.world.log, name))
        setattr(self, name, method)  # found without this the next time
        return method

    def _call(self, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        world = self._worker.world
        self._worker.reach(name)
        if world.chance("unreachable"):
            world.count("log unreachable", name)
            raise Unreachable(name)
        if name not in WRITES:
            return method(*args, **kwargs)
        result = world.witness.watch(name, method, *args, **kwargs)
        if world.chance("lost_acknowledgement"):
            world.count(f"acknowledgements lost: {name}")
            raise Unreachable(f"{name} was committed")
        if name == "acquire" and result is not None:
            self._worker.took_lease(*args)
        return result


class Worker:
    """A process on a machine with a clock of its own, started again when it dies."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.name = f"worker-{number}"
        self.clock = VirtualClock()
        self.pace = 1.0  # seconds of its clock in one of the world: 0 while its machine is suspended
        self.fiber = Fiber()
        self._boot()

    def _boot(self) -> None:
        self.dead = False
        self._lease_ends: dict[str, float] = {}  # by its own clock
        self._decided_at = 0.0  # when it last decided to write, by its own clock
        self._log = LogClient(self)
        self._relay = Relay(
            self._log,
            {sink.name: client_of(self, sink) for sink in self.world.sinks.values()},
            summarizer=(one_word := OneWord()),
            fallback=one_word,
            owner=self.name,
            settings=SETTINGS,
            monotonic=self.clock.monotonic,
            random=self.world.random.random,
            probe=self.reach,
        )

    def reach(self, step: str) -> None:
        """Between any two steps: death, or a sleep in which the others go on."""
        world = self.world
        world.reached += 1
        if world.reached > MAX_REACHED:
            world.violate(Invariant.NO_SURPRISE, f"{self.name} goes round in circles at {step}")
        if step.endswith(".before_write"):
            self._decided_at = self.clock.monotonic()
        if not self.dead and world.chance("kill"):
            world.count("kills", f"before {step}")
            self.dead = True
        if not self.dead and world.chance("pause"):
            world.count("pauses", f"before {step}")
            self.fiber.pause()
            world.note("goes on with", step)
        if self.dead:
            raise Killed

    def took_lease(self, name: str, owner: str, ttl_seconds: float) -> None:
        """It has the lease, or has it for longer."""
        self._lease_ends[name] = self.clock.monotonic() + ttl_seconds

    def check_lease(self, name: str) -> None:
        """It is about to write; if it slept since it decided to, it cannot know what became of its lease."""
        late = self._decided_at - self._lease_ends[name]
        if late > 0:
            self.world.violate(
                Invariant.LEASE_RENEWED, f"{self.name} wrote to {name} {late} s after its lease"
            )

    def do(self, task: Callable[[], None]) -> None:
        """Begin ``task``, in the worker's thread."""
        self._go(partial(self.fiber.run, partial(self._live, task)))

    def resume(self) -> None:
        """Go on with what was begun."""
        self._go(self.fiber.resume)

    def _go(self, go: Callable[[], None]) -> None:
        world = self.world
        world.moving = self
        try:
            go()
        finally:
            world.moving = None
            if world.violation is not None:
                raise world.violation
        if self.dead and not self.fiber.paused:
            self._boot()

    def _live(self, task: Callable[[], None]) -> None:
        try:
            task()
        except (Killed, LeaseLost, Unreachable) as error:
            self.world.note("ends:", repr(error))

    def close(self) -> None:
        """Die, wherever it is."""
        self.dead = True
        if self.fiber.paused:
            self.fiber.resume()
        self.fiber.close()

    # what it may be asked to do

    def run_once(self) -> None:
        """All lanes that there are."""
        self._run((SEQUENCER, SUMMARIES, *self.world.started))

    def run_lane(self) -> None:
        """One lane, as a thread of a real worker does."""
        lanes = [(SEQUENCER, SUMMARIES), *((name,) for name in self.world.started)]
        self._run(self.world.random.choice(lanes), patient=True)

    def _run(self, stages: Sequence[str], *, patient: bool = False) -> None:
        self.world.note("runs", *stages)
        report = self._relay.run_once(only=stages, patient=patient)
        for stage in report.stages.values():
            if stage.state is State.LOST:
                self.world.count("leases lost", stage.name)
            if stage.state is State.BROKEN and not (stage.error or "").startswith(Unreachable.__name__):
                self.world.violate(Invariant.NO_SURPRISE, f"{stage.name} failed with {stage.error}")

    def mend_and_retry(self) -> None:
        """What a person does with parked events: some of what a sink refused it would take now."""
        world = self.world
        sink = world.sinks[world.random.choice(sorted(world.log.parked_counts()) or world.started)]
        sink.poison = {id_ for id_ in sorted(sink.poison) if world.random.random() < 0.3}
        self.retry(sink.name)

    def retry(self, name: str) -> None:
        """Give a sink its parked events again."""
        self.world.note("retries", name)
        retried = self._relay.retry(name)
        self.world.count("events retried", amount=retried.resumed)

    def trim(self) -> None:
        """Give up texts, asking for more than may go."""
        world = self.world
        through = world.random.randrange(len(world.witness.order) + 3)
        world.count("trims", f"through {through}")
        owner = f"{self.name}:{world.counts['trims']}"
        hold = Hold.take(self._log, TRIMMER, owner, SETTINGS.lease_seconds, self.clock.monotonic)
        if hold is not None:
            with hold:
                world.count("events trimmed", amount=self._log.trim(hold.lease, through))

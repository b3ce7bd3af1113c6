"""What must be true at the end of a run, and how each of it is looked at."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from uuid import UUID

RECOVERY_LIMIT_SECONDS = 5.0


class Invariant(Enum):
    """A name and what it means."""

    DENSE_LOG = "the log is numbered 1, 2, 3 … without a gap"
    NOTHING_LOST = "what was committed is in the log and in every sink"
    COMMITTED_ONLY = "the log and the sinks hold nothing that was not committed"
    NOTHING_TWICE = "the log numbers an event once, and a storage keeps it once"
    ORDER_PER_TARGET = "the log, and what first arrives at a sink, keep the order of each target's commits"
    CATCHES_UP = "when the kills are over, every cursor reaches the head, and nothing waits or stays parked"
    CURSOR_NEVER_BACK = "no cursor goes back"
    EXCLUSIVE_LEASE = "no lease is taken before another's has expired on the database's clock"
    RECOVERY = f"what is committed after a kill is in the sinks within {RECOVERY_LIMIT_SECONDS:g} s"
    EVERY_POINT = "a process was killed at every crash point"
    NO_SURPRISE = "no process ends by itself, and no stage fails but where the harness makes it"


@dataclass(frozen=True)
class Committed:
    """An event that is committed: the ``number``-th of its target."""

    id: UUID
    target: str
    number: int


@dataclass(frozen=True)
class Breach:
    """What the database saw happen to a cursor."""

    invariant: str
    name: str
    was: int
    became: int


@dataclass
class Outcome:
    """All that is left when a run is over."""

    committed: Sequence[Committed]
    log: Sequence[tuple[int, UUID]]  # by seq
    waiting: int  # in the outbox
    parked: int
    cursors: dict[str, int]  # of what reads the log
    arrivals: dict[str, Sequence[UUID]]  # by sink, in order
    storages: Sequence[str] = ("archive",)  # the sinks that promise to keep an event once
    breaches: Sequence[Breach] = ()
    recovery_seconds: Sequence[float] = ()
    points_missed: Sequence[str] = ()
    surprises: Sequence[str] = field(default_factory=list)


Check = Callable[[Outcome], Iterator[str]]
CHECKS: dict[Invariant, Check] = {}


def broken(outcome: Outcome) -> dict[Invariant, str]:
    """The invariants that do not hold, each with the first thing that shows it."""
    found = {invariant: next(check(outcome), None) for invariant, check in CHECKS.items()}
    return {invariant: details for invariant, details in found.items() if details is not None}


def checks(invariant: Invariant) -> Callable[[Check], Check]:
    """Put the function into :data:`CHECKS`."""

    def add(check: Check) -> Check:
        CHECKS[invariant] = check
        return check

    return add


@checks(Invariant.DENSE_LOG)
def dense_log(outcome: Outcome) -> Iterator[str]:
    """Every number that is not the next one."""
    for place, (seq, id_) in enumerate(outcome.log, start=1):
        if seq != place:
            yield f"{id_} is number {seq} at place {place}"


@checks(Invariant.NOTHING_LOST)
def nothing_lost(outcome: Outcome) -> Iterator[str]:
    """Every event that is missing somewhere."""
    for where, ids in _everywhere(outcome):
        for event in outcome.committed:
            if event.id not in ids:
                yield f"{where} lacks {event.id}, number {event.number} of {event.target}"


@checks(Invariant.COMMITTED_ONLY)
def committed_only(outcome: Outcome) -> Iterator[str]:
    """Every event that nobody committed."""
    committed = {event.id for event in outcome.committed}
    for where, ids in _everywhere(outcome):
        for id_ in ids - committed:
            yield f"{where} holds {id_}"


@checks(Invariant.NOTHING_TWICE)
def nothing_twice(outcome: Outcome) -> Iterator[str]:
    """Every event that is kept more than once."""
    kept = {"the log": [id_ for _, id_ in outcome.log]}
    kept |= {name: list(outcome.arrivals[name]) for name in outcome.storages}
    for where, ids in kept.items():
        for id_, times in Counter(ids).items():
            if times > 1:
                yield f"{where} holds {id_} {times} times"


@checks(Invariant.ORDER_PER_TARGET)
def order_per_target(outcome: Outcome) -> Iterator[str]:
    """Every event that came after a later one of its target. Only the first arrival counts."""
    by_id = {event.id: event for event in outcome.committed}
    orders = {"the log": [id_ for _, id_ in outcome.log], **outcome.arrivals}
    for where, ids in orders.items():
        highest: dict[str, int] = defaultdict(int)
        for id_ in dict.fromkeys(ids):
            if (event := by_id.get(id_)) is None:
                continue
            if event.number < highest[event.target]:
                yield f"{where} has number {event.number} of {event.target} after {highest[event.target]}"
            highest[event.target] = max(highest[event.target], event.number)


@checks(Invariant.CATCHES_UP)
def catches_up(outcome: Outcome) -> Iterator[str]:
    """All that is left to do."""
    if outcome.waiting:
        yield f"{outcome.waiting} events wait in the outbox"
    if outcome.parked:
        yield f"{outcome.parked} events are parked"
    for name, seq in outcome.cursors.items():
        if seq != len(outcome.log):
            yield f"{name} is at {seq}, the log at {len(outcome.log)}"


@checks(Invariant.CURSOR_NEVER_BACK)
def cursor_never_back(outcome: Outcome) -> Iterator[str]:
    """Every cursor that went back."""
    for breach in _breaches(outcome, Invariant.CURSOR_NEVER_BACK):
        yield f"{breach.name} went from {breach.was} to {breach.became}"


@checks(Invariant.EXCLUSIVE_LEASE)
def exclusive_lease(outcome: Outcome) -> Iterator[str]:
    """Every lease that was taken too early."""
    for breach in _breaches(outcome, Invariant.EXCLUSIVE_LEASE):
        yield f"epoch {breach.became} of {breach.name} began before {breach.was} was over"


@checks(Invariant.RECOVERY)
def recovery(outcome: Outcome) -> Iterator[str]:
    """Every recovery that took too long."""
    for seconds in outcome.recovery_seconds:
        if seconds >= RECOVERY_LIMIT_SECONDS:
            yield f"it took {seconds:.2f} s"


@checks(Invariant.EVERY_POINT)
def every_point(outcome: Outcome) -> Iterator[str]:
    """Every crash point at which nothing died."""
    for point in outcome.points_missed:
        yield f"nothing died at {point}"


@checks(Invariant.NO_SURPRISE)
def no_surprise(outcome: Outcome) -> Iterator[str]:
    """Everything else that went wrong."""
    yield from outcome.surprises


def _everywhere(outcome: Outcome) -> Iterator[tuple[str, set[UUID]]]:
    yield "the log", {id_ for _, id_ in outcome.log}
    for name, ids in outcome.arrivals.items():
        yield name, set(ids)


def _breaches(outcome: Outcome, invariant: Invariant) -> Iterator[Breach]:
    return (breach for breach in outcome.breaches if breach.invariant == invariant.name)

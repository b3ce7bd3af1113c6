"""What must never be untrue, whatever goes wrong."""

from __future__ import annotations

from enum import Enum

COMMAND = "python -m packages.audit-core.tests.simulation"


class Invariant(Enum):
    """A name and what it means. The first group is looked at with every write, the second at the end."""

    DENSE_LOG = "the log is numbered 1, 2, 3 … without a gap"
    COMMITTED_ONLY = "the log holds nothing that was not committed"
    NOTHING_TWICE = "the log numbers an event once, and a sink keeps it once"
    ONE_WRITER_PER_EPOCH = "an epoch is given to one holder"
    EXCLUSIVE_LEASE = "a lease is given to nobody before another's has expired on the database's clock"
    LEASE_RENEWED = "a worker gives a sink nothing when its own clock tells it that its lease is over"
    FENCED = "a lease that was lost or given back writes nothing"
    CURSOR_NEVER_BACK = "only an operator's seek takes a cursor back"
    CURSOR_BEHIND_SINK = (
        "a cursor passes only what its sink has or what is parked, and unpark only what it has"
    )
    PARKED_ONLY_WITH_CAUSE = "what is parked was refused, or follows what is parked; an outage is no cause"
    SUMMARY_BEFORE_SINK = "a sink is given no event without its sentence"
    TRIM_ONLY_DELIVERED = "no text is given up that a sink still needs"
    NO_SURPRISE = "nothing fails but what the simulation makes fail, and every pass ends"

    NOTHING_LOST = "what was committed is in the log, and in every sink that was there for it"
    ORDER_PER_TARGET = "the log, and what first arrives at a sink, keep the order of each target's events"
    TAKEN_AGAIN = "a sink is given again what an operator's seek asks for"
    CATCHES_UP = (
        "when all is in order again, every cursor reaches the head, and a retry empties what is parked"
    )


class Violation(BaseException):
    """An invariant is broken. No ``Exception``, because the relay goes on after every one of these."""

    def __init__(self, invariant: Invariant, details: str, seed: int) -> None:
        self.invariant = invariant
        self.seed = seed
        super().__init__(
            f"{invariant.name}: {details}, but {invariant.value}. See it step by step: {COMMAND} --replay {seed}"
        )

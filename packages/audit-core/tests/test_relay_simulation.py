"""A share of the simulated runs, and the mistakes that it must find. For many runs see ``simulation/__main__.py``."""

import logging
from collections import Counter

import pytest

from .simulation.invariants import COMMAND, Invariant, Violation
from .simulation.mutants import MUTANTS
from .simulation.worker import WRITES
from .simulation.world import World

RUNS = 250


@pytest.fixture(autouse=True)
def _quiet(caplog):
    """The relay reports every failure, and here nearly every step fails."""
    caplog.set_level(logging.CRITICAL + 1, "audit.relay")


def test_no_invariant_is_broken_whatever_goes_wrong():
    seen = Counter()
    for seed in range(RUNS):
        world = World(seed)
        world.play()
        seen += world.counts
    # Without this, a change of the probabilities could make the above true of nothing.
    expected = """
        events|events parked|events retried|trims|events trimmed|expired leases tidied|transactions rolled back
        kills|pauses|takeovers|leases lost|writes fenced off|writes of zombies to a sink
        outages|outages met|broken writes|refusals|partial writes
        log unreachable
        jumps of the database's clock back|jumps of the database's clock forward
        jumps of a worker's clock|changes of a worker's pace
        seeks|cursors paused|sinks added later
    """
    reached = {what.strip() for line in expected.strip().splitlines() for what in line.split("|")}
    reached |= {f"acknowledgements lost: {name}" for name in ("write", *WRITES)}
    assert reached == seen.keys()


def steps_of(seed):
    steps = []
    World(seed, trace=steps.append).play()
    return steps


def test_a_seed_is_always_the_same_run():
    assert steps_of(7) == steps_of(7)
    assert steps_of(7) != steps_of(8)


def test_a_violation_tells_its_invariant_and_how_to_see_it_again():
    words = str(Violation(Invariant.DENSE_LOG, "3 follows 1", seed=4711))
    assert words.startswith("DENSE_LOG: 3 follows 1")
    assert words.endswith(f"{COMMAND} --replay 4711")


def test_every_invariant_has_a_mutant_that_breaks_it():
    assert {mutant.breaks for mutant in MUTANTS.values()} == set(Invariant)


@pytest.mark.parametrize("name", MUTANTS)
def test_the_simulation_finds_this_mutant(name, monkeypatch):
    mutant = MUTANTS[name]
    mutant.build_in(monkeypatch.setattr)
    for seed in range(RUNS):
        try:
            World(seed).play()
        except Violation as violation:
            if violation.invariant is mutant.breaks:
                return
    pytest.fail(f"none of {RUNS} runs broke {mutant.breaks.name}")

"""Simulate the relay under everything that can go wrong, in virtual time. From the root of the repository:

    python -m packages.audit-core.tests.simulation --runs 100000 --jobs 2 --seed 0
    python -m packages.audit-core.tests.simulation --replay 4711
    python -m packages.audit-core.tests.simulation --replay 3 --mutant cursor_before_the_store

The first plays the seeds 0 to 99999 and says what was met in them; every seed is a run that is always the same.
The second prints each step of one run. The third does so with a mistake built in, which must be found.
The exit code is 1 when an invariant was broken.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from .invariants import Violation
from .mutants import MUTANTS
from .world import World

RUNS_PER_TASK = 250


def prepare(mutant: str | None) -> None:
    """Make a process ready to play."""
    logging.disable()  # the relay reports every failure, and here nearly every step fails
    if mutant is not None:
        MUTANTS[mutant].build_in(setattr)


def play(seeds: range) -> tuple[Counter[str], list[str]]:
    """What was met in these runs, and the violations in words."""
    counts: Counter[str] = Counter()
    violations = []
    for seed in seeds:
        world = World(seed)
        try:
            world.play()
        except Violation as violation:
            violations.append(str(violation))
        counts += world.counts
    return counts, violations


def play_all(first: int, runs: int, jobs: int, mutant: str | None) -> list[str]:
    """Play the runs in ``jobs`` processes and print what was met; the violations in words."""
    started = time.monotonic()
    counts: Counter[str] = Counter()
    violations: list[str] = []
    starts = range(first, first + runs, RUNS_PER_TASK)
    tasks = [range(start, min(start + RUNS_PER_TASK, first + runs)) for start in starts]
    with ProcessPoolExecutor(jobs, initializer=prepare, initargs=(mutant,)) as pool:
        for met, broken in pool.map(play, tasks):
            counts += met
            violations += broken
    for what, count in sorted(counts.items()):
        print(f"{count:12,}  {what}")
    print(f"{runs:,} runs in {time.monotonic() - started:.0f} s, {len(violations)} of them with a violation")
    return violations


def replay(seed: int) -> list[str]:
    """Print every step of one run; the violation in words, if there is one."""
    steps: list[str] = []
    violations = []
    try:
        World(seed, trace=steps.append).play()
    except Violation as violation:
        violations.append(str(violation))
    print(*steps, sep="\n")
    return violations


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="simulation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--replay", type=int, metavar="SEED", help="print the steps of this run")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="build this mistake in")
    arguments = parser.parse_args()
    if arguments.replay is not None:
        prepare(arguments.mutant)
        violations = replay(arguments.replay)
    else:
        violations = play_all(arguments.seed, arguments.runs, arguments.jobs, arguments.mutant)
    for violation in violations[:20]:
        print(violation, file=sys.stderr)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())

"""A share of the kills of ``crash/run.py``, and the mistakes that they must show. That file says how to run them all."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from tests.crash.invariants import Breach, Committed, Invariant, Outcome, broken
from tests.crash.mutants import MUTANTS

RUN = Path(__file__).parent / "crash" / "run.py"
LIMIT_SECONDS = 300
SHARE, SERVER_SHARE = 40, 60  # kills
MUTANT_KILLS, MUTANT_SEEDS = 40, 12  # which moment a kill hits depends on the machine, so a run may miss it
ON_POSTGRES = {"id_above_last"}  # SQLite has one writer at a time, so its ids never commit out of order

A, B, C = (UUID(int=n) for n in (1, 2, 3))
WHOLE = Outcome(
    committed=[Committed(A, "x", 1), Committed(B, "y", 1), Committed(C, "x", 2)],
    log=[(1, B), (2, A), (3, C)],
    waiting=0,
    parked=0,
    cursors={"summaries": 3, "archive": 3, "events": 3},
    arrivals={"archive": [B, A, C], "events": [B, A, B, A, C]},
    recovery_seconds=[4.9],
)
DAMAGE = [
    (Invariant.DENSE_LOG, {"log": [(1, B), (2, A), (4, C)]}),
    (Invariant.NOTHING_LOST, {"log": [(1, B), (2, A)], "cursors": {"archive": 2}}),
    (Invariant.NOTHING_LOST, {"arrivals": {"archive": [B, A, C], "events": [B, A]}}),
    (Invariant.COMMITTED_ONLY, {"committed": WHOLE.committed[:2]}),
    (Invariant.COMMITTED_ONLY, {"arrivals": {"archive": [B, A, C, UUID(int=4)]}}),
    (Invariant.NOTHING_TWICE, {"log": [*WHOLE.log, (4, B)], "cursors": {"archive": 4}}),
    (Invariant.NOTHING_TWICE, {"arrivals": {"archive": [B, A, B, C]}}),
    (Invariant.ORDER_PER_TARGET, {"log": [(1, B), (2, C), (3, A)]}),
    (Invariant.ORDER_PER_TARGET, {"arrivals": {"archive": [B, A, C], "events": [C, A, B, C]}}),
    (Invariant.CATCHES_UP, {"waiting": 1}),
    (Invariant.CATCHES_UP, {"parked": 1}),
    (Invariant.CATCHES_UP, {"cursors": {"summaries": 3, "archive": 2}}),
    (Invariant.CURSOR_NEVER_BACK, {"breaches": [Breach("CURSOR_NEVER_BACK", "archive", 3, 2)]}),
    (Invariant.EXCLUSIVE_LEASE, {"breaches": [Breach("EXCLUSIVE_LEASE", "archive", 3, 4)]}),
    (Invariant.RECOVERY, {"recovery_seconds": [0.1, 5.0]}),
    (Invariant.EVERY_POINT, {"points_missed": ["lease.taken"]}),
    (Invariant.NO_SURPRISE, {"surprises": ["a worker ended by itself"]}),
]


@pytest.fixture
def run(tmp_path):
    """Run the harness on a kind of database; its processes die with it when it takes too long."""

    def run(database, kills, seed, *arguments):
        variable = f"AUDIT_TEST_{database.upper()}"
        if database != "sqlite" and variable not in os.environ:
            pytest.skip(f"needs a server, named by {variable}")
        # No time is taken here: a machine that runs other tests as well says nothing about it.
        command = [RUN, "--kills", str(kills), "--seed", str(seed), "--recoveries", "0", *arguments]
        environment = {**os.environ, "AUDIT_TEST_DATABASE": database, "TMPDIR": str(tmp_path)}
        return subprocess.run(
            [sys.executable, *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )

    return run


def test_a_whole_trail_breaks_no_invariant():
    assert broken(WHOLE) == {}


@pytest.mark.parametrize(("invariant", "damage"), DAMAGE)
def test_each_invariant_can_be_broken(invariant, damage):
    assert set(broken(replace(WHOLE, **damage))) == {invariant}


def test_no_invariant_is_without_a_check():
    assert {invariant for invariant, _ in DAMAGE} == set(Invariant)


@pytest.mark.integration  # once, not in every environment of the matrix
def test_kills_break_nothing(run):
    done = run("sqlite", SHARE, seed=1)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.integration
@pytest.mark.parametrize("database", ["postgres", "mariadb"])
def test_kills_break_nothing_on_a_server(run, database):
    done = run(database, SERVER_SHARE, seed=1)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def assert_found(run):
    """Assert that some seed shows a mistake, says what it broke, and how to see it again."""

    def assert_found(mutant, database):
        broken = MUTANTS[mutant].breaks.name
        for seed in range(1, MUTANT_SEEDS + 1):
            done = run(database, MUTANT_KILLS, seed, "--mutant", mutant)
            if f"\n{broken}: " in f"\n{done.stderr}":
                assert done.returncode == 1
                assert f"--kills {MUTANT_KILLS} --seed {seed} --mutant {mutant}" in done.stderr
                return
        pytest.fail(f"none of {MUTANT_SEEDS} runs broke {broken}: {done.stderr}")

    return assert_found


@pytest.mark.integration  # once, not in every environment of the matrix
@pytest.mark.parametrize("mutant", sorted(MUTANTS.keys() - ON_POSTGRES))
def test_kills_show_this_mutant(assert_found, mutant):
    assert_found(mutant, "sqlite")


@pytest.mark.integration
@pytest.mark.parametrize("mutant", sorted(ON_POSTGRES))
def test_kills_show_this_mutant_on_postgres(assert_found, mutant):
    assert_found(mutant, "postgres")

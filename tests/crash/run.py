"""Kill the relay, its writers and its trimmer, over and over, and look whether the trail is whole.

    python tests/crash/run.py --kills 1000 --seed 1

The database is the one of the tests: AUDIT_TEST_DATABASE=sqlite (the default), postgres or mariadb, the servers named
by AUDIT_TEST_POSTGRES and AUDIT_TEST_MARIADB. `scripts/with-servers postgres -- env AUDIT_TEST_DATABASE=postgres` before
the command starts one.

Two rival workers with two sinks, two writers and a trimmer run as processes of their own. Each dies by SIGKILL at a step
that the seed chooses among those with the fewest deaths so far, or at a moment of its own. Now and then a worker is
stopped past its lease and goes on as a zombie. Then the time is taken from the death of a worker that holds a lease, with
the settings that users have, until what is committed next is in every sink. At the end nobody is killed, the workers
finish, and every invariant of invariants.py is looked at.

The exit code is 1 when one is broken. The same seed rolls the same dice, but processes are scheduled by the machine: to
see a failure again, run its seed a few times. --folder keeps the journal of all that the processes did, and the sinks.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "packages/audit-django/tests")]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_settings")

import django  # noqa: E402

django.setup()

from django.db import connections  # noqa: E402
from django.test.utils import setup_databases, teardown_databases  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from tests.crash import witness  # noqa: E402
from tests.crash.invariants import Outcome, broken  # noqa: E402
from tests.crash.mutants import MUTANTS  # noqa: E402
from tests.crash.supervisor import Supervisor  # noqa: E402


def play(supervisor: Supervisor, kills: int, recoveries: int) -> Outcome:
    """One run, from the first kill to the last look."""
    with supervisor.processes:
        supervisor.kill(kills)
        supervisor.recover(recoveries)
        supervisor.finish()
    outcome = witness.outcome(supervisor.sinks)
    outcome.recovery_seconds = supervisor.recovery_seconds
    outcome.points_missed = supervisor.points_missed
    outcome.surprises = supervisor.surprises
    return outcome


def figures(supervisor: Supervisor, outcome: Outcome) -> list[tuple[str, str]]:
    """What a reader wants to know of a run."""
    deaths = supervisor.deaths
    rows = [
        ("database", os.environ.get("AUDIT_TEST_DATABASE", "sqlite")),
        ("kills", f"{deaths.total():,} in {supervisor.kill_seconds:.0f} s"),
        *((f"  of a {role}", f"{n:,}") for role, n in sorted(supervisor.deaths_by_role.items())),
        ("  from outside, at any moment", f"{deaths['outside']:,}"),
    ]
    points, statements = {}, Counter()
    for step, n in deaths.items():
        if step.startswith(("before ", "after ")):
            statements[step.split()[0]] += n
        elif step != "outside":
            points[step] = n
    rows += [(f"  {side} a statement or COMMIT", f"{n:,}") for side, n in sorted(statements.items())]
    rows += [(f"  {point}", f"{n:,}") for point, n in sorted(points.items())]
    kinds = sum(step.startswith(("before ", "after ")) for step in deaths)
    known = sum(step.startswith(("before ", "after ")) for step in supervisor.passed)
    rows += [
        ("statements, before and after", f"died at {kinds} of {known}"),
        ("zombies", f"{supervisor.zombies:,}"),
        ("leases lost", f"{supervisor.leases_lost:,}"),
        ("events committed", f"{len(outcome.committed):,}"),
        *((f"arrivals in {name}", f"{len(ids):,}") for name, ids in outcome.arrivals.items()),
    ]
    if took := outcome.recovery_seconds:
        rows.append(("recoveries", f"{len(took)}: median {median(took):.2f} s, most {max(took):.2f} s"))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--recoveries", type=int, default=10, help="how often the time to recover is taken")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep the journal and the sinks here; it must be empty")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="build this mistake in")
    options = parser.parse_args()
    if options.mutant:
        MUTANTS[options.mutant].build_in()
    databases = setup_databases(verbosity=0, interactive=False, aliases={"default"})
    try:
        with tempfile.TemporaryDirectory(prefix="audit-crash-") as temporary:
            folder = options.folder or Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            supervisor = Supervisor(folder, options.seed)
            outcome = play(supervisor, options.kills, options.recoveries)
            rows = figures(supervisor, outcome)
    finally:
        connections.close_all()
        teardown_databases(databases, verbosity=0)
    table = Table("", "", show_header=False, box=None)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    found = broken(outcome)
    for invariant, details in found.items():
        print(f"{invariant.name}: {details}, but {invariant.value}.", file=sys.stderr)
    if found:
        command = f"python tests/crash/run.py --kills {options.kills} --seed {options.seed}"
        command += f" --mutant {options.mutant}" if options.mutant else ""
        print(f"Run it again and keep the journal: {command} --folder FOLDER", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # not without ending the children
    sys.exit(main())

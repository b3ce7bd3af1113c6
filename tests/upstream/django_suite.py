"""Django's own tests, plain and with every model audited: ``python -m tests.upstream.django_suite --share``.

Runs ``tests/runtests.py`` of the source distribution of the Django that is installed, twice, and says which tests end
otherwise under audit. Fails when one does that neither counts queries nor is listed in known_faults.toml.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import django
from tests.upstream.compare import Comparison, Outcomes, compare, known_faults, outcomes
from tests.upstream.source import source_of

HERE = Path(__file__).parent
SHARE = (HERE / "django_share.txt").read_text(encoding="utf-8").split()
"""The modules of Django's suite that write to the database most."""


NOT_MODULES = {"import_error_package", "test_runner_apps", "gis_tests", "templates"}  # as runtests.py has it
PROCESSES = 2


def run(labels: list[str], *, audited: bool, database: str, report: Path) -> Outcomes:
    """What became of each test. Its output is kept beside ``report``.

    Processes of our own share the modules, instead of ``--parallel``: an error there that cannot be pickled ends the whole run.
    """
    suite = source_of("django", django.__version__) / "tests"
    modules = labels or sorted(
        path.parent.name for path in suite.glob("*/__init__.py") if path.parent.name not in NOT_MODULES
    )
    ours = ("UPSTREAM_AUDITED", "UPSTREAM_POSTGRES", "DJANGO_SETTINGS_MODULE")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"PYTHONPATH": str(HERE / "on_path"), "UPSTREAM_REPORT": str(report)}
    if audited:
        environment["UPSTREAM_AUDITED"] = "1"
    if database == "postgres":
        environment["UPSTREAM_POSTGRES"] = os.environ["AUDIT_TEST_POSTGRES"]
    report.unlink(missing_ok=True)
    command = [sys.executable, "runtests.py", "--settings=upstream_settings", "--parallel=1", "--noinput"]
    with ExitStack() as stack:
        running = []
        for number in range(min(PROCESSES, len(modules))):
            log = stack.enter_context(report.with_suffix(f".{number}.log").open("wb"))
            share = [*command, *modules[number::PROCESSES]]
            running.append(subprocess.Popen(share, cwd=suite, env=environment, stdout=log, stderr=log))
        for process in running:
            process.wait()
    for number in range(len(running)):
        log = report.with_suffix(f".{number}.log")
        if b"\nRan " not in log.read_bytes():
            sys.exit(f"runtests.py ended before its tests did: see {log}")
    return outcomes(report)


def suite(labels: list[str], database: str) -> Comparison:
    """Run both and compare."""
    place = source_of("django", django.__version__).parent
    plain, audited = (
        run(labels, audited=audited, database=database, report=place / f"django-{database}-{name}.jsonl")
        for name, audited in (("plain", False), ("audited", True))
    )
    return compare(plain, audited, known_faults(HERE / "known_faults.toml", "django"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--share", action="store_true", help="the modules that write most, in minutes")
    which.add_argument("--all", action="store_true", help="all 17,000 tests and more")
    which.add_argument("--only", nargs="+", metavar="LABEL", help="these modules, classes or tests")
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    options = parser.parse_args()
    result = suite(options.only or (SHARE if options.share else []), options.database)
    for test, why in result.faults.items():
        print(f"{test}: {why}\n")
    print(f"Django {django.__version__}, {options.database}\n{result}")
    sys.exit(1 if result.faults else 0)


if __name__ == "__main__":
    main()

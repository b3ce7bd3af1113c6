"""Django's own tests, plain and with every model audited: ``python -m tests.upstream.django_suite --share``.

Runs ``tests/runtests.py`` of the source distribution of the Django that is installed, twice, and says which tests end
otherwise under audit. Fails when one does that neither counts queries nor is listed in known_faults.toml.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import django
from tests.upstream.compare import Comparison, Outcomes, compare, known_faults
from tests.upstream.source import source_of

HERE = Path(__file__).parent
SHARE = (HERE / "django_share.txt").read_text(encoding="utf-8").split()
"""The modules of Django's suite that write to the database most."""


def run(labels: list[str], *, audited: bool, database: str, report: Path) -> Outcomes:
    """What became of each test. Its output is kept beside ``report``."""
    suite = source_of("django", django.__version__) / "tests"
    ours = ("UPSTREAM_AUDITED", "UPSTREAM_POSTGRES", "DJANGO_SETTINGS_MODULE")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"PYTHONPATH": str(HERE / "on_path"), "UPSTREAM_REPORT": str(report)}
    if audited:
        environment["UPSTREAM_AUDITED"] = "1"
    if database == "postgres":
        environment["UPSTREAM_POSTGRES"] = os.environ["AUDIT_TEST_POSTGRES"]
    options = ("--settings=upstream_settings", "--parallel=2", "--noinput")
    report.unlink(missing_ok=True)
    with report.with_suffix(".log").open("wb") as log:
        command = [sys.executable, "runtests.py", *options, *labels]
        subprocess.run(command, cwd=suite, env=environment, stdout=log, stderr=log, check=False)
    if not report.exists():
        sys.exit(f"runtests.py ended before the tests did: see {log.name}")
    return json.loads(report.read_text(encoding="utf-8"))


def suite(labels: list[str], database: str) -> Comparison:
    """Run both and compare."""
    place = source_of("django", django.__version__).parent
    plain, audited = (
        run(labels, audited=audited, database=database, report=place / f"django-{database}-{name}.json")
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

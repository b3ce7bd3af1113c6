"""The tests of a published package, run twice: plain, and with every model audited. Says which end otherwise under audit."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.upstream.compare import Comparison, Outcomes, compare, known_faults, outcomes
from tests.upstream.source import CACHE

HERE = Path(__file__).parent
PROCESSES = 2


@dataclass(frozen=True)
class Suite:
    """How the tests of a package are started. Its known faults are listed under its ``name``."""

    name: str
    version: str
    folder: Path  # where the runner is started
    runner: Sequence[str]  # the words after `python`, up to the labels
    labels: Sequence[str]  # of all its tests
    share: Sequence[str]  # the labels of those that write to the database most

    def compare(self, labels: Sequence[str], database: str) -> Comparison:
        """Run both and compare."""
        plain, audited = (self.run(labels, database=database, audited=audited) for audited in (False, True))
        return compare(plain, audited, known_faults(HERE / "known_faults.toml", self.name))

    def run(self, labels: Sequence[str], *, audited: bool, database: str) -> Outcomes:
        """What became of each test. The lines and the output of the runner are kept beside the sources.

        Processes of our own share the labels: with ``--parallel``, an error that cannot be pickled ends the whole run.
        """
        CACHE.mkdir(parents=True, exist_ok=True)
        report = CACHE / f"{self.name}-{database}-{'audited' if audited else 'plain'}.jsonl"
        report.unlink(missing_ok=True)
        ours = ("UPSTREAM_AUDITED", "UPSTREAM_POSTGRES", "DJANGO_SETTINGS_MODULE")
        environment = {name: value for name, value in os.environ.items() if name not in ours}
        environment |= {"PYTHONPATH": str(HERE / "on_path"), "UPSTREAM_REPORT": str(report)}
        if audited:
            environment["UPSTREAM_AUDITED"] = "1"
        if database == "postgres":
            environment["UPSTREAM_POSTGRES"] = os.environ["AUDIT_TEST_POSTGRES"]
        logs = [report.with_suffix(f".{number}.log") for number in range(min(PROCESSES, len(labels)))]
        with ExitStack() as stack:
            running = []
            for number, log in enumerate(logs):
                output = stack.enter_context(log.open("wb"))
                command = [sys.executable, *self.runner, *labels[number::PROCESSES]]
                running.append(
                    subprocess.Popen(command, cwd=self.folder, env=environment, stdout=output, stderr=output)
                )
            for process in running:
                process.wait()
        for log in logs:
            if b"\nRan " not in log.read_bytes():
                sys.exit(f"The runner ended before its tests did: see {log}")
        return outcomes(report)

    def main(self) -> None:
        """The command line. Fails when a test ends otherwise, neither counts queries, nor is listed in known_faults.toml."""
        parser = argparse.ArgumentParser(description=__doc__)
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--share", action="store_true", help="the tests that write most, in minutes")
        which.add_argument("--all", action="store_true", help=f"all tests of {self.name}")
        which.add_argument("--only", nargs="+", metavar="LABEL", help="these modules, classes or tests")
        parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
        options = parser.parse_args()
        result = self.compare(
            options.only or (self.share if options.share else self.labels), options.database
        )
        for test, why in result.faults.items():
            print(f"{test}: {why}\n")
        print(f"{self.name} {self.version}, {options.database}\n{result}")
        sys.exit(1 if result.faults else 0)

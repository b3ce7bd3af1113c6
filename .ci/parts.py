"""The parts of a CI run, two lanes to run them in, and the account of them. `.ci/run` readies the machine.

A part passes when its command does. Skips are counted: one is wrong when its reason names an AUDIT_TEST_…
variable that the part had, or when no part ran the test at all; either fails the run. Only what a backend is
not able to do may be skipped everywhere, by a contract suite that says so in the words of ``INABILITY``.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parent.parent
NOX = str(ROOT / ".venv/bin/nox")
DATABASES = ("sqlite", "postgres", "mariadb")
LANES = 2
PART_LIMIT_SECONDS = 20 * 60
RUN_LIMIT_SECONDS = 40 * 60
VARIABLE = re.compile(r"AUDIT_TEST_[A-Z0-9_]+")
INABILITY = re.compile(r"this (server|storage|stream|summarizer|log|outbox|database|backend) ")
CLOSING_LINE = re.compile(r"^=+ .*\b(passed|failed|errors?|skipped|deselected|no tests ran)\b.* =+$")


@dataclass(frozen=True)
class Part:
    """One command. ``{junit}`` in it stands for the file to which pytest writes its results, if it runs.

    ``sees`` are the AUDIT_TEST_… variables that it gets; the others are taken from its environment.
    """

    name: str
    command: Sequence[str]
    sees: Sequence[str] = ()

    @property
    def has_tests(self) -> bool:
        return any("{junit}" in word for word in self.command)

    def environment(self, machine: Mapping[str, str]) -> dict[str, str]:
        return {k: v for k, v in machine.items() if not VARIABLE.fullmatch(k) or k in self.sees}


@dataclass
class Result:
    """What became of a part. The tests are named by their class and name in the JUnit file."""

    part: Part
    seconds: float
    exit_code: int
    output: str
    passed: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)
    had: frozenset[str] = frozenset()  # the AUDIT_TEST_… variables that were set

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and not self.failed

    @property
    def closing_lines(self) -> list[str]:
        lines = self.output.splitlines()
        return [line for line in lines if CLOSING_LINE.match(line)] if self.part.has_tests else lines[-2:]


def parts() -> list[Part]:
    """All parts, the longest first, so that no lane ends long after the other."""
    listing = subprocess.run([NOX, "--list", "--json"], cwd=ROOT, check=True, capture_output=True, text=True)
    tests = [item for item in json.loads(listing.stdout) if item["name"] == "tests"]
    on = {tag: [item["session"] for item in tests if tag in item["tags"]] for tag in DATABASES}

    def with_tests(session: str, *sees: str) -> Part:
        name = re.sub(r"^tests\((.*)\)$", r"\1", session)
        return Part(name, (NOX, "--session", session, "--", "--junitxml={junit}"), sees)

    return [
        with_tests("integration", "AUDIT_TEST_POSTGRES", "AUDIT_TEST_MARIADB"),
        with_tests(on["mariadb"][-1], "AUDIT_TEST_MARIADB"),  # the newest pair comes last
        with_tests(on["postgres"][-1], "AUDIT_TEST_POSTGRES"),
        Part("test", ("make", "test", "PYTEST_ARGS=--junitxml={junit}")),
        *map(with_tests, on["sqlite"]),
        with_tests("browser", "AUDIT_TEST_CHROMIUM"),
        with_tests("published(oscar)"),
        with_tests("published(wagtail)"),
        with_tests("wheels"),
        with_tests("floor"),
        Part("types", (NOX, "--session", "types")),
        Part("docs", (NOX, "--session", "docs")),
        Part("lint", (NOX, "--session", "lint")),
    ]


class Lanes:
    """Runs parts side by side, each in a process group of its own, so that all of it can be ended."""

    def __init__(self, machine: Mapping[str, str]) -> None:
        self._machine = machine
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ended = threading.Event()

    def run(self, chosen: Sequence[Part]) -> list[Result]:
        """Run them all, and say of each how it went when it is done. The results are in the order given."""
        results: dict[str, Result] = {}
        with ThreadPoolExecutor(LANES) as lanes:
            try:
                for done in as_completed([lanes.submit(self._run, part) for part in chosen]):
                    result = done.result()
                    results[result.part.name] = result
                    announce(result)
            finally:
                self._ended.set()
                for process in tuple(self._running):
                    os.killpg(process.pid, signal.SIGTERM)
        return [results[part.name] for part in chosen]

    def _run(self, part: Part) -> Result:
        with tempfile.TemporaryDirectory() as folder:
            junit, log = Path(folder, "junit.xml"), Path(folder, "log")
            environment = part.environment(self._machine)
            command = [word.replace("{junit}", str(junit)) for word in part.command]
            began = time.monotonic()
            with log.open("wb") as output:
                exit_code = self._wait(command, environment, output)
            result = Result(
                part,
                time.monotonic() - began,
                exit_code,
                log.read_text(errors="replace"),
                had=frozenset(filter(VARIABLE.fullmatch, environment)),
            )
            if part.has_tests and junit.exists():
                read_junit(junit, result)
            if part.has_tests and exit_code == 0 and not result.passed:
                result.exit_code = 5  # as pytest says it: no test ran
            return result

    def _wait(self, command: Sequence[str], environment: Mapping[str, str], output: object) -> int:
        if self._ended.is_set():
            return -signal.SIGTERM
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._running.add(process)
        try:
            return process.wait(PART_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output.write(f"\nEnded after {PART_LIMIT_SECONDS} s, the limit of one part.\n".encode())
            return process.wait()
        finally:
            self._running.discard(process)


def read_junit(path: Path, result: Result) -> None:
    """Add what pytest wrote to ``path`` to ``result``. An expected failure counts as passed."""
    for case in ElementTree.parse(path).iter("testcase"):
        test = f"{case.get('classname')}::{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            result.failed.add(test)
        elif skipped is not None and skipped.get("type") != "pytest.xfail":
            result.skipped[test] = skipped.get("message") or "no reason given"
        else:
            result.passed.add(test)
    result.passed -= result.failed  # an error in the teardown is a test case of its own


def announce(result: Result) -> None:
    """Say how a part went: in short when it passed, with all it printed when it failed."""
    took = f"{result.part.name}, {result.seconds:.0f} s"
    if result.ok:
        print(f"ok      {took}", *result.closing_lines, sep="\n        ", flush=True)
    else:
        print(f"FAILED  {took}, exit code {result.exit_code}; its output:", result.output, sep="\n")
        print(f"(end of {result.part.name})", flush=True)


def wrong_skips(results: Sequence[Result], *, complete: bool) -> list[str]:
    """What was skipped and should not have been. Only a ``complete`` run can say that no part ran a test."""
    wrong = [
        f"{result.part.name}: {test} was skipped although {variable} was set: {reason}"
        for result in results
        for test, reason in result.skipped.items()
        for variable in VARIABLE.findall(reason)
        if variable in result.had
    ]
    if complete:
        ran = set().union(*(result.passed | result.failed for result in results))
        skipped = {test: reason for result in results for test, reason in result.skipped.items()}
        never = {test: why for test, why in skipped.items() if test not in ran and not INABILITY.match(why)}
        wrong += [f"no part ran {test}: {reason}" for test, reason in never.items()]
    return wrong


def account(results: Sequence[Result], seconds: float, *, complete: bool) -> bool:
    """Print what took how long, every reason for a skip, and the sums; return whether all is well."""
    reasons: Counter[str] = Counter()
    where: dict[str, set[str]] = defaultdict(set)
    for result in results:
        for reason in result.skipped.values():
            reasons[reason] += 1
            where[reason].add(result.part.name)
    if reasons:
        print("\nSkipped, and why:")
        for reason, count in reasons.most_common():
            print(f"  {count} × {reason} ({', '.join(sorted(where[reason]))})")

    print(f"\n{'part':<32}{'seconds':>8}{'passed':>8}{'failed':>8}{'skipped':>8}")
    for result in sorted(results, key=lambda result: -result.seconds):
        row = f"{result.part.name:<32}{result.seconds:>8.0f}"
        if result.part.has_tests:
            row += f"{len(result.passed):>8}{len(result.failed):>8}{len(result.skipped):>8}"
        print(row + ("" if result.ok else "  FAILED"))
    print(f"{'all, in ' + str(LANES) + ' lanes':<32}{seconds:>8.0f}")
    slow = seconds > RUN_LIMIT_SECONDS
    if slow:
        print(f"FAILED  A run may take {RUN_LIMIT_SECONDS // 60} minutes: make a part faster.")

    wrong = wrong_skips(results, complete=complete)
    for line in wrong:
        print(f"WRONG SKIP  {line}")
    for result in results:
        if not result.ok:
            print(f"FAILED  {result.part.name}")
    passed = sum(len(result.passed) for result in results)
    # A part that fails without a failed test (lint, an installation) counts as one failure.
    failed = sum(len(result.failed) or (not result.ok) for result in results) + len(wrong) + slow
    print(f"\n{passed} passed, {failed} failed, {sum(reasons.values())} skipped", flush=True)
    return failed == 0


def main(names: Sequence[str]) -> int:
    every = parts()
    known = [part.name for part in every]
    if unknown := set(names).difference(known):
        print(f"No such part: {', '.join(sorted(unknown))}. There are: {', '.join(known)}.")
        return 2
    chosen = [part for part in every if not names or part.name in names]
    began = time.monotonic()
    results = Lanes(os.environ).run(chosen)
    return 0 if account(results, time.monotonic() - began, complete=not names) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))

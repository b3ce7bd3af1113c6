"""An application on a database of its own: its processes, and the account of what became of its events."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from django.db import connections
from testapp.models import Claim, Customer, Policy

from audit_core.event import RecordedEvent
from audit_core.storages.jsonl import JsonLinesStorage
from audit_django.log import DjangoLog
from audit_django.models import LogEntry, OutboxEntry

ROOT = Path(__file__).resolve().parents[2]
ALIAS = "own"  # of the application's database, in the process of the test
WAIT_SECONDS = 120.0  # for another process, which nothing here can wait for
LOOK_SECONDS = 0.05
CLAIMS = 6


class Process:
    """A process that ends with the block, and what it has said."""

    def __init__(self, command: Iterable[str], environment: dict[str, str], output: Path) -> None:
        self._output, self._errors = output, output.with_suffix(".errors")
        self.over = False
        with self._output.open("wb") as out, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, *command], env=environment, cwd=ROOT, stdout=out, stderr=errors
            )

    def lines(self) -> list[str]:
        """The whole lines so far."""
        return self._output.read_text().split("\n")[:-1]

    def errors(self) -> str:
        """What it complained of."""
        return self._errors.read_text()

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self.over = True
        self._process.terminate()
        try:
            code = self._process.wait(WAIT_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
        assert kind or code == 0, self.errors()


class Writer(Process):
    """A process of :mod:`tests.servers_own.writer`."""

    def acknowledged(self) -> list[tuple[int, int]]:
        """The claims whose COMMIT has returned, each with its new amount."""
        return [(int(claim), int(amount)) for claim, amount in self._words(2)]

    def refused(self) -> int:
        """How many transactions the database did not take, or did not say that it did."""
        return len(self._words(1))

    def _words(self, count: int) -> list[list[str]]:
        return [words for words in map(str.split, self.lines()) if len(words) == count]


class Relay(Process):
    """A process of ``manage.py audit relay``."""

    def states(self) -> set[str]:
        """How the stages said that they were."""
        return {json.loads(line)["state"] for line in self.lines()}


class Project:
    """The application on the ``database`` (an entry of DATABASES), with a file as its sink."""

    def __init__(self, folder: Path, database: dict[str, Any]) -> None:
        self.folder = folder
        self.archive = JsonLinesStorage(folder / "archive.jsonl")
        self.audit: dict[str, Any] = {
            "RELAY": "worker",
            "RELAY_OPTIONS": {
                "lease_seconds": 1,
                "summary_budget_seconds": 0.5,
            },  # what a restart leaves held is free soon
            "STORAGES": {
                "default": {"BACKEND": "database"},
                "archive": {"BACKEND": "jsonl", "OPTIONS": {"path": str(self.archive.path)}},
            },
        }
        self.database = database
        self._direct = deepcopy(database)  # the way of the test itself, whatever way the application takes
        self._processes: list[Process] = []

    def migrate(self) -> None:
        """Create the tables, and the claims that the writers change."""
        subprocess.run(
            [sys.executable, "-m", "django", "migrate", "-v", "0"],
            env=self._environment("migrate"), cwd=ROOT, check=True, timeout=WAIT_SECONDS,
        )  # fmt: skip
        with self.looked_at():
            customer = Customer.objects.using(ALIAS).create(name="Ada")
            policy = Policy.objects.using(ALIAS).create(number="P-1", customer=customer)
            for _ in range(CLAIMS):
                Claim.objects.using(ALIAS).create(policy=policy)

    @contextmanager
    def looked_at(self) -> Generator[None]:
        """The application's database as ``ALIAS``, in this process."""
        entries = connections.configure_settings({"default": {}, ALIAS: self._direct})
        connections.settings[ALIAS] = entries[ALIAS]
        try:
            yield
        finally:
            connections[ALIAS].close()
            del connections[ALIAS], connections.settings[ALIAS]

    # processes

    def relay(self, name: str = "relay") -> Relay:
        """Start a worker."""
        return self._start(Relay, ("-m", "django", "audit", "relay"), name)

    def writer(self, name: str) -> Writer:
        """Start a writer."""
        return self._start(Writer, ("-m", "tests.servers_own.writer"), name)

    def wait_until(self, condition: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
        """Look again and again. Fails when it does not come about in time, or a process ends by itself."""
        deadline = time.monotonic() + seconds
        while not condition():
            for process in self._processes:
                assert process.over or process.is_alive(), process.errors()
            assert time.monotonic() < deadline, f"It did not come about: {condition.__qualname__}"
            time.sleep(LOOK_SECONDS)

    def wait_for_saves(self, writers: Iterable[Writer], saves: int = 3) -> None:
        """Wait until each of these writers has had so many more acknowledged."""
        before = {writer: len(writer.acknowledged()) for writer in writers}
        self.wait_until(lambda: all(len(w.acknowledged()) >= known + saves for w, known in before.items()))

    def wait_for_refusals(self, writers: Iterable[Writer]) -> None:
        """Wait until each of these writers has been refused once more."""
        before = {writer: writer.refused() for writer in writers}
        self.wait_until(lambda: all(writer.refused() > known for writer, known in before.items()))

    def wait_for_deliveries(self) -> None:
        """Wait until the sink has more."""
        size = self.archived_bytes()
        self.wait_until(lambda: self.archived_bytes() > size)

    def archived_bytes(self) -> int:
        """How large the sink is."""
        return self.archive.path.stat().st_size if self.archive.path.exists() else 0

    def has_caught_up(self) -> bool:
        """Whether the outbox is empty, and the sink has all of the log."""
        with self.looked_at():
            if OutboxEntry.objects.using(ALIAS).exists():
                return False
            return DjangoLog(ALIAS).cursor("archive").seq == LogEntry.objects.using(ALIAS).count()

    # the account

    def assert_whole(self, writers: Iterable[Writer]) -> None:
        """What was committed is in the log and in the sink, once and in order, and nothing else is.

        The claims are the witness: an amount of N was committed in N transactions, whether they were acknowledged or not.
        """
        with self.looked_at():
            amounts = dict(Claim.objects.using(ALIAS).values_list("pk", "amount"))
            log = DjangoLog(ALIAS).read(0, 1_000_000)
        archive = list(self.archive.read())
        assert [recorded.seq for recorded in log] == list(range(1, len(log) + 1))
        expected = {str(claim): list(range(1, amount + 1)) for claim, amount in amounts.items()}
        assert _amounts(log) == expected
        assert _amounts(archive) == expected
        assert sorted(recorded.id for recorded in archive) == sorted({recorded.id for recorded in log})
        for writer in writers:
            assert writer.acknowledged()
            for claim, amount in writer.acknowledged():
                assert amount <= amounts[claim]

    def _start(self, kind: type[Any], command: tuple[str, ...], name: str) -> Any:
        process = kind(command, self._environment(name), self.folder / name)
        self._processes.append(process)
        return process

    def _environment(self, name: str) -> dict[str, str]:
        return {
            **os.environ,
            "AUDIT_TEST_DATABASE": "mariadb" if self.database["ENGINE"].endswith("mysql") else "sqlite",
            "AUDIT_TEST_WORKER_DATABASE": json.dumps(self.database),
            "AUDIT_TEST_AUDIT": json.dumps(self.audit),
            "DJANGO_SETTINGS_MODULE": "tests.servers_own.settings",
            "PYTHONPATH": os.pathsep.join(
                [str(ROOT), str(ROOT / "packages/audit-django/tests"), os.environ.get("PYTHONPATH", "")]
            ),
            "PGAPPNAME": name,  # by which pg_stat_activity tells the processes apart
        }


def _amounts(events: Iterable[RecordedEvent]) -> dict[str, list[int]]:
    """What each claim was changed to, in the order of these events."""
    amounts: dict[str, list[int]] = defaultdict(list)
    for event in (recorded.event for recorded in events):
        if (
            event.target
            and event.target.id
            and event.target.type == "testapp.Claim"
            and event.action == "update"
        ):
            amounts[event.target.id].append(event.diff["amount"].after)
    return dict(amounts)

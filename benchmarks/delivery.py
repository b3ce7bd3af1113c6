"""Whether every event of the log is in a storage exactly once, after a quiet run and after a bad one.

    AUDIT_TEST_S3=… python benchmarks/delivery.py s3 --events 100000
    AUDIT_TEST_S3=… AUDIT_TEST_TOXIPROXY=… python benchmarks/delivery.py s3 --events 100000 --faults --crash 'COMMAND'

Events are committed to an SQLite file, and worker processes deliver them as `audit relay` does, with summaries. Then everything
that the store holds is read back and compared with the log: ids, seqs, texts (by their hash) and summaries.

- A quiet run has one worker. It tells how fast the events went through the relay, the start of the process included, and
  the peak of the worker's memory after a tenth of them and at the end.
- With `--faults` two workers share the work while, spread over the run, the server is killed five times (by COMMAND, which
  starts it again and returns when it answers); the worker that delivers is killed three times, and twice stopped for longer
  than its lease, so that it goes on when another has taken its place; and Toxiproxy cuts the connections five times when
  the server has answered a write and the worker has not read the answer. All the time some requests are throttled at the
  client, as the store documents it.

The exit code is 0 when nothing is missing, twice, changed or parked, and all of this has happened. What the run has
stored is removed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from delivery_stores import STORES, Tally

from audit_core.log import Log
from audit_core.relay import Relay, RelaySettings, Report, Worker
from audit_core.sqlite import SqliteDatabase
from audit_core.testing import make_event

FILL_BATCH = 2_000
FAULTS = "cut crash kill cut crash freeze cut crash kill cut crash freeze cut crash kill".split()
FREEZE_SECONDS = RelaySettings().lease_seconds + 1  # less than SQLite waits for a writer that is stopped
CUT_SECONDS = 0.2
PATIENCE_SECONDS = 180  # without any progress
SINK = "store"


def fill(database: SqliteDatabase, total: int) -> None:
    """``total`` committed events that wait."""
    database.setup()
    for first in range(0, total, FILL_BATCH):
        events = [
            make_event(
                tenant=f"t{n % 3}",
                target=f"policies.Policy:{n % 500}",
                diff={"premium": (n, n + 1), "note": ("120 €", "line one\nline two \u2028 \U0001f600")},
            )
            for n in range(first, min(first + FILL_BATCH, total))
        ]
        with database.transaction():
            database.outbox.append(events)


def work(store: str, address: str, name: str, path: str, tally_path: str, in_trouble: bool) -> None:
    """A worker process, until SIGTERM."""
    tally = Tally(tally_path)
    sink = STORES[store](address, name, tally if in_trouble else None)
    database = SqliteDatabase(path)

    def note(report: Report) -> None:
        for stage in report.failures:
            tally.add(f"error {re.sub('[0-9]+', 'N', stage.error or '')[:140]}")

    stop = threading.Event()
    threading.Thread(
        target=lambda: (multiprocessing.parent_process().join(), stop.set()), daemon=True
    ).start()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    relay = Relay(database.log, {SINK: sink.storage})
    Worker(relay, release_connections=database.close, on_report=note).run(stop)


class Workers:
    """Worker processes; one that is killed is replaced."""

    def __init__(self, count: int, *arguments: Any) -> None:
        self._arguments = arguments
        self._processes = [self._start() for _ in range(count)]

    def _start(self) -> Any:
        process = multiprocessing.get_context("spawn").Process(target=work, args=self._arguments, daemon=True)
        process.start()
        return process

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()

    def of(self, owner: str) -> Any:
        """The worker that holds the lease of this owner; the first, when it has ended since."""
        return next((one for one in self._processes if f":{one.pid}:" in owner), self._processes[0])

    def replace(self, process: Any) -> None:
        process.kill()
        process.join()
        self._processes[self._processes.index(process)] = self._start()

    def peak_memory_mb(self) -> float:
        """The most that the first one had in memory so far."""
        with open(f"/proc/{self._processes[0].pid}/status") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))


class Proxy:
    """A Toxiproxy between the workers and the server."""

    def __init__(self, control: str, address: str, answer_bytes: int) -> None:
        server = urlsplit(address)
        upstream = f"{server.hostname}:{server.port}"
        self._proxies = f"{control.rstrip('/')}/proxies"
        self._name, self._answer_bytes = f"delivery-{uuid4().hex}", answer_bytes
        made = self._ask("POST", "", name=self._name, listen="127.0.0.1:0", upstream=upstream)
        self.address = address.replace(f"{server.hostname}:{server.port}", made["listen"])

    def _ask(self, method: str, path: str, **body: Any) -> Any:
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(self._proxies + path, data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or "null")

    @contextmanager
    def cutting(self) -> Iterator[None]:
        """End each connection as soon as the server has sent more than ``answer_bytes``."""
        toxics = f"/{self._name}/toxics"
        limit = {"type": "limit_data", "attributes": {"bytes": self._answer_bytes}}
        self._ask("POST", toxics, name="cut", stream="downstream", **limit)
        yield
        self._ask("DELETE", f"{toxics}/cut")

    def close(self) -> None:
        self._ask("DELETE", f"/{self._name}")


@dataclass
class Faults:
    """What happens to the server, the workers and the connections, one after the other, spread over the run."""

    log: Log
    total: int
    workers: Workers
    proxy: Proxy
    tally: Tally
    crash_command: str
    left: list[str] = field(default_factory=lambda: list(FAULTS))
    done: Counter[str] = field(default_factory=Counter)

    def due(self, position: int) -> None:
        """Do the next one, if it is time."""
        if self.left and position / self.total > 1 - len(self.left) / (len(FAULTS) + 1):
            fault = self.left.pop(0)
            getattr(self, fault)()
            self.done[fault] += 1

    def crash(self) -> None:
        """Kill the server, and start it again."""
        subprocess.run(self.crash_command, shell=True, check=True, capture_output=True)

    def kill(self) -> None:
        """Kill the worker that delivers."""
        self.workers.replace(self._delivering())

    def freeze(self) -> None:
        """Stop the worker that delivers until its lease is over, and let it go on."""
        pid = self._delivering().pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(FREEZE_SECONDS)
        os.kill(pid, signal.SIGCONT)

    def cut(self) -> None:
        """Cut the connections for moments, until the answer to a write is lost; reads have to pass between them."""
        before = lost = self.tally.counts()["lost"]
        while lost == before and not self._is_over():
            with self.proxy.cutting():
                time.sleep(CUT_SECONDS)
            time.sleep(2 * CUT_SECONDS)
            lost = self.tally.counts()["lost"]
        self.done["answers lost to the cuts"] += lost - before

    def _delivering(self) -> Any:
        while not (owner := self.log.cursor(SINK).owner) and not self._is_over():
            time.sleep(0.001)
        return self.workers.of(owner or "")

    def _is_over(self) -> bool:
        return self.log.cursor(SINK).seq == self.total


def deliver(log: Log, total: int, workers: Workers, faults: Faults | None) -> None:
    """Wait until the sink has everything, and print how it went."""
    started = moved_at = time.monotonic()
    position, early_mb = 0, 0.0
    while position < total:
        time.sleep(0.05)
        before, position = position, log.cursor(SINK).seq
        if position > before:
            moved_at = time.monotonic()
        elif time.monotonic() - moved_at > PATIENCE_SECONDS:
            raise SystemExit(f"Nothing moved for {PATIENCE_SECONDS} s: {log.cursor(SINK)}")
        if not early_mb and position >= total / 10:
            early_mb = workers.peak_memory_mb()
        if faults is not None:
            faults.due(position)
    seconds = time.monotonic() - started
    print(f"delivered in {seconds:,.1f} s: {total / seconds:,.0f} events/s")
    if faults is None:
        print(f"memory: {early_mb:,.0f} MB after a tenth, {workers.peak_memory_mb():,.0f} MB at the end")
    else:
        print("faults:", ", ".join(f"{name} {count}" for name, count in faults.done.items()))


def compare(log: Log, sink: Any, total: int) -> bool:
    """Print what the store has of the log; whether it is all of it, once."""
    expected: dict[UUID, tuple[int | None, bytes, str | None]] = {}
    while events := log.read(len(expected), FILL_BATCH):
        expected |= {event.id: (event.seq, event.leaf_hash, event.summary) for event in events}
    times: Counter[UUID] = Counter()
    changed = 0
    for event in sink.events():
        times[event.id] += 1
        changed += (event.seq, event.leaf_hash, event.summary) != expected.get(event.id)
    counts = {
        "log": len(expected),
        "documents": sink.documents(),
        "events": times.total(),
        "missing": len(expected.keys() - times.keys()),
        "twice": times.total() - len(times),
        "changed": changed,
        "parked": sum(log.parked_counts().values()),
    }
    print(", ".join(f"{name} {count:,}" for name, count in counts.items()))
    return list(counts.values()) == [total, total, total, 0, 0, 0, 0]


def main() -> None:
    """One run; the exit code says whether everything is there once."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", choices=STORES)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--crash", metavar="COMMAND", help="kills the server and starts it again")
    options = parser.parse_args()
    if options.faults and not options.crash:
        parser.error("--faults needs --crash")
    store, total = STORES[options.store], options.events
    address, name = os.environ[store.variable], f"delivery-{uuid4().hex}"
    sink = store(address, name)
    sink.storage.setup()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as at_the_end:
        at_the_end.callback(sink.drop)
        database = SqliteDatabase(f"{folder}/log.db")
        at_the_end.callback(database.close)
        fill(database, total)
        tally = Tally(f"{folder}/tally")
        if options.faults:
            proxy = Proxy(os.environ["AUDIT_TEST_TOXIPROXY"], address, store.answer_bytes)
            at_the_end.callback(proxy.close)
            address = proxy.address
        print(f"{options.store}: {total:,} events wait", flush=True)
        count = 2 if options.faults else 1
        workers = Workers(count, options.store, address, name, database.path, tally.path, options.faults)
        faults = None
        if options.faults:
            faults = Faults(database.log, total, workers, proxy, tally, options.crash)
        deliver(database.log, total, workers, faults)
        workers.stop()
        for kind, count in sorted(tally.counts().items()):
            print(f"{count:>7,}  {kind}")
        if not compare(database.log, sink, total) or (faults and faults.left):
            sys.exit(1)


if __name__ == "__main__":
    main()

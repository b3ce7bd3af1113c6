"""How fast the relay is, and how soon an event arrives.

    python benchmarks/relay.py                                                     # SQLite
    AUDIT_TEST_DATABASE=postgres AUDIT_TEST_POSTGRES=… python benchmarks/relay.py
    python benchmarks/relay.py sequence drain --backlog 1000000                    # some parts, with a larger backlog

The worker runs as `manage.py audit relay` does, one thread for the log and one for each sink, into sinks in memory that keep what
they are given. "plain SQL" moves the same rows from the outbox to the log by an INSERT and a DELETE a batch, without a lease:
what the database itself allows.

- sequence: from the outbox to the log, against plain SQL
- deliver: sequenced, delivered to one sink, acknowledged, without summaries
- summaries: the same with the sentences of the grammar summarizer written on the way
- three: the same into three sinks at once; each has every event at the end
- drain: a small and a large backlog; the speed must be the same
- horizon: a backlog, while another connection holds a transaction open that keeps the database from cleaning up
- latency: from the commit to the sink, when little happens and with 500 events a second, the writer being another process
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "packages/audit-django/tests"))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_settings")

import django

django.setup()

from django.db import connection, connections, transaction
from django.test.utils import setup_databases, teardown_databases

from audit_core.codec import leaf_hash
from audit_core.event import RecordedEvent
from audit_core.ids import uuid7
from audit_core.log import SEQUENCER
from audit_core.relay import Relay, RelaySettings, Worker
from audit_core.testing import make_event
from audit_django.log import DjangoLog
from audit_django.outbox import DjangoOutbox

TABLES = ("event", "outbox", "log", "cursor", "parked", "summary")
PLAIN = {
    "postgresql": [
        "INSERT INTO audit_django_log (seq, event_id, leaf_hash) "
        "SELECT %(n)s + row_number() OVER (ORDER BY id), event_id, leaf_hash "
        "FROM (SELECT * FROM audit_django_outbox ORDER BY id LIMIT %(limit)s) o",
        "DELETE FROM audit_django_outbox WHERE id IN (SELECT id FROM audit_django_outbox ORDER BY id LIMIT %(limit)s)",
    ],
}
PLAIN["sqlite"] = PLAIN["postgresql"]
PLAIN["mysql"] = [PLAIN["postgresql"][0], "DELETE FROM audit_django_outbox ORDER BY id LIMIT %(limit)s"]


def empty() -> None:
    """Start from nothing."""
    with connection.cursor() as cursor:
        for table in TABLES:
            verb = "DELETE FROM" if connection.vendor == "sqlite" else "TRUNCATE TABLE"
            cursor.execute(f"{verb} audit_django_{table}")


def fill(total: int) -> None:
    """``total`` committed events that wait."""
    template = make_event(diff={"status": ("pending", "approved"), "premium": ("120.00", "135.50")})
    outbox = DjangoOutbox()
    for first in range(0, total, 2000):
        events = []
        for n in range(first, min(first + 2000, total)):
            id_ = uuid7()
            text = template.text.replace(str(template.id), str(id_)).replace("Policy:1", f"Policy:{n}")
            events.append(RecordedEvent(id=id_, text=text, leaf_hash=leaf_hash(text)))
        with transaction.atomic():
            outbox.append(events)


class Sink:
    """Keeps what it is given, by id."""

    def __init__(self) -> None:
        self.events: dict[UUID, object] = {}

    def write(self, events: Sequence[RecordedEvent]) -> None:
        for event in events:
            self.events[event.id] = event


class Ids(Sink):
    """Keeps the ids alone: a million events would be a gigabyte."""

    def write(self, events: Sequence[RecordedEvent]) -> None:
        for event in events:
            self.events[event.id] = None


def rate(total: int, work: Callable[[], object]) -> float:
    """Events per second."""
    started = time.perf_counter()
    work()
    return total / (time.perf_counter() - started)


def show(name: str, value: str, *, note: str = "") -> None:
    print(f"{name:<44}{value:>12}  {note}", flush=True)


def plain(total: int, limit: int) -> None:
    """Sequencing in plain SQL."""
    for n in range(0, total, limit):
        with transaction.atomic(), connection.cursor() as cursor:
            for sql in PLAIN[connection.vendor]:
                cursor.execute(sql, {"n": n, "limit": limit})


@contextmanager
def running(relay: Relay):
    """A worker at work, in threads of this process."""
    stop = threading.Event()
    worker = Worker(relay, release_connections=connections.close_all)
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def work(
    total: int, sinks: int, settings: RelaySettings, *, summaries: bool = True, kind: type[Sink] = Sink
) -> float:
    """Events per second until every sink has everything and every cursor says so."""
    into = {f"sink{n}": kind() for n in range(sinks)}
    log = DjangoLog()
    started = time.perf_counter()
    with running(Relay(log, into, settings=settings, summaries=summaries)):
        while any(len(sink.events) < total for sink in into.values()) or not at_end(log, into, total):
            time.sleep(0.05)
        return total / (time.perf_counter() - started)


def at_end(log: DjangoLog, sinks: dict[str, Sink], total: int) -> bool:
    return all(log.cursor(name).seq == total for name in sinks)


def refill(total: int) -> None:
    empty()
    fill(total)


def sequence(options: argparse.Namespace, settings: RelaySettings) -> None:
    refill(options.events)
    base = rate(options.events, lambda: plain(options.events, settings.batch_size))
    refill(options.events)
    ours = rate(options.events, lambda: Relay(DjangoLog(), settings=settings).run_once(only=[SEQUENCER]))
    show("plain SQL", f"{base:,.0f}/s")
    show("sequenced", f"{ours:,.0f}/s", note=f"{ours / base:.2f} of plain SQL")


def deliver(options: argparse.Namespace, settings: RelaySettings) -> None:
    refill(options.events)
    show("delivered, without summaries", f"{work(options.events, 1, settings, summaries=False):,.0f}/s")


def summaries(options: argparse.Namespace, settings: RelaySettings) -> None:
    refill(options.events)
    show("delivered, with summaries", f"{work(options.events, 1, settings):,.0f}/s")


def three(options: argparse.Namespace, settings: RelaySettings) -> None:
    refill(options.events)
    show("into three sinks, with summaries", f"{work(options.events, 3, settings):,.0f}/s", note="each")


def drain(options: argparse.Namespace, settings: RelaySettings) -> None:
    for total in (10_000, options.backlog):
        refill(total)
        show(f"a backlog of {total:,}", f"{work(total, 1, settings, summaries=False, kind=Ids):,.0f}/s")


def horizon(options: argparse.Namespace, settings: RelaySettings) -> None:
    if connection.vendor == "sqlite":
        return
    refill(options.events)
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute(
            "START TRANSACTION ISOLATION LEVEL REPEATABLE READ"
            if connection.vendor == "postgresql"
            else "START TRANSACTION WITH CONSISTENT SNAPSHOT"
        )
        cursor.execute("SELECT count(*) FROM audit_django_cursor")
        speed = work(options.events, 1, settings, summaries=False)
        cursor.execute("ROLLBACK")
    other.close()
    show("behind a long transaction", f"{speed:,.0f}/s")


class Clocked(Sink):
    """Notes when each event came."""

    def write(self, events: Sequence[RecordedEvent]) -> None:
        now = time.time()
        for event in events:
            self.events.setdefault(event.id, now)


def write_live(settings_dict: dict, count: int, per_second: float, pipe) -> None:
    """In a process of its own: commit events at this rate, and tell when each was committed."""
    connections.close_all()
    connection.settings_dict.update(settings_dict)
    outbox, committed, chance = DjangoOutbox(), {}, random.Random(1)
    started = time.time()
    for n in range(count):
        # At any moment within its share of the time: else the pauses of the worker and ours keep step.
        time.sleep(max(0.0, started + (n + chance.random()) / per_second - time.time()))
        event = make_event(target=f"a.A:{n}")
        with transaction.atomic():
            outbox.append([event])
        committed[event.id] = time.time()
    pipe.send(committed)
    connections.close_all()


def latency(options: argparse.Namespace, settings: RelaySettings) -> None:
    for name, count, per_second in (("idle", 60, 0.7), ("500 events/s", 5000, 500.0)):
        empty()
        connections.close_all()
        sink = Clocked()
        ours, theirs = multiprocessing.Pipe()
        writer = multiprocessing.get_context("fork").Process(
            target=write_live, args=(connection.settings_dict, count, per_second, theirs)
        )
        writer.start()
        with running(Relay(DjangoLog(), {"sink": sink}, settings=settings)):
            committed = ours.recv()
            deadline = time.time() + 30
            while len(sink.events) < count and time.time() < deadline:
                time.sleep(0.01)
        writer.join()
        took = sorted(sink.events[id_] - at for id_, at in committed.items())
        p99 = took[int(len(took) * 0.99)]
        show(f"commit to sink, {name}", f"{p99:.2f} s", note=f"p99; median {statistics.median(took):.2f} s")


PARTS = (sequence, deliver, summaries, three, drain, horizon, latency)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = {part.__name__: part for part in PARTS}
    parser.add_argument("parts", nargs="*", choices=[[], *names], help="all of them")
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--backlog", type=int, default=100_000, help="for drain")
    parser.add_argument("--batch", type=int, default=RelaySettings().batch_size)
    options = parser.parse_args()
    databases = setup_databases(verbosity=0, interactive=False, aliases={"default"})
    print(f"{connection.vendor}, batches of {options.batch:,}, {options.events:,} events")
    try:
        for name in options.parts or names:
            names[name](options, RelaySettings(batch_size=options.batch))
    finally:
        connections.close_all()
        teardown_databases(databases, verbosity=0)


if __name__ == "__main__":
    main()

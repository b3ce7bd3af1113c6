"""No statement on the way of an event grows with what waits or with what is there: plans, work and round trips."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from database_work import TABLES, scans, statements, visited
from django.db import connection

from audit_core.log import SEQUENCER, SUMMARIES
from audit_django.log import DjangoLog, floor
from audit_django.models import AuditEvent, LogEntry, OutboxEntry, ParkedEntry, Summary

pytestmark = pytest.mark.django_db(transaction=True)

BATCH = 50
FEW, MANY, STALE = 500, 5000, 10
NOW = datetime(2026, 1, 1, tzinfo=UTC)
AT_MOST = {"rows": 10 * BATCH, "buffers": 20 * BATCH, "instructions": 150 * BATCH}
WALKED_TO_THE_LIMIT = {"SCAN audit_django_outbox"}  # SQLite's plan does not tell; the instructions do


class Trail:
    """A log of ``count`` events, an outbox of twice as many, and the calls of a relay that works on them."""

    def __init__(self, after_growth=None):
        self.log = DjangoLog()
        self._after_growth = after_growth
        self.count = 0
        self.event_ids = []
        self._park("sink", BATCH)

    def grow(self, count):
        head, more = self.log.cursor(SEQUENCER).seq, count - self.count
        keys = [uuid4() for _ in range(more)]
        OutboxEntry.objects.bulk_create(
            OutboxEntry(event_id=uuid4(), leaf_hash=b"x" * 32) for _ in range(2 * more)
        )
        AuditEvent.objects.bulk_create(
            AuditEvent(event_id=key, occurred_at=NOW, search="words", text="x" * 500) for key in keys
        )
        LogEntry.objects.bulk_create(
            LogEntry(seq=seq, event_id=key, leaf_hash=b"x" * 32) for seq, key in enumerate(keys, head + 1)
        )
        Summary.objects.bulk_create(Summary(event_id=key, language="en", text="A sentence.") for key in keys)
        self.log.seek(SEQUENCER, head + more)
        self.count = count
        self.event_ids += keys
        if self._after_growth:
            self._after_growth()

    def calls(self, batch=BATCH):
        """What the relay asks of its log, each to be called once."""
        log = self.log
        sequencer, summaries, sink, done = (
            log.acquire(name, "worker", 3600) for name in (SEQUENCER, SUMMARIES, "sink", "done")
        )
        sentences = dict.fromkeys(self.event_ids[:batch], "A better sentence.")
        return {
            "unsequenced": log.unsequenced,
            "sequence": lambda: log.sequence(sequencer, batch),
            "read": lambda: log.read(self.count // 2, batch),
            "read the first": lambda: log.read(0, batch),
            "read the last": lambda: log.read(self.count - batch, batch),
            "save_summaries": lambda: log.save_summaries(summaries, sentences),
            "cursor": lambda: log.cursor("sink"),
            "cursors": log.cursors,
            "acquire": lambda: log.acquire("sink", "worker", 3600),
            "advance": lambda: log.advance(sink, 1),
            "release": lambda: log.release(done),
            "parked_targets": lambda: log.parked_targets("sink"),
        }

    @staticmethod
    def _park(sink, count):
        ParkedEntry.objects.bulk_create(
            ParkedEntry(sink=sink, seq=n, event_id=uuid4(), target_type="a.B", target_id=n, parked_at=NOW)
            for n in range(count)
        )


def work(calls):
    return {name: visited(call) for name, call in calls.items()}


def grown(few, many):
    """The calls that visit more among ten times as many rows.

    Buffers have a bound of their own: PostgreSQL scans a table of some pages, which is fewer buffers than the look-ups.
    """
    return {
        name: (few[name], cost)
        for name, cost in many.items()
        if any(cost[kind] > 1.2 * few[name][kind] + 10 for kind in ("rows", "instructions"))
    }


def run(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)


def analyze():
    for table in TABLES:
        run(f"ANALYZE {'TABLE' if connection.vendor == 'mysql' else ''} {table}")


def forget_statistics():
    if connection.vendor == "postgresql":  # TRUNCATE, after the last test, has left those of the columns
        run(f"DELETE FROM pg_statistic WHERE starelid::regclass::text = ANY(ARRAY{TABLES})")
    elif connection.vendor == "sqlite":
        run("ANALYZE")  # makes the table
        run("DELETE FROM sqlite_stat1")
        run("ANALYZE sqlite_schema")  # reads it


def recalculate(automatic):
    for table in TABLES if connection.vendor == "mysql" else ():
        run(f"ALTER TABLE {table} STATS_AUTO_RECALC={'DEFAULT' if automatic else 0}")


STATISTICS = ["analysed", "analysed before a burst", "never analysed"]


@pytest.fixture(params=STATISTICS[:2] if connection.vendor == "mysql" else STATISTICS)
def trail(request, transactional_db):
    """Statistics are up to date, from when there were some rows, or missing (of which InnoDB knows no case)."""
    keep = request.param == "analysed before a burst"
    forget_statistics()
    recalculate(not keep)
    trail = Trail(analyze if request.param == "analysed" else None)
    trail.grow(STALE)
    if keep:
        analyze()
    yield trail
    recalculate(True)
    forget_statistics()


def test_nothing_grows_with_what_is_there_and_no_plan_scans_a_table(trail):
    trail.grow(FEW)
    few = work(trail.calls())
    trail.grow(MANY)
    many = work(trail.calls())
    assert grown(few, many) == {}
    assert {
        name: cost for name, cost in many.items() if any(cost[kind] > AT_MOST[kind] for kind in cost)
    } == {}
    assert all(many[name].total() >= BATCH for name in ("sequence", "read"))
    found = {name: set(scans(call)) for name, call in trail.calls().items()}
    found["sequence"] -= WALKED_TO_THE_LIMIT
    assert {name: tables for name, tables in found.items() if tables} == {}


def test_statements_that_grow_are_found():
    trail = Trail()
    bad = {
        "order without an index": lambda: list(OutboxEntry.objects.order_by("leaf_hash")[:BATCH]),
        "offset": lambda: list(LogEntry.objects.order_by("seq")[trail.count // 2 :][:BATCH]),
    }
    trail.grow(FEW)
    few = work(bad)
    trail.grow(MANY)
    many = work(bad)
    assert grown(few, many).keys() == bad.keys()
    assert all(max(cost.values()) > AT_MOST["rows"] for cost in many.values())
    assert scans(bad["order without an index"])


STATEMENTS = {
    "unsequenced": ["SELECT"],
    "sequence": {
        "postgresql": ["WITH"],
        "sqlite": ["BEGIN", "UPDATE", "INSERT", "DELETE", "COMMIT"],
        "mysql": ["BEGIN", "SELECT", "SELECT", "INSERT", "DELETE", "UPDATE", "COMMIT"],
    }[connection.vendor],
    "read": ["SELECT"],
    "read the first": ["SELECT"],
    "read the last": ["SELECT"],
    "save_summaries": ["BEGIN", "UPDATE", "INSERT", "COMMIT"],
    "cursor": ["SELECT"],
    "cursors": ["SELECT"],
    "acquire": ["BEGIN", "UPDATE", "SELECT", "COMMIT"],
    "advance": ["UPDATE"],
    "release": ["UPDATE"],
    "parked_targets": ["SELECT"],
}


@pytest.mark.parametrize("batch", [1, 500])
def test_each_call_has_its_statements_whatever_the_batch(monkeypatch, batch):
    monkeypatch.setattr(floor, "LOOK_SECONDS", 3600)
    trail = Trail()
    trail.grow(500)
    trail.log.sequence(trail.log.acquire(SEQUENCER, "worker", 3600), 1)  # PostgreSQL: the look at who writes
    assert {name: statements(call) for name, call in trail.calls(batch).items()} == STATEMENTS


@pytest.mark.skipif(
    connection.vendor != "postgresql", reason="needs PostgreSQL: AUDIT_TEST_DATABASE=postgres"
)
def test_postgresql_is_asked_who_writes_at_most_once_a_batch(monkeypatch):
    monkeypatch.setattr(floor, "LOOK_SECONDS", 0)
    trail = Trail()
    trail.grow(10)
    lease = trail.log.acquire(SEQUENCER, "worker", 3600)
    assert [statements(lambda: trail.log.sequence(lease, 5)) for _ in range(3)] == [["WITH", "SELECT"]] * 3

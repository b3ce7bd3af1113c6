"""PostgreSQL: what is committed late is never passed over, and behind a long transaction a batch costs what it always does."""

import itertools
from contextlib import ExitStack

import psycopg
import pytest
from database_work import visited
from django.db import connection
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from audit_core.ids import uuid7
from audit_core.log import SEQUENCER
from audit_django.log import DjangoLog, contract, floor
from audit_django.models import LogEntry, OutboxEntry

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor != "postgresql", reason="needs PostgreSQL: AUDIT_TEST_DATABASE=postgres"
    ),
]

OUTBOX = OutboxEntry._meta.db_table


class Clock:
    """Time that stands still until :meth:`tick`."""

    now = 1000.0

    def monotonic(self):
        return self.now

    def tick(self):
        """It is time for the next look at who writes."""
        self.now += 2 * floor.LOOK_SECONDS


class Writer:
    """A connection of its own, as another process has one."""

    def __init__(self):
        parameters = connection.get_connection_params()
        self.connection = psycopg.connect(
            **{
                key: parameters[key]
                for key in ("dbname", "user", "password", "host", "port")
                if key in parameters
            },
            autocommit=True,
        )

    def run(self, sql, *parameters):
        return self.connection.execute(sql, parameters)

    def write(self, count=1):
        """Take ids, and begin a transaction if none is open."""
        if not self.open:
            self.run("BEGIN")
        return [
            self.run(f"INSERT INTO {OUTBOX} (event_id, leaf_hash) VALUES (%s, %s) RETURNING id", uuid7(), b"x" * 32)
            .fetchone()[0]
            for _ in range(count)
        ]  # fmt: skip

    def commit(self):
        self.run("COMMIT")

    def rollback(self):
        self.run("ROLLBACK")

    @property
    def open(self):
        return self.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(floor, "time", clock)
    return clock


@pytest.fixture
def writers():
    with ExitStack() as stack:
        writers = [Writer() for _ in range(3)]
        for writer in writers:
            stack.enter_context(writer.connection)
        yield writers


class Relay:
    """One that has the sequencer's lease, and nothing but its own log to know what it has seen."""

    def __init__(self, clock):
        self.log = DjangoLog()
        self.lease = self.log.acquire(SEQUENCER, "relay", 3600)
        self.clock = clock

    @property
    def floor(self):
        return self.log._floor.id

    def sequence(self, limit=1000, look=True):
        """A batch, after which it may look at who writes."""
        if look:
            self.clock.tick()
        return self.log.sequence(self.lease, limit)

    def go_as_far_as_it_can(self):
        for _ in range(4):
            self.sequence()


@pytest.fixture
def relay(clock):
    return Relay(clock)


def test_a_lower_id_that_is_committed_late_is_taken(relay, writers):
    early, late, latest = writers
    [low] = early.write()
    high = late.write(20)
    late.commit()
    relay.go_as_far_as_it_can()
    assert LogEntry.objects.count() == len(high)
    latest.write()
    latest.commit()
    relay.go_as_far_as_it_can()
    assert relay.floor < low
    early.commit()
    assert relay.log.unsequenced()
    assert relay.sequence() == 1


def test_the_floor_rises_when_nobody_writes(relay, writers):
    first, second, _ = writers
    first.write(20)
    first.rollback()
    ids = second.write(20)
    second.commit()
    relay.go_as_far_as_it_can()
    assert relay.floor == ids[-1]
    assert not relay.log.unsequenced()


@pytest.mark.parametrize("ends", [Writer.commit, Writer.rollback])
def test_a_writer_that_idles_keeps_the_floor_back_until_it_ends(relay, writers, ends):
    idle, busy, _ = writers
    [low] = idle.write()
    for _ in range(10):
        ids = busy.write(10)
        busy.commit()
        relay.sequence()
    relay.go_as_far_as_it_can()
    assert relay.floor < low
    ends(idle)
    relay.go_as_far_as_it_can()
    assert relay.floor == ids[-1]
    assert OutboxEntry.objects.count() == 0


def test_a_writer_that_prepares_between_two_looks_keeps_the_floor_back(relay, writers, monkeypatch):
    """PREPARE TRANSACTION gives a writer another name. Few servers allow it, so here the answer is that of one that does."""
    prepared, busy, _ = writers
    [low] = prepared.write()
    busy.write(10)
    busy.commit()
    relay.sequence()
    [name] = prepared.run(
        "SELECT DISTINCT virtualtransaction FROM pg_locks WHERE pid = pg_backend_pid()"
    ).fetchone()
    column = floor._column
    monkeypatch.setattr(
        floor, "_column", lambda *args: [floor._PREPARED if v == name else v for v in column(*args)]
    )
    relay.go_as_far_as_it_can()
    assert relay.floor < low
    prepared.commit()
    assert relay.sequence() == 1
    relay.go_as_far_as_it_can()
    assert relay.floor > low


def test_ids_that_start_again_are_found_by_the_look_from_the_very_start(relay, writers):
    writer = writers[0]
    writer.write(50)
    writer.commit()
    relay.go_as_far_as_it_can()
    assert relay.floor >= 50
    writer.run(f"TRUNCATE {OUTBOX} RESTART IDENTITY")
    assert writer.write(3) == [1, 2, 3]
    writer.commit()
    assert relay.sequence() == 0  # passed over, until
    assert relay.log.unsequenced()
    assert relay.sequence() == 3
    relay.go_as_far_as_it_can()
    assert relay.floor == 3


def test_the_look_from_the_very_start_takes_a_hundredth_of_the_time(relay, clock, writers, monkeypatch):
    looks, ask = [], floor._column

    def take_two_seconds(connection, sql):
        looks.append(clock.now)
        clock.now += 2
        return ask(connection, sql)

    writers[0].write()
    writers[0].commit()
    relay.go_as_far_as_it_can()
    monkeypatch.setattr(floor, "_column", take_two_seconds)
    begin = clock.now
    for _ in range(600):
        relay.log.unsequenced()
        clock.now += 1
    assert len(looks) == pytest.approx((clock.now - begin) / 200, abs=1)


@pytest.mark.parametrize("rises", [True, False], ids=["with the floor", "a floor that never rises is found"])
def test_behind_a_long_transaction_a_batch_costs_what_it_always_does(relay, writers, monkeypatch, rises):
    if not rises:
        monkeypatch.setattr(
            floor.Floor, "id", property(lambda self: 0, lambda self, value: None), raising=False
        )
    monkeypatch.setattr(
        floor.Floor, "check", lambda self, connection: None
    )  # its share of the time is tested above
    reader, writer, _ = writers
    reader.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
    reader.run("SELECT 1")  # from now on nothing that is deleted goes away
    batch = 100

    def cost():
        writer.write(batch)
        writer.commit()
        looked = visited(relay.log.unsequenced)["buffers"]
        return looked, visited(lambda: relay.sequence(batch))["buffers"]

    early = max(cost() for _ in range(5))
    for _ in range(100):
        writer.run(f"INSERT INTO {OUTBOX} (event_id, leaf_hash) "
                   f"SELECT gen_random_uuid(), 'x' FROM generate_series(1, {3 * batch})")  # fmt: skip
        relay.sequence(3 * batch)
    late = [cost()]
    writer.run(f"ANALYZE {OUTBOX}")  # now the planner takes the table for an all but empty one
    late.append(cost())
    bounded = [now <= then + 50 for costs in late for then, now in zip(early, costs, strict=True)]
    assert all(bounded) if rises else not any(bounded), (early, late)


class Interleaving:
    """Some steps of three writers and a relay, and what must be true between any two of them."""

    def __init__(self, relay, writers):
        OutboxEntry.objects.all().delete()
        LogEntry.objects.all().delete()
        relay.log.seek(SEQUENCER, 0)
        self.relay = Relay(relay.clock)
        self.writers = writers
        self.held = [[], [], []]  # the ids of each writer's open transaction
        self.waiting = []  # and those that are committed
        self.committed = self.highest_taken = 0

    def write(self, number):
        self.held[number] += self.writers[number].write()

    def write_in_vain(self, number):
        """The lock goes with the savepoint that took it."""
        writer = self.writers[number]
        writer.run("SAVEPOINT here" if writer.open else "BEGIN; SAVEPOINT here")
        writer.write()
        writer.run("ROLLBACK TO SAVEPOINT here")

    def commit(self, number):
        if self.writers[number].open:
            self.writers[number].commit()
            self.waiting += self.held[number]
            self.committed += len(self.held[number])
        self.held[number] = []

    def rollback(self, number):
        if self.writers[number].open:
            self.writers[number].rollback()
        self.held[number] = []

    def sequence(self, limit, look=True):
        assert self.relay.log.unsequenced() is bool(self.waiting)
        moved = self.relay.sequence(limit, look)
        assert moved == min(limit, len(self.waiting))
        self.waiting.sort()
        self.highest_taken = max([self.highest_taken, *self.waiting[:moved]])
        del self.waiting[:moved]

    def sequence_without_a_look(self, limit):
        self.sequence(limit, look=False)

    def check(self):
        """Nothing is below the floor that waits or may yet appear."""
        ids = [*self.waiting, *itertools.chain(*self.held)]
        assert [id_ for id_ in ids if id_ <= self.relay.floor] == [], "passed over"

    def end(self):
        """All that was committed is in the log, and the floor has come to the end."""
        for number in range(3):
            self.commit(number)
        self.sequence(1000)
        self.relay.go_as_far_as_it_can()
        assert LogEntry.objects.count() == self.committed
        assert self.relay.floor == self.highest_taken


STEPS = [
    *itertools.product([Interleaving.write, Interleaving.commit], range(3)),
    *itertools.product([Interleaving.rollback, Interleaving.write_in_vain], [2]),
    *itertools.product([Interleaving.sequence], [1, 3, 1000, 1000]),
    *itertools.product([Interleaving.sequence_without_a_look], [1, 1000]),
]


def interleave(relay, writers, **options):
    @settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), **options)
    @given(st.lists(st.sampled_from(STEPS), min_size=20, max_size=40))
    def check(steps):
        interleaving = Interleaving(relay, writers)
        try:
            for step, argument in steps:
                step(interleaving, argument)
                interleaving.check()
            interleaving.end()
        finally:
            for number in range(3):
                interleaving.rollback(number)

    check()


def test_no_order_of_writes_commits_and_batches_passes_an_event_over(relay, writers):
    interleave(relay, writers, max_examples=40)


class AtOnce(floor.Floor):
    """A mistake: the last id is the floor."""

    def taken(self, connection, last_id, *, all_taken):
        self.id = max(self.id, last_id)


class Late(floor.Floor):
    """A mistake: the id that becomes the floor was taken after the look at who writes."""

    _candidate = property(lambda self: self._highest, lambda self, value: None)


class Blind(floor.Floor):
    """A mistake: who writes is not compared with who wrote."""

    _writers = property(lambda self: frozenset(), lambda self, value: None)


@pytest.mark.parametrize("mistaken", [AtOnce, Late, Blind])
def test_a_floor_with_a_mistake_is_found(relay, writers, monkeypatch, mistaken):
    monkeypatch.setattr(contract, "Floor", mistaken)
    with pytest.raises(AssertionError, match="passed over"):
        interleave(
            relay,
            writers,
            max_examples=300,
            derandomize=True,
            phases=[Phase.generate],
            report_multiple_bugs=False,
        )

"""Locks: who waits for whom, and that nobody fails who would not have without us. Names end in the numbers of traps."""

import queue
import threading
import time
from contextlib import closing

import pytest
import worker_process
from django.db import connection, connections, transaction
from django.db.models import F
from testapp.models import Claim, Customer, Document, Gauge, Member, Policy

from audit_django.models import AuditEvent

pytestmark = pytest.mark.django_db(transaction=True)

WAIT_SECONDS = 10  # for what comes at once

SAVING = """
import sys, time
import django
django.setup()
from django.db import connection, transaction
from django.db.models import F
from testapp.models import Claim, Customer, Document, Gauge, Member, Policy
connection.settings_dict["OPTIONS"]["timeout"] = 60  # SQLite's waiting is not fair; who began with a read is told at once
worker, until = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
own = Gauge.objects.create(qty=worker)
saves = 0
print("ready", flush=True)
sys.stdin.readline()
while time.monotonic() < until:
    own.ratio = saves
    own.save()
    with transaction.atomic():
        own.price = saves
        own.save()
        Gauge.objects.filter(pk=own.pk).update(ratio=F("ratio") + 1)
    with transaction.atomic():
        Member(code=f"{worker}-{saves}").save()
        Member.objects.filter(code=f"{worker}-{saves}").delete()
    Gauge.objects.bulk_create([Gauge(qty=worker)], ignore_conflicts=True)
    saves += 1
print(saves)
"""


@pytest.mark.slow
@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's locks")
def test_two_processes_that_save_wait_for_one_another_50():
    """None of them is told that the database is locked: whoever wants to write waits, and begins with that."""
    seconds = 10
    processes = [worker_process.start(SAVING, number, seconds) for number in (1, 2)]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=seconds + WAIT_SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [err for _, err in outputs] == ["", ""]
    saved = [int(out) for out, _ in outputs]
    assert min(saved) > 10
    assert AuditEvent.objects.filter(action="delete").count() == sum(saved)


class InAThread:
    """``work`` in a thread with a connection of its own; :meth:`end` waits for it, and raises what it raised."""

    def __init__(self, work):
        self._work, self._error = work, None
        self._session = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            with connection.cursor() as cursor:
                postgresql = connection.vendor == "postgresql"
                cursor.execute("SELECT pg_backend_pid()" if postgresql else "SELECT connection_id()")
                self._session.put(cursor.fetchone())
            self._work()
        except BaseException as error:
            self._error = error
        finally:
            connections.close_all()

    def waits_for_a_lock(self):
        """Return when the database says that the thread waits for a row's lock."""
        question = {
            "postgresql": "SELECT cardinality(pg_blocking_pids(%s))",
            "mysql": "SELECT count(*) FROM information_schema.innodb_trx "
            "WHERE trx_mysql_thread_id = %s AND trx_state = 'LOCK WAIT'",
        }[connection.vendor]
        session = self._session.get(timeout=WAIT_SECONDS)
        deadline = time.monotonic() + WAIT_SECONDS
        with closing(connections.create_connection("default")) as other, other.cursor() as cursor:
            while time.monotonic() < deadline and self._thread.is_alive():
                cursor.execute(question, session)
                if cursor.fetchone() != (0,):
                    return
                time.sleep(
                    0.15
                )  # nothing tells of it; InnoDB's table is made anew when nobody has read it for 0.1 s
        raise AssertionError("nobody waits")

    def end(self):
        self._thread.join(WAIT_SECONDS)
        assert not self._thread.is_alive()
        if self._error:
            raise self._error


waiting = pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks no rows")

MANY = {
    "update": lambda gauges: gauges.update(price=9),
    "update by an expression": lambda gauges: gauges.update(price=F("price") + 7),
    "bulk_update": lambda gauges: Gauge.objects.bulk_update(
        [Gauge(pk=gauge.pk, price=9) for gauge in gauges.order_by("-pk")], ["price"]
    ),
    "delete": lambda gauges: gauges.delete(),
    "upsert": lambda gauges: Gauge.objects.bulk_create(
        [Gauge(qty=gauge.qty, price=9) for gauge in gauges.order_by("-pk")],
        update_conflicts=True, update_fields=["price"],
        **({"unique_fields": ["qty"]} if connection.vendor == "postgresql" else {}),
    ),
}  # fmt: skip


@waiting
def test_a_deletion_locks_in_the_order_in_which_django_deletes_51():
    """Rows that refer to others go first: whoever saves one of them, and then the other, must not meet it halfway."""
    policy = Policy.objects.create(number="P-1", customer=Customer.objects.create(name="Jane"))
    claim = Claim.objects.create(policy=policy)
    document = Document.objects.create(claim=claim, title="photo")
    with transaction.atomic():
        document.title = "sketch"
        document.save()
        deletion = InAThread(Claim.objects.get(pk=claim.pk).delete)
        deletion.waits_for_a_lock()
        claim.amount = 5
        claim.save()
    deletion.end()
    assert not Claim.objects.exists()


@waiting
@pytest.mark.parametrize("kind", MANY)
def test_rows_are_locked_in_the_order_of_their_keys_51(kind):
    """Whoever waits for the first row has locked none that comes after it: so no two wait for each other."""
    for pk in range(8, 0, -1):  # the heap and the other index have them the other way round
        Gauge.objects.create(pk=pk, qty=100 - pk)
    with transaction.atomic():
        Gauge.objects.select_for_update().get(pk=1)
        other = InAThread(lambda: MANY[kind](Gauge.objects.filter(qty__lt=100)))
        try:
            other.waits_for_a_lock()
            rest = Gauge.objects.select_for_update(skip_locked=True).filter(pk__gt=1)
            assert sorted(gauge.pk for gauge in rest) == [2, 3, 4, 5, 6, 7, 8]
        finally:
            transaction.set_rollback(True)
    other.end()
    assert [gauge.price for gauge in Gauge.objects.all()] == ([] if kind == "delete" else [9] * 8)


@waiting
def test_many_overlapping_updates_deadlock_never_51():
    for pk in range(40, 0, -1):
        Gauge.objects.create(pk=pk, qty=100 - pk)

    def work(forwards):
        for _ in range(15):
            Gauge.objects.order_by("qty" if forwards else "-qty").update(price=F("price") + 1)

    threads = [InAThread(lambda number=number: work(number % 2)) for number in range(4)]
    for thread in threads:
        thread.end()
    assert set(Gauge.objects.values_list("price", flat=True)) == {2 + 4 * 15}


ABSENT = {
    "save": lambda code: Member(code=code).save(),
    "get_or_create": lambda code: Member.objects.get_or_create(code=code),
    "update_or_create": lambda code: Member.objects.update_or_create(code=code),
    "ignored conflicts": lambda code: Member.objects.bulk_create([Member(code=code)], ignore_conflicts=True),
    "update of none": lambda code: Member.objects.filter(code=code).update(code=code),
    "delete of none": lambda code: Member.objects.filter(code=code).delete(),
}


@waiting
@pytest.mark.parametrize("kind", ABSENT)
def test_a_row_that_is_not_there_keeps_nobody_waiting_51(kind):
    """On MariaDB a lock of no row may be one of the gap where it would be: two that do it and insert wait for each other."""
    Member.objects.create(code="a")
    with transaction.atomic():
        ABSENT[kind]("c")
        other = InAThread(lambda: (ABSENT[kind]("d"), Member.objects.create(code="b")))
        other.end()
        Member.objects.create(code="e")
    assert set(Member.objects.values_list("code", flat=True)) >= {"a", "b", "e"}

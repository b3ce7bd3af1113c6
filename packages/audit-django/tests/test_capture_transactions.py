"""An event is in the transaction of its change: committed with it, rolled back with it, refused with it."""

import os
from unittest import mock

import pytest
from database_work import statements
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from testapp.models import BestEffort, Customer, Gauge, Policy, Restaurant, Tag

from audit_core.errors import EncodeError
from audit_django import audit_context, disabled, record
from audit_django.capture import guard, transactions
from audit_django.capture.guard import EventNotWritten
from audit_django.models import AuditEvent, OutboxEntry
from audit_django.testing import captured_events

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


def actions(using="default"):
    return list(AuditEvent.objects.using(using).order_by("number").values_list("action", flat=True))


class Refuse(Exception):
    """Rolls a block back."""


def test_a_create_in_autocommit_is_one_transaction():
    made = statements(lambda: Tag.objects.create(name="x"))
    assert made == ["BEGIN", "INSERT", "INSERT", "INSERT", "COMMIT"]  # the row, the event, its outbox row
    assert AuditEvent.objects.count() == OutboxEntry.objects.count() == 1


def test_an_update_in_autocommit_is_one_transaction():
    tag = Tag.objects.create(name="x")
    tag.name = "y"
    assert statements(tag.save) == ["BEGIN", "SELECT", "UPDATE", "INSERT", "INSERT", "COMMIT"]


def test_a_hundred_changes_are_flushed_at_once():
    def create():
        with transaction.atomic():
            for number in range(100):
                Tag.objects.create(name=str(number))

    assert statements(create) == ["BEGIN", *["INSERT"] * 100, "INSERT", "INSERT", "COMMIT"]
    assert AuditEvent.objects.count() == OutboxEntry.objects.count() == 100


def test_a_failed_update_in_autocommit_leaves_no_event_1():
    Gauge.objects.create(qty=1)
    gauge = Gauge.objects.create(qty=2)
    gauge.qty = 1
    with pytest.raises(IntegrityError):
        gauge.save()
    assert actions() == ["create", "create"]


@pytest.fixture
def no_event_table():
    """The audit table is missing, as before its migration."""
    table = AuditEvent._meta.db_table
    quoted = connection.ops.quote_name
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {quoted(table)} RENAME TO {quoted('elsewhere')}")
    yield
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {quoted('elsewhere')} RENAME TO {quoted(table)}")


def test_no_event_no_change_in_autocommit_2(no_event_table):
    with pytest.raises(EventNotWritten, match="migrate audit_django"):
        Tag.objects.create(name="x")
    assert not Tag.objects.exists()
    assert connection.get_autocommit()


def test_no_event_no_change_in_a_transaction_2(no_event_table):
    with pytest.raises(DatabaseError, match="could not be written"), transaction.atomic():
        Tag.objects.create(name="x")
    assert not Tag.objects.exists()


@pytest.fixture
def disk_full():
    """No room for another event: for real on SQLite, with the server's own error number elsewhere."""
    table = AuditEvent._meta.db_table
    Tag.objects.create(name="so that no table is empty")
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("VACUUM")  # other tests have left free pages
            cursor.execute("PRAGMA page_count")
            cursor.execute(f"PRAGMA max_page_count = {cursor.fetchone()[0] + 8}")
            yield
            cursor.execute("PRAGMA max_page_count = 1073741823")
            return
        if connection.vendor == "postgresql":
            cursor.execute(
                "CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE 'No space left on device' USING ERRCODE = 'disk_full'; END $$"
            )
            cursor.execute(
                f"CREATE TRIGGER full_disk BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION disk_full()"
            )
        else:
            cursor.execute(
                f"CREATE TRIGGER full_disk BEFORE INSERT ON {table} FOR EACH ROW "
                "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1021, MESSAGE_TEXT = 'Disk full'"
            )
    yield
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("DROP FUNCTION disk_full CASCADE")
        else:
            cursor.execute("DROP TRIGGER full_disk")


def test_no_event_no_change_when_the_disk_is_full_2(disk_full):
    saved = Tag.objects.count()
    with pytest.raises(EventNotWritten, match="so the change was not saved either") as caught:
        for _ in range(50):  # SQLite's file has a little room left
            Tag.objects.create(name="x" * 50)
            saved += 1
            if connection.vendor == "sqlite":
                record("padding", extra={"text": "x" * 3000})
    assert "full" in str(caught.value) or "space" in str(caught.value)
    assert connection.get_autocommit()
    events = AuditEvent.objects.filter(action="create")
    assert Tag.objects.count() == events.count() == OutboxEntry.objects.count() - _padding() == saved


def _padding():
    return AuditEvent.objects.filter(action="padding").count()


def test_the_error_caught_inside_the_block_still_rolls_back_2():
    customer = Customer(name="x")
    with (
        mock.patch("audit_django.recording.Recorder.build", side_effect=EncodeError("no form")),
        pytest.raises(transaction.TransactionManagementError),
        transaction.atomic(),
    ):
        with pytest.raises(EncodeError):
            customer.save()
        Customer.objects.count()
    assert not Customer.objects.exists()


def test_a_value_without_a_form_is_refused():
    class Strange:
        pass

    tag = Tag.objects.create(name="x")
    with pytest.raises(EncodeError, match="audit_encode_value"):
        record("approved", tag, extra={"what": Strange()})
    assert actions() == ["create"]


def test_an_inner_savepoint_takes_its_events_along_3():
    with transaction.atomic():
        Tag.objects.create(name="outer")
        with pytest.raises(Refuse), transaction.atomic():
            Tag.objects.create(name="inner")
            raise Refuse
        Tag.objects.create(name="after")
    assert [row.event.target.repr for row in AuditEvent.objects.order_by("number")] == ["outer", "after"]


def test_events_written_inside_a_savepoint_survive_it_3():
    """A query on the audit tables inside the savepoint flushes what came before it, too."""
    with transaction.atomic():
        Tag.objects.create(name="outer")
        with pytest.raises(Refuse), transaction.atomic():
            Tag.objects.create(name="inner")
            assert AuditEvent.objects.count() == 2
            raise Refuse
        assert AuditEvent.objects.count() == 1
    assert [row.event.target.repr for row in AuditEvent.objects.order_by("number")] == ["outer"]


def test_a_savepoint_made_by_hand_3():
    with transaction.atomic():
        Tag.objects.create(name="outer")
        sid = connection.savepoint()
        Tag.objects.create(name="inner")
        connection.savepoint_rollback(sid)
    assert [row.event.target.repr for row in AuditEvent.objects.all()] == ["outer"]


def test_after_a_rollback_the_database_is_compared_with_4():
    tag = Tag.objects.create(name="x")
    with pytest.raises(Refuse), transaction.atomic():
        tag.name = "lost"
        tag.save()
        raise Refuse
    tag.save()
    event = AuditEvent.objects.order_by("number").last().event
    assert (event.diff["name"].before, event.diff["name"].after) == ("x", "lost")


def test_each_alias_has_its_own_6():
    with transaction.atomic(using="other"):
        Tag.objects.using("other").create(name="there")
    assert actions("other") == ["create"]
    assert actions() == []
    with pytest.raises(Refuse), transaction.atomic(using="other"):
        Tag.objects.using("other").create(name="lost")
        with transaction.atomic():
            Tag.objects.create(name="here")
        raise Refuse
    assert (actions("other"), actions()) == (["create"], ["create"])


def test_durable_and_savepoint_false_blocks_7():
    with transaction.atomic(durable=True):
        Tag.objects.create(name="x")
        with transaction.atomic(savepoint=False):
            Tag.objects.create(name="y")
    with pytest.raises(Refuse), transaction.atomic():
        with transaction.atomic(savepoint=False):
            Tag.objects.create(name="z")
        raise Refuse
    assert actions() == ["create", "create"]


def test_autocommit_off():
    transaction.set_autocommit(False)
    try:
        Tag.objects.create(name="x")
        transaction.rollback()
        Tag.objects.create(name="y")
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert [row.event.target.repr for row in AuditEvent.objects.all()] == ["y"]


def test_post_save_handlers_run_outside_our_transaction():
    """In autocommit a handler may open a durable block, and what was saved stays when a handler fails."""
    from django.db.models.signals import post_save

    def handler(sender, instance, **kwargs):
        with transaction.atomic(durable=True):
            Tag.objects.create(name="by the handler")
        raise Refuse

    post_save.connect(handler, sender=Customer)
    try:
        with pytest.raises(Refuse):
            Customer.objects.create(name="Jane")
    finally:
        post_save.disconnect(handler, sender=Customer)
    assert Customer.objects.count() == 1
    assert actions() == ["create", "create"]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's locks")
def test_our_transactions_take_the_write_lock_first_50(tmp_path):
    tag = Tag.objects.create(name="x")
    with CaptureQueriesContext(connection) as queries:
        tag.name = "y"
        tag.save()
    assert queries[0]["sql"] == "BEGIN IMMEDIATE"
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        tag.name = "z"
        tag.save()
        assert connection.connection.in_transaction
        assert transactions.state_of(connection).holds_write_lock
    assert queries[0]["sql"] == "BEGIN"
    assert not transactions.state_of(connection).holds_write_lock


@pytest.mark.parametrize("error", [RuntimeError("bug"), KeyboardInterrupt(), DatabaseError("disk full")])
def test_a_flush_that_fails_leaves_the_connection_usable_52(error):
    with (
        mock.patch("audit_django.outbox.DjangoOutbox.append", side_effect=error),
        pytest.raises(type(error)),
        transaction.atomic(),
    ):
        Tag.objects.create(name="x")
    assert connection.get_autocommit()
    assert not connection.in_atomic_block
    assert not Tag.objects.exists()
    Tag.objects.create(name="y")
    assert actions() == ["create"]


def test_callbacks_of_the_user_are_as_before_53():
    order = []

    def fail():
        order.append("fails")
        raise Refuse

    with transaction.atomic():
        Tag.objects.create(name="x")
        transaction.on_commit(lambda: order.append(AuditEvent.objects.count()))
        transaction.on_commit(fail, robust=True)
        transaction.on_commit(lambda: order.append("last"))
    assert order == [1, "fails", "last"]


def test_rolled_back_connections_forget_their_events():
    connection.ensure_connection()
    try:
        with transaction.atomic():
            Tag.objects.create(name="x")
            connection.close()
    except DatabaseError:
        pass
    assert (
        len(actions()) == Tag.objects.count()
    )  # closing a database in memory does nothing, so there both are 1
    Tag.objects.create(name="y")
    assert len(actions()) == Tag.objects.count()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_owns_none_of_its_parents_events_58():
    with transaction.atomic():
        Tag.objects.create(name="x")
        pid = os.fork()
        if pid == 0:
            state = transactions.state_of(connection)
            with mock.patch.object(transactions.DjangoOutbox, "append") as append:
                state.before_commit()
            os._exit(1 if append.called or state.pending else 0)
        assert os.waitpid(pid, 0)[1] == 0
    assert actions() == ["create"]


def test_best_effort_counts_its_losses_and_records_the_count():
    with mock.patch("audit_django.capture.push.get_recorder", side_effect=RuntimeError("bug in a plugin")):
        BestEffort.objects.create(data="x")
        BestEffort.objects.create(data="y")
    assert BestEffort.objects.count() == 2
    assert guard.losses("default") == {"testapp.BestEffort": 2}
    Tag.objects.create(name="z")
    event = AuditEvent.objects.order_by("number").last().event
    assert (event.action, event.extra) == ("events_lost", {"count": 2, "lost": {"testapp.BestEffort": 2}})
    assert guard.losses("default") == {}


def test_best_effort_survives_a_missing_table(no_event_table):
    BestEffort.objects.create(data="x")
    assert BestEffort.objects.count() == 1
    assert guard.losses("default") == {"testapp.BestEffort": 1}
    guard.forget_losses()


def test_best_effort_and_required_in_one_transaction(no_event_table):
    with pytest.raises(EventNotWritten), transaction.atomic():
        BestEffort.objects.create(data="x")
        Tag.objects.create(name="x")
    assert not BestEffort.objects.exists()


def test_disabled_is_an_event_itself_20():
    with audit_context(actor="alice"), disabled(reason="import of the old system") as off:
        Tag.objects.create(name="x")
        policy = Policy.objects.create(number="P", customer=Customer.objects.create(name="Jane"))
        policy.tags.add(Tag.objects.create(name="y"))
        Restaurant.objects.create(name="Bernd's")
        policy.delete()
    event = AuditEvent.objects.get().event
    assert (event.action, event.category, event.reason) == (
        "capture_disabled",
        "system",
        "import of the old system",
    )
    assert event.extra["skipped"] == off.skipped == 7
    assert event.actor.username == "alice"
    assert 0 <= event.extra["seconds"] < 60


def test_record_in_autocommit_and_in_a_transaction():
    user = User.objects.create(username="alice", first_name="Alice", last_name="Ames")
    tag = Tag.objects.create(name="Critical")
    record("approved", tag, actor=user, reason="four eyes")
    with pytest.raises(Refuse), transaction.atomic():
        record("rejected", tag)
        raise Refuse
    event = AuditEvent.objects.order_by("number").last().event
    assert (event.action, event.category, event.reason) == ("approved", "custom", "four eyes")
    assert (event.actor.id, event.actor.username, event.actor.repr) == (str(user.pk), "alice", "Alice Ames")
    assert event.target.key == ("testapp.Tag", str(tag.pk))


class UnderTestCase(TestCase):
    """The transaction of a TestCase is never committed, and its events are seen all the same."""

    @classmethod
    def setUpTestData(cls):
        cls.tag = Tag.objects.create(name="from the class")

    def test_events_are_seen(self):
        with captured_events() as events:
            self.tag.name = "x"
            self.tag.save()
            assert len(events) == 1
        events.one("update", self.tag, changed="name")

    def test_captured_callbacks_are_only_the_users_53(self):
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            Tag.objects.create(name="x")
            transaction.on_commit(lambda: None)
        assert len(callbacks) == 1

    def test_a_failed_expectation_lists_what_was_recorded(self):
        with captured_events() as events:
            Tag.objects.create(name="Critical")
        with self.assertRaisesRegex(
            AssertionError, r"No event matches action='delete'.\n1 recorded:\n  create .*Critical"
        ):
            events.assert_recorded("delete")


def test_queries_of_other_aliases_are_left_alone():
    with transaction.atomic():
        Tag.objects.create(name="x")
        assert AuditEvent.objects.using("other").count() == 0
        assert transactions.state_of(connections["default"]).pending

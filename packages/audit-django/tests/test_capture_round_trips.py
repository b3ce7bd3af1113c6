"""What a write costs in messages to PostgreSQL, and that nothing but their number is different."""

import os
import re
from contextlib import contextmanager, suppress

import psycopg
import pytest
from django.db import (
    DatabaseError,
    IntegrityError,
    ProgrammingError,
    connection,
    connections,
    models,
    transaction,
)
from django.db.backends.postgresql.psycopg_any import IsolationLevel
from testapp.models import Claim, Customer, Document, Policy, Tag

from audit_django import record, register, registry
from audit_django.capture import transactions
from audit_django.capture.guard import EventNotWritten
from audit_django.capture.transactions import joined, state_of
from audit_django.models import AuditEvent, OutboxEntry
from audit_django.testing import captured_events

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.skipif(
        connection.vendor != "postgresql", reason="needs PostgreSQL: AUDIT_TEST_DATABASE=postgres"
    ),
]


def messages(call, tmp_path):
    """The messages that libpq sends during ``call``: each is a round trip."""
    connection.ensure_connection()
    driver = connection.connection.pgconn
    trace = os.open(tmp_path / "trace", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        driver.trace(trace)
        try:
            call()
        finally:
            driver.untrace()
    finally:
        os.close(trace)
    lines = (tmp_path / "trace").read_text().splitlines()
    sent = [line.split("\t") for line in lines if "\tF\t" in line]
    return [
        " ".join(re.findall(r'(?:^ ?"|; )([A-Z]+)\b', fields[-1])) for fields in sent if "Query" in fields
    ]


@contextmanager
def options(**values):
    """The connection with other OPTIONS, opened anew."""
    before = dict(connection.settings_dict["OPTIONS"])

    def reopen():
        connection.close()
        connection.features.__dict__.pop("uses_server_side_binding", None)
        connection.connect()

    connection.settings_dict["OPTIONS"].update(values)
    try:
        reopen()
        yield
    finally:
        connection.close()
        connection.close_pool()
        connection.settings_dict["OPTIONS"].clear()
        connection.settings_dict["OPTIONS"].update(before)
        reopen()


def test_a_write_in_autocommit_is_two_messages(tmp_path):
    tag = Tag(name="x")
    assert messages(tag.save, tmp_path) == ["BEGIN INSERT", "INSERT INSERT COMMIT"]
    tag.name = "y"
    assert messages(tag.save, tmp_path) == ["BEGIN SELECT UPDATE", "INSERT INSERT COMMIT"]
    assert messages(tag.save, tmp_path) == ["BEGIN SELECT UPDATE", "COMMIT"]  # nothing has changed
    assert messages(lambda: record("approved", tag), tmp_path) == ["BEGIN INSERT INSERT COMMIT"]
    assert AuditEvent.objects.count() == OutboxEntry.objects.count() == 3


def test_in_a_transaction_the_row_before_and_the_commit_cost_no_message(tmp_path):
    tags = [Tag.objects.create(name=str(n)) for n in range(3)]

    def save_all():
        with transaction.atomic():
            for tag in tags:
                tag.name += "!"
                tag.save()

    assert messages(save_all, tmp_path) == [
        "BEGIN SELECT UPDATE",
        *["SELECT UPDATE"] * 2,
        "INSERT INSERT COMMIT",
    ]


@pytest.mark.parametrize("mode", ["server_side_binding", "pool", "isolation_level"])
def test_other_ways_to_connect_record_the_same(mode, tmp_path):
    value = {"isolation_level": IsolationLevel.SERIALIZABLE}.get(mode, True)
    with options(**{mode: value}), captured_events() as events:
        tag = Tag.objects.create(name="x")
        Tag.objects.filter(pk=tag.pk).update(name="other")
        tag.name = "y"
        sent = messages(tag.save, tmp_path)
        level = connection.isolation_level
    assert (events.one("create").diff["name"].before, events.one("create").diff["name"].after) == (None, "x")
    changed = [(event.diff["name"].before, event.diff["name"].after) for event in events[1:]]
    assert changed == [("x", "other"), ("other", "y")]
    if mode == "isolation_level":
        assert level == IsolationLevel.SERIALIZABLE
        assert sent[0] == "BEGIN"  # with its level, which is the driver's to say
    if mode == "pool":
        assert sent == ["BEGIN SELECT UPDATE", "INSERT INSERT COMMIT"]


def test_a_constraint_that_is_checked_last_is_told_as_what_it_is():
    """The COMMIT went along with the events, and it is the COMMIT that fails."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"ALTER TABLE {Tag._meta.db_table} ADD CONSTRAINT late UNIQUE (name) DEFERRABLE INITIALLY DEFERRED"
        )
    try:
        Tag.objects.create(name="x")
        with pytest.raises(IntegrityError, match="late"):
            Tag.objects.create(name="x")
        with pytest.raises(IntegrityError, match="late"), transaction.atomic():
            Tag.objects.create(name="z")
            Tag.objects.create(name="x")
        assert Tag.objects.get().name == "x"  # and the connection can be used
        assert AuditEvent.objects.count() == OutboxEntry.objects.count() == 1
        Tag.objects.create(name="y")
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {Tag._meta.db_table} DROP CONSTRAINT late")


def test_a_refused_write_takes_its_begin_along(tmp_path):
    customer = Customer.objects.create(name="Jane")
    claim = Claim(pk=1)  # has no policy, which may not be
    with pytest.raises(IntegrityError):
        claim.save(force_insert=True)
    driver = connection.connection
    assert not driver.pgconn.transaction_status
    customer.name = "John"
    assert messages(customer.save, tmp_path)[0] == "BEGIN SELECT UPDATE"


class Stumbles(models.CharField):
    """A field that fails before a statement is made."""

    def pre_save(self, instance, add):
        raise RuntimeError("no")


def test_a_write_that_fails_before_its_statement_leaves_nothing_behind():
    policy = Policy.objects.create(number="P-1", customer=Customer.objects.create(name="Jane"))
    field = Policy._meta.get_field("notes")
    before, field.__class__ = field.__class__, Stumbles
    try:
        with transaction.atomic():
            with pytest.raises(RuntimeError):
                policy.save()
            assert not connection.execute_wrappers
    finally:
        field.__class__ = before
    assert AuditEvent.objects.count() == 2


def test_others_see_their_statements_as_they_wrote_them():
    seen = []

    def watch(execute, sql, params, many, context):
        seen.append(sql)
        return execute(sql, params, many, context)

    tag = Tag.objects.create(name="x")
    with connection.execute_wrapper(watch):
        tag.save()
    assert [sql.split()[0] for sql in seen] == ["UPDATE"]


@pytest.mark.parametrize(
    ("sql", "params", "expected"),
    [
        ("SELECT '50%'", None, "50%"),
        ("SELECT '50%%' || %s", ["!"], "50%!"),
        ("SELECT %(name)s::text", {"name": "50%"}, "50%"),
        (psycopg.sql.SQL("SELECT '50%'"), None, "50%"),
    ],
)
def test_any_statement_may_take_a_read_along(sql, params, expected):
    rows = []
    with transaction.atomic():
        prelude = state_of(connection).prelude
        prelude.read(("SELECT %s, '5%%'", ["a%b"]), rows.extend)
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            assert cursor.fetchall() == [(expected,)]
    assert rows == [("a%b", "5%")]


def test_many_statements_and_cursors_on_the_server_take_nothing_along():
    Tag.objects.create(name="x")
    rows = []
    with transaction.atomic():
        prelude = state_of(connection).prelude
        prelude.read(("SELECT 1", []), rows.extend)
        assert [tag.name for tag in Tag.objects.iterator()] == ["x"]
        assert rows == [(1,)]
        prelude.read(("SELECT 2", []), rows.extend)
        with connection.cursor() as cursor:
            cursor.executemany(f"UPDATE {Tag._meta.db_table} SET name = %s", [["y"], ["z"]])
    assert rows == [(1,), (2,)]


def test_a_pipeline_of_the_users_is_left_alone():
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        with connection.connection.pipeline():
            tag = Tag.objects.create(name="x")
    assert AuditEvent.objects.get().target_id == str(tag.pk)


def test_a_lost_connection_is_no_failed_commit():
    with pytest.raises(Exception, match="closed|terminat|lost"):  # noqa: SIM117
        with transaction.atomic():
            Tag.objects.create(name="x")
            with connections["other"].cursor() as cursor:
                pid = connection.connection.info.backend_pid
                cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    connection.close()
    assert not Tag.objects.exists()
    assert not AuditEvent.objects.exists()


def test_the_first_statement_of_a_block_of_ours_begins_it(tmp_path):
    def work():
        with joined("default"), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.execute("SAVEPOINT a")

    assert messages(work, tmp_path) == ["BEGIN SELECT", "SAVEPOINT", "COMMIT"]


@pytest.fixture
def loaded_tag():
    """A tag that is audited with ``before="instance"``."""
    before = dict(registry._registered)
    register(Tag, before="instance")
    made = Tag.objects.create(name="x")
    AuditEvent.objects.all().delete()
    OutboxEntry.objects.all().delete()
    yield Tag.objects.get(pk=made.pk)
    registry._registered.update(before)
    registry.forget()


@contextmanager
def ddl(do, undo):
    """Something that the table of tags has during a block."""
    with connection.cursor() as cursor:
        cursor.execute(do)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(undo)


def recorded():
    found = [row.event for row in AuditEvent.objects.order_by("number")]
    assert OutboxEntry.objects.count() == len(found)
    return [(e.action, {n: (c.before, c.after) for n, c in e.diff.items()}) for e in found]


def test_an_event_that_is_known_before_its_row_is_written_is_part_of_the_statement(loaded_tag, tmp_path):
    told = []
    transactions.after_commit.append(listener := lambda alias, events: told.append(alias))
    try:
        loaded_tag.name = "y"
        assert messages(loaded_tag.save, tmp_path) == ["WITH"]
    finally:
        transactions.after_commit.remove(listener)
    assert Tag.objects.get().name == "y"
    assert recorded() == [("update", {"name": ("x", "y")})]
    assert told == ["default"]
    loaded_tag.name = "z"
    assert messages(loaded_tag.save, tmp_path) == ["WITH"]
    assert recorded()[1:] == [("update", {"name": ("y", "z")})]


def test_so_is_that_of_a_new_row_whose_key_is_known(tmp_path):
    customer = Customer.objects.create(name="Jane")
    claim = Claim.objects.create(policy=Policy.objects.create(number="P-1", customer=customer))
    with captured_events() as events:
        document = Document(claim=claim, title="Report")
        assert messages(document.save, tmp_path) == ["WITH"]
    assert events.one("create", document).diff["title"].after == "Report"
    assert Document.objects.get() == document


def test_a_row_that_is_gone_has_no_update(loaded_tag, tmp_path):
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {Tag._meta.db_table}")
    loaded_tag.name = "y"
    with pytest.raises(DatabaseError, match="affect"):
        loaded_tag.save(force_update=True)
    assert recorded() == []
    assert messages(loaded_tag.save, tmp_path) == ["WITH", "BEGIN INSERT", "INSERT INSERT COMMIT"]
    [(action, diff)] = recorded()
    assert (action, diff["name"]) == ("create", (None, "y"))


def test_a_row_that_a_trigger_keeps_has_no_update(loaded_tag):
    table = Tag._meta.db_table
    function = "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
    trigger = f"CREATE TRIGGER keep BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION keep()"
    with ddl(f"{function}; {trigger}", "DROP FUNCTION keep CASCADE"):
        loaded_tag.name = "y"
        with pytest.raises(DatabaseError, match="affect"):
            loaded_tag.save(update_fields=["name"])
    assert recorded() == []


def test_a_row_that_is_refused_has_no_event(loaded_tag):
    with ddl(
        f"ALTER TABLE {Tag._meta.db_table} ADD CONSTRAINT no_y CHECK (name <> 'y')",
        f"ALTER TABLE {Tag._meta.db_table} DROP CONSTRAINT no_y",
    ):
        loaded_tag.name = "y"
        with pytest.raises(IntegrityError, match="no_y"):
            loaded_tag.save()
        assert recorded() == []
        loaded_tag.name = "z"
        loaded_tag.save()
    assert recorded() == [("update", {"name": ("x", "z")})]


def test_a_table_with_rules_is_written_as_ever(loaded_tag, tmp_path):
    table = Tag._meta.db_table
    with ddl(f"CREATE RULE tell AS ON UPDATE TO {table} DO ALSO NOTIFY tags", f"DROP RULE tell ON {table}"):
        loaded_tag.name = "y"
        assert messages(loaded_tag.save, tmp_path) == ["WITH", "BEGIN UPDATE", "INSERT INSERT COMMIT"]
    assert recorded() == [("update", {"name": ("x", "y")})]


def test_a_missing_table_of_ours_is_told_as_what_it_is(loaded_tag):
    with ddl(
        "ALTER TABLE audit_django_event RENAME TO elsewhere",
        "ALTER TABLE elsewhere RENAME TO audit_django_event",
    ):
        loaded_tag.name = "y"
        with pytest.raises(EventNotWritten, match="migrate audit_django"):
            loaded_tag.save()
        assert Tag.objects.get().name == "x"
    assert recorded() == []


def test_in_a_block_of_the_users_no_statement_is_alone(loaded_tag, tmp_path):
    """A row that commits itself would survive the block's rollback."""

    def work():
        with suppress(ValueError), transaction.atomic():
            loaded_tag.name = "y"
            loaded_tag.save()
            raise ValueError

    assert messages(work, tmp_path) == ["BEGIN UPDATE", "ROLLBACK"]
    assert Tag.objects.get().name == "x"
    assert recorded() == []


def test_a_block_whose_first_statement_fails_is_rolled_back(tmp_path):
    tag = Tag.objects.create(name="x")
    with pytest.raises(IntegrityError), transaction.atomic():
        Tag.objects.create(pk=tag.pk, name="y")
    with transaction.atomic():
        with pytest.raises(IntegrityError), transaction.atomic():
            Tag.objects.create(pk=tag.pk, name="y")
        Tag.objects.create(name="z")
    assert sorted(Tag.objects.values_list("name", flat=True)) == ["x", "z"]
    assert [event.event.diff["name"].after for event in AuditEvent.objects.order_by("number")] == ["x", "z"]


def test_a_block_that_the_driver_has_begun_is_not_begun_again(tmp_path):
    def work():
        with transaction.atomic():
            connection.connection.execute("SELECT 1")
            Tag.objects.create(name="x")

    assert messages(work, tmp_path) == ["BEGIN", "SELECT", "INSERT", "INSERT INSERT COMMIT"]


@contextmanager
def without_autocommit():
    transaction.set_autocommit(False)
    try:
        yield
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)


def test_with_autocommit_off_the_driver_does_not_commit_by_itself():
    policy = Policy.objects.create(number="P-1", customer=Customer.objects.create(name="Jane"))
    tag = Tag.objects.create(name="x")
    with without_autocommit():
        policy.tags.add(tag)
        transaction.commit()
        Tag.objects.create(name="y")
        assert not connection.connection.autocommit
        transaction.rollback()
        Tag.objects.create(name="z")
        transaction.commit()
    assert sorted(Tag.objects.values_list("name", flat=True)) == ["x", "z"]


def refused_by_the_driver():
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s", [object()])


def refused_by_a_wrapper():
    def refuse(*args):
        raise ProgrammingError("no queries here")

    with connection.execute_wrapper(refuse):
        Tag.objects.count()


def committed_in_sql():
    with connection.cursor() as cursor:
        cursor.execute("COMMIT")


@pytest.mark.parametrize("first", [refused_by_the_driver, refused_by_a_wrapper, committed_in_sql])
@pytest.mark.parametrize("write", [lambda: Tag.objects.filter(pk__in=[]).update(name="y"), lambda: None])
def test_what_comes_after_a_statement_that_was_never_sent_is_rolled_back(first, write):
    with suppress(ValueError), transaction.atomic():
        write()
        with suppress(ProgrammingError):
            first()
        Tag.objects.create(name="x")
        raise ValueError
    assert not Tag.objects.exists()
    assert recorded() == []


def test_a_cursor_on_the_server_ends_with_the_block():
    tags = [Tag.objects.create(name=str(n)) for n in range(9)]
    with transaction.atomic():
        tags[0].save()
        tags[1].name = "x"
        tags[1].save()
        assert len(list(Tag.objects.select_for_update().iterator(chunk_size=5))) == 9
        half_read = Tag.objects.iterator(chunk_size=5)
        next(half_read)
        with connection.cursor() as cursor:
            cursor.execute("SELECT bool_or(is_holdable) FROM pg_cursors WHERE name LIKE '_django%'")
            assert cursor.fetchone() == (False,)


@pytest.mark.parametrize(
    "write", [lambda: Tag.objects.filter(pk__in=[]).update(name="y"), Tag.objects.none().delete]
)
def test_a_write_of_nothing_leaves_no_wrapper_behind(write):
    def seen(execute, *args):
        return execute(*args)

    with transaction.atomic():
        with connection.execute_wrapper(seen):
            write()
        assert seen not in connection.execute_wrappers
    assert not connection.execute_wrappers


def test_a_save_that_fails_before_it_is_sent_leaves_no_wrapper_behind():
    def seen(execute, *args):
        return execute(*args)

    with connection.execute_wrapper(seen), suppress(ValueError):
        Claim(amount="no number").save()
    assert not connection.execute_wrappers


def test_what_the_label_asks_for_begins_the_transaction(loaded_tag, tmp_path, monkeypatch):
    monkeypatch.setattr(Tag, "__str__", lambda self: f"{self.name} of {Tag.objects.count()}")
    loaded_tag.name = "y"
    sent = messages(loaded_tag.save, tmp_path)
    assert (sent[0], sent[-1]) == ("BEGIN SELECT", "INSERT INSERT COMMIT")
    assert AuditEvent.objects.get().event.target.repr == "y of 1"


def test_both_sides_of_a_link_are_looked_up_at_once(tmp_path):
    policy = Policy.objects.create(number="P-1", customer=Customer.objects.create(name="Jane"))
    tags = [Tag.objects.create(name=name) for name in "ab"]
    with captured_events() as events:
        added = messages(lambda: policy.tags.add(*tags), tmp_path)
        removed = messages(lambda: policy.tags.remove(*tags), tmp_path)
    assert added == ["BEGIN INSERT", "SELECT SELECT", "INSERT INSERT COMMIT"]
    assert removed == ["BEGIN SELECT", "SELECT SELECT", "DELETE", "INSERT INSERT COMMIT"]
    linked, unlinked = (event.diff["tags"] for event in events)
    assert (
        [item["repr"] for item in linked.added] == [item["repr"] for item in unlinked.removed] == ["a", "b"]
    )

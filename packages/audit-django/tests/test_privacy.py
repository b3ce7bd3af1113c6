"""Sensitive values in the events that capture records: sealed, opened on the record, found by their masks."""

import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from functools import partial
from types import SimpleNamespace

import pytest
from cornerapp.models import Boss, Truck, Vehicle
from django.contrib.auth import authenticate
from django.contrib.auth.models import Permission, User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from testapp.models import Claim, Customer, Document, Fragile, Gauge, Policy, Tag

from audit_core import Change, audit_context
from audit_core.codec import canonical
from audit_core.errors import EncodeError
from audit_core.privacy import MASK, is_sealed
from audit_core.privacy.errors import KeyDestroyed, KeyMissing, NothingKept, Tampered
from audit_core.privacy.keyring import MemoryKeyring, export
from audit_core.privacy.keys import Scope, Secrets
from audit_core.privacy.sealing import key_id_of, mask_of, unseal
from audit_django import register
from audit_django.capture.guard import EventNotWritten
from audit_django.fields import is_password
from audit_django.models import AuditEvent, DataKey
from audit_django.privacy import UnmaskedInTransaction, cache, events_with, mask_lookup, unmask_change
from audit_django.privacy.keyring import DjangoKeyring
from audit_django.privacy.table import DjangoKeyTable
from audit_django.registry import problems

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

OLD, NEW = "o" * 32, "n" * 32
SSN = "078-05-1120"


@pytest.fixture(autouse=True)
def keys(settings):
    settings.AUDIT = {"SENSITIVE_KEYS": [OLD]}


@pytest.fixture
def options():
    """Register models with other options, and put back what was."""
    from audit_django import registry

    before = dict(registry._registered)
    yield register
    registry._registered.clear()
    registry._registered.update(before)
    registry.forget()


@pytest.fixture
def auditor():
    user = User.objects.create(username="auditor")
    user.user_permissions.add(Permission.objects.get(codename="unmask"))
    return User.objects.get(pk=user.pk)


def last(action="update", using="default"):
    return AuditEvent.objects.using(using).filter(action=action).order_by("-number").first()


def create(ssn=SSN, **values):
    customer = Customer.objects.create(name="Jane Doe", ssn=ssn, **values)
    return customer, last("create")


def opened(row, field="ssn", side="after"):
    return unseal(row.event, field, side, DjangoKeyring(row._state.db))


def about_keys(queries):
    return [query["sql"].split()[0] for query in queries if "audit_django_datakey" in query["sql"]]


class TestSealing:
    def test_mask_and_ciphertext_stand_in_the_event(self):
        customer, made = create()
        customer.ssn = "1"
        customer.save()
        changed = last()
        assert (opened(made), opened(changed, side="before"), opened(changed)) == (SSN, SSN, "1")
        assert mask_of(made.event.diff["ssn"].after) == mask_of(changed.event.diff["ssn"].before)
        assert SSN not in made.text + made.search

    def test_the_types_of_values_are_kept(self, options):
        options(Policy, sensitive=["premium", "coverage", "customer", "valid_until"])
        customer, _ = create()
        policy = Policy.objects.create(
            number="P-1", customer=customer, premium="12.5", coverage={"glass": True}
        )
        row = last("create")
        assert opened(row, "premium") == "12.50"
        assert opened(row, "coverage") == {"glass": True}
        assert opened(row, "customer") == customer.pk
        assert "valid_until" not in row.event.diff
        policy.delete()
        assert opened(last("delete"), "coverage", "before") == {"glass": True}

    def test_a_password_is_kept_in_no_form(self, options):
        options(User)
        User.objects.create_user("jane", password="correct horse")
        assert last("create").event.diff["password"].after == {"sealed": {}}

    def test_without_keys_nothing_is_kept(self, settings, auditor):
        settings.AUDIT = {}
        _, row = create()
        assert row.event.diff["ssn"].after == {"sealed": {}}
        assert not DataKey.objects.exists()
        with pytest.raises(NothingKept):
            unmask_change(row.event.diff["ssn"], "after", event=row, user=auditor)

    def test_a_relation_that_a_deletion_takes_away_from_an_object_just_saved(self, options):
        options(Policy, sensitive=["owner"])
        customer, _ = create()
        owner = User.objects.create(username="bob")
        policy = Policy.objects.create(number="P-1", customer=customer, owner=owner)
        key = owner.pk
        with transaction.atomic():
            policy.number = "P-2"
            policy.save()
            owner.delete()
        [row] = [row for row in AuditEvent.objects.filter(action="update") if "owner" in row.event.diff]
        assert row.event.diff["number"].after == "P-2"  # one event, and the value opens in that
        assert (opened(row, "owner", "before"), row.event.diff["owner"].after) == (key, None)

    def test_a_deletion_does_not_say_whom_a_sensitive_relation_referred_to(self, options):
        options(Claim, sensitive=["policy"])
        customer, _ = create()
        policy = Policy.objects.create(number="P-1", customer=customer)
        Claim.objects.create(policy=policy, amount=7)
        Policy.objects.filter(pk=policy.pk).delete()
        [row] = AuditEvent.objects.filter(action="delete", target_type="testapp.Claim")
        assert row.event.related == ()
        assert opened(row, "policy", "before") == policy.pk

    def test_a_field_that_a_multi_table_child_has_from_its_parent(self, options):
        options(Truck, sensitive=["name"])
        truck = Truck.objects.create(name=SSN)
        made = last("create")
        Vehicle.objects.filter(pk=truck.pk).update(name="2")
        truck.delete()
        for row, side in ((made, "after"), (last(), "before"), (last("delete"), "before")):
            assert SSN not in row.text + row.search
            assert opened(row, "name", side) in (SSN, "2")

    def test_what_the_database_computes_of_it(self, options):
        options(Gauge, sensitive=["qty"])
        Gauge.objects.create(qty=7, price=3)
        row = last("create")
        assert is_sealed(row.event.diff["total"].after)
        assert opened(row, "total") == 21
        assert row.event.diff["price"].after == 3

    @pytest.mark.parametrize("name", ["password", "passwd", "old_pwd", "PassPhrase", "passcode_hash"])
    def test_whatever_a_password_is_called(self, name):
        assert is_password(SimpleNamespace(name=name))

    def test_what_only_sounds_like_one(self):
        assert not any(
            is_password(SimpleNamespace(name=name)) for name in ("passport", "surpwd_x1", "pass_rate")
        )

    def test_one_key_a_tenant(self):
        for tenant in ("acme", "acme", "beta", None):
            with audit_context(tenant=tenant):
                create()
        assert sorted(DataKey.objects.values_list("tenant", flat=True), key=str) == [None, "acme", "beta"]

    def test_each_database_has_its_own(self):
        Customer.objects.using("other").create(name="x", ssn=SSN)
        with transaction.atomic():
            Customer.objects.using("other").create(name="y", ssn=SSN)
        row = last("create", using="other")
        assert opened(row) == SSN
        assert not DataKey.objects.exists()

    def test_with_two_open_transactions_it_is_the_one_that_the_model_is_written_to(self):
        with transaction.atomic(using="other"), transaction.atomic():
            Customer.objects.create(name="x", ssn=SSN)
        assert opened(last("create")) == SSN
        assert not DataKey.objects.using("other").exists()

    def test_the_key_is_where_the_event_is_whatever_else_is_open(self):
        with transaction.atomic(using="other"), pytest.raises(Stop), transaction.atomic():
            Tag.objects.create(name="x")  # a trail of its own, in the database that the model is routed to
            Customer.objects.using("other").create(name="x", ssn=SSN)
            raise Stop
        assert opened(last("create", using="other")) == SSN
        assert not DataKey.objects.exists()

    def test_names_that_differ_in_case_are_two_tenants(self):
        """MariaDB compares text without regard to case and to white space at the end."""
        for tenant in ("acme", "ACME", "acme "):
            with audit_context(tenant=tenant):
                create()
        assert sorted(DataKey.objects.values_list("tenant", flat=True)) == ["ACME", "acme", "acme "]
        table = DjangoKeyTable("default")
        assert [key.scope.tenant for key in table.keys(tenant="acme")] == ["acme"]
        assert len(mask_lookup(SSN, tenant="ACME")) == 1

    def test_who_acts_shows_no_sensitive_value(self, options):
        options(User, sensitive=["email", "last_name"])
        user = User.objects.create(
            username="bob", email="bob@example.org", first_name="B", last_name="Secretson"
        )
        with audit_context(actor=user, on_behalf_of=user):
            Tag.objects.create(name="x")
        row = last("create")
        assert row.event.actor.username == "bob"
        assert row.event.actor.email is None
        assert row.event.actor.repr == row.event.on_behalf_of.repr == f"B {MASK}"
        assert "Secretson" not in row.text + row.search

    def test_a_name_to_log_in_with(self, options):
        options(User, sensitive=["username"])
        User.objects.create(username="jane-1", first_name="J")
        authenticate(username="jane-1", password="x")
        with audit_context(actor=User.objects.get()):
            Tag.objects.create(name="x")
        texts = AuditEvent.objects.values_list("text", "search")
        assert last("login_failed").event.extra == {"username": None}
        assert not any("jane-1" in text for row in texts for text in row)

    def test_a_label_shows_no_part_of_a_document(self, options, monkeypatch):
        options(Policy, sensitive=["coverage"])
        monkeypatch.setattr(Policy, "__str__", lambda self: f"of {self.coverage['for'][0]}")
        customer, _ = create()
        Policy.objects.create(number="P-1", customer=customer, coverage={"for": ["Jane"]})
        assert last("create").event.target.repr == f"of {MASK}"

    def test_a_label_that_fails_is_logged_without_it(self, options, monkeypatch, caplog):
        options(Fragile, sensitive=["name"])
        monkeypatch.setattr(Fragile, "__str__", lambda self: {}[self.name])
        Fragile.objects.create(name=SSN)
        assert "str() of a testapp.Fragile failed" in caplog.text
        assert SSN not in caplog.text

    def test_a_value_without_a_json_form_is_not_in_the_error(self, options, monkeypatch):
        options(Customer, sensitive=["ssn"])

        def refuse(field, value):
            raise ValidationError(f"{value!r} is no number")

        monkeypatch.setattr("audit_django.fields.plain_value", refuse)
        with pytest.raises(
            EncodeError, match=r"testapp\.Customer\.ssn: ValidationError.*audit_encode_value"
        ) as caught:
            create("é" + SSN)
        assert SSN not in "".join(traceback.format_exception(caught.value))


class TestQueries:
    def test_a_new_tenant_costs_two_and_a_known_one_none(self):
        with CaptureQueriesContext(connection) as queries:
            create()
        assert about_keys(queries) == ["SELECT", "INSERT"]
        create()  # what was made may still be rolled back, so it is read once when it is there
        with CaptureQueriesContext(connection) as queries:
            customer, _ = create()
            customer.ssn = "1"
            customer.save()
            Customer.objects.update(ssn="2")
        assert about_keys(queries) == []

    def test_many_rows_in_one_transaction_ask_once(self):
        with CaptureQueriesContext(connection) as queries:
            Customer.objects.bulk_create([Customer(name=str(n), ssn=str(n)) for n in range(50)])
        assert about_keys(queries) == ["SELECT", "INSERT"]

    def test_another_process_asks_once(self):
        create()
        cold()
        with CaptureQueriesContext(connection) as queries:
            create()
            create()
        assert about_keys(queries) == ["SELECT"]
        assert DataKey.objects.count() == 1

    def test_asking_for_a_key_writes_no_event_early(self):
        with CaptureQueriesContext(connection) as queries, transaction.atomic():
            Tag.objects.create(name="x")
            Customer.objects.create(name="Jane Doe", ssn=SSN)
        assert sum("INSERT INTO" in q["sql"] and "audit_django_event" in q["sql"] for q in queries) == 1

    def test_what_is_not_sensitive_asks_for_no_key(self):
        with CaptureQueriesContext(connection) as queries:
            Tag.objects.create(name="x")
        assert about_keys(queries) == []

    def test_the_cache_is_bounded_in_size_and_time(self, monkeypatch):
        store = cache.KeyCache()
        monkeypatch.setattr(cache, "MAX_KEYS", 2)
        now = 0.0
        monkeypatch.setattr(cache.time, "monotonic", lambda: now)
        made = [Secrets([OLD]).new_key(Scope(str(number)))[0] for number in range(3)]
        for key in made[:2]:
            store.put("default", key)
        assert store.get("default", Scope("0")) is made[0]
        store.put("default", made[2])
        found = [store.get("default", key.scope) for key in made]
        assert found == [made[0], None, made[2]]  # the one that was asked for least lately has gone
        assert store.get("other", Scope("0")) is None
        now = cache.MAX_SECONDS
        assert store.get("default", Scope("0")) is None


def cold():
    """As a process that has just been started."""
    from audit_django.privacy import keyring

    keyring._committed.clear()


class Stop(Exception):
    pass


def in_a_thread(act):
    """Do it on other connections, and wait for it."""

    def run():
        try:
            act()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(run).result(20)


class TestTransactions:
    def test_a_key_that_was_rolled_back_is_not_used_again(self):
        with pytest.raises(Stop), transaction.atomic():
            create()
            raise Stop
        assert not DataKey.objects.exists()
        _, row = create()
        assert opened(row) == SSN

    @pytest.mark.skipif(
        connection.vendor == "mysql", reason="MariaDB's driver does not tell of a BEGIN in SQL"
    )
    def test_nor_one_that_was_rolled_back_in_sql(self):
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            create()
            create()
            assert DataKey.objects.count() == 1
            cursor.execute("ROLLBACK")
        _, row = create()
        assert opened(row) == SSN

    def test_nor_one_that_a_savepoint_took_with_it(self):
        with transaction.atomic():
            with pytest.raises(Stop), transaction.atomic():
                create()
                raise Stop
            create()
            create()
        assert DataKey.objects.count() == 1
        assert [opened(row) for row in AuditEvent.objects.filter(action="create")] == [SSN, SSN]

    def test_one_from_before_the_savepoint_stays(self):
        with transaction.atomic():
            create()
            with pytest.raises(Stop), transaction.atomic():
                create()
                raise Stop
            create()
        assert DataKey.objects.count() == 1
        assert [opened(row) for row in AuditEvent.objects.filter(action="create")] == [SSN, SSN]

    @pytest.mark.skipif("sqlite" in connection.vendor, reason="SQLite has one writer")
    def test_a_new_tenant_in_two_transactions_at_once_waits_for_nobody(self):
        with transaction.atomic():
            Customer.objects.create(name="here", ssn=SSN)
            in_a_thread(
                lambda: Customer.objects.create(name="there", ssn=SSN)
            )  # commits while the other is open
        assert DataKey.objects.count() == 2
        assert [opened(row) for row in AuditEvent.objects.filter(action="create")] == [SSN, SSN]
        cold()
        _, row = create()
        assert key_id_of(row.event.diff["ssn"].after) == min(DataKey.objects.values_list("id", flat=True))
        found = {row.event_id for row in events_with(SSN)}
        assert len(found) == 3

    def test_nor_one_whose_commit_has_failed(self):
        with pytest.raises(IntegrityError), transaction.atomic():
            create()
            Policy.objects.create(number="P-1", customer_id=999_999)  # seen at COMMIT, by MariaDB at once
        assert not DataKey.objects.exists()
        _, row = create()
        assert opened(row) == SSN

    def test_nor_in_a_transaction_that_the_application_ends_itself(self):
        transaction.set_autocommit(False)
        try:
            create()
            transaction.commit()
            with audit_context(tenant="acme"):
                create()
            transaction.rollback()
            with audit_context(tenant="acme"):
                create()
            create()
            transaction.commit()
        finally:
            transaction.set_autocommit(True)
        assert DataKey.objects.count() == 2
        assert [opened(row) for row in AuditEvent.objects.filter(action="create")] == [SSN] * 3

    @pytest.mark.skipif("sqlite" in connection.vendor, reason="SQLite has one writer")
    def test_nor_by_a_transaction_at_the_same_time(self):
        """It does not see the key, or what it seals would be lost with it."""
        with pytest.raises(Stop), transaction.atomic():
            create()
            in_a_thread(create)
            raise Stop
        cold()
        [row] = AuditEvent.objects.filter(action="create")
        assert opened(row) == SSN
        _, row = create()
        assert opened(row) == SSN

    def test_a_destroyed_key_is_forgotten_at_the_commit(self):
        create()
        create()
        [key] = DataKey.objects.all()
        with pytest.raises(Stop), transaction.atomic():
            DjangoKeyTable("default").destroy([key.pk])
            raise Stop
        _, row = create()
        assert opened(row) == SSN
        with transaction.atomic():
            DjangoKeyTable("default").destroy([key.pk])
            in_a_thread(lambda: DjangoKeyring("default").for_scope(Scope()))  # reads what is committed
        _, row = create()
        assert opened(row) == SSN
        assert key_id_of(row.event.diff["ssn"].after) != key.pk

    def test_a_table_that_is_missing_is_an_event_not_written(self):
        with connection.schema_editor() as editor:
            editor.delete_model(DataKey)
        try:
            with pytest.raises(EventNotWritten, match="migrate audit_django"):
                create()
        finally:
            with connection.schema_editor() as editor:
                editor.create_model(DataKey)
        assert not Customer.objects.exists()

    def test_a_secret_that_is_missing_refuses_the_write_and_says_what_to_do(self, settings):
        create()
        settings.AUDIT = {"SENSITIVE_KEYS": [NEW]}
        with pytest.raises(KeyMissing, match="SENSITIVE_KEYS does not have") as caught:
            create()
        assert SSN not in repr(caught.value)
        assert Customer.objects.count() == 1


class TestSubjects:
    def test_of_the_row_itself(self, options):
        options(Customer, sensitive=["ssn"], subject="pk")
        customer, row = create()
        customer.ssn = "1"
        customer.save()
        Customer.objects.update(ssn="2")
        person = f"testapp.Customer:{customer.pk}"
        customer.delete()
        assert set(DataKey.objects.values_list("subject", flat=True)) == {person}
        assert opened(last("delete"), side="before") == "2"
        assert opened(row) == SSN

    def test_of_the_one_that_a_relation_names(self, options):
        options(Policy, sensitive=["notes"], subject="customer")
        options(Customer, sensitive=["ssn"], subject="pk")
        customer, _ = create()
        policy = Policy.objects.create(number="P-1", customer=customer, notes="ill")
        policy.notes = "well"
        policy.save()
        policy.delete()
        [key] = DataKey.objects.all()  # a person has one, whatever it is about
        assert key.subject == f"testapp.Customer:{customer.pk}"
        assert opened(last("delete"), "notes", "before") == "well"

    def test_of_a_function(self, options):
        options(Claim, sensitive=["amount"], subject=lambda claim: f"person {claim.policy.customer_id}")
        customer, _ = create()
        policy = Policy.objects.create(number="P-1", customer=customer)
        claim = Claim.objects.create(policy=policy, amount=7)
        row = last("create")
        assert DataKey.objects.filter(subject=f"person {customer.pk}").count() == 1
        assert opened(row, "amount") == 7
        claim.delete()
        assert last("delete").event.diff["amount"].before == {"sealed": {}}  # nobody can ask the row any more

    def test_of_a_function_where_the_event_is_made_before_the_row(self, options):
        options(
            Document,
            sensitive=["title"],
            subject=lambda document: f"person {document.claim.policy.customer_id}",
        )
        options(Boss, sensitive=["name"], before="instance", subject=lambda boss: f"person {boss.code}")
        customer, _ = create()
        claim = Claim.objects.create(policy=Policy.objects.create(number="P-1", customer=customer))
        Document.objects.create(claim=claim, title="a will")
        row = last("create")
        assert opened(row, "title") == "a will"
        assert DataKey.objects.filter(subject=f"person {customer.pk}").count() == 1
        boss = Boss.objects.get(pk=Boss.objects.create(name="Ann", code="a").pk)
        boss.name, boss.code = "Bob", "b"
        boss.save()
        row = last()
        assert opened(row, "name") == "Bob"
        assert DataKey.objects.get(pk=key_id_of(row.event.diff["name"].after)).subject == "person b"

    def test_what_belongs_to_nobody_is_the_tenants(self, options):
        options(Policy, sensitive=["notes"], subject="owner")
        customer, _ = create()
        Policy.objects.create(number="P-1", customer=customer, notes="ill")
        assert opened(last("create"), "notes") == "ill"
        assert set(DataKey.objects.values_list("subject", flat=True)) == {None}

    def test_destroying_a_persons_key_takes_values_and_masks(self, options, auditor):
        options(Customer, sensitive=["ssn"], subject="pk")
        jane, row = create()
        _, other = create()
        key = DataKey.objects.get(subject=f"testapp.Customer:{jane.pk}")
        DjangoKeyTable("default").destroy([key.pk])
        with pytest.raises(KeyDestroyed):
            unmask_change(row.event.diff["ssn"], "after", event=row, user=auditor)
        assert [found.event_id for found in events_with(SSN)] == [other.event_id]
        jane.ssn = "2"
        jane.save()
        assert opened(last()) == "2"  # there is a new key, and what the row still held is sealed under it

    @pytest.mark.parametrize(
        ("subject", "message"),
        [
            ("custommer", "does not have. Did you mean 'customer'"),
            ("ssn", "does not have"),
            ("api_token", "does not have"),
        ],
    )
    def test_one_that_cannot_be_is_found_by_the_checks(self, options, subject, message):
        options(Policy, subject=subject)
        assert message in problems()[0]

    def test_a_sensitive_field_cannot_name_the_person(self, options):
        options(Customer, sensitive=["ssn"], subject="ssn")
        assert "the table of keys names the person" in problems()[0]


class TestUnmasking:
    def test_the_value_and_the_record_of_it(self, auditor):
        with audit_context(tenant="acme"):
            _, row = create()
        change = row.event.diff["ssn"]
        assert unmask_change(change, "after", event=row, user=auditor, reason="claim C-88") == SSN
        record = last("unmask").event
        assert (record.category, record.reason, record.tenant) == ("access", "claim C-88", "acme")
        assert (record.actor.username, record.target) == ("auditor", row.event.target)
        assert record.extra == {"field": "ssn", "side": "after", "event": str(row.event_id)}
        assert SSN not in last("unmask").text

    def test_the_change_may_be_the_json_that_a_page_holds(self, auditor):
        _, row = create()
        entry = row.recorded().to_dict()["changes"]["ssn"]
        assert unmask_change(entry, "after", event=row.recorded(), user=auditor) == SSN

    def test_not_without_the_permission(self):
        _, row = create()
        reader = User.objects.create(username="reader")
        with pytest.raises(PermissionDenied, match=r"audit_django\.unmask"):
            unmask_change(row.event.diff["ssn"], "after", event=row, user=reader, reason="curious")
        refused = last("unmask").event
        assert (refused.outcome, refused.actor.username, refused.reason) == ("failure", "reader", "curious")

    def test_not_what_another_tenant_owns(self, auditor, settings):
        settings.AUDIT = {"SENSITIVE_KEYS": [OLD], "TENANTS_OF_USER": f"{__name__}.only_beta"}
        with audit_context(tenant="acme"):
            _, row = create()
        with pytest.raises(PermissionDenied, match="tenant"):
            unmask_change(row.event.diff["ssn"], "after", event=row, user=auditor)
        assert last("unmask").event.outcome == "failure"

    def test_not_where_the_record_could_be_rolled_back(self, auditor):
        _, row = create()
        unmask = partial(unmask_change, row.event.diff["ssn"], "after", event=row, user=auditor)
        with transaction.atomic(), pytest.raises(UnmaskedInTransaction, match="non_atomic_requests"):
            unmask()
        transaction.set_autocommit(False)
        try:
            with pytest.raises(UnmaskedInTransaction, match="autocommit"):
                unmask()
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)
        assert last("unmask") is None
        with transaction.atomic(using="other"):
            assert unmask() == SSN

    @pytest.mark.django_db(databases=["default"])
    def test_in_a_test_case_it_is_at_least_written(self, auditor):
        assert connection.in_atomic_block
        _, row = create()
        with CaptureQueriesContext(connection) as queries:
            assert unmask_change(row.event.diff["ssn"], "after", event=row, user=auditor) == SSN
        assert any("INSERT" in query["sql"] and "audit_django_event" in query["sql"] for query in queries)

    def test_no_record_no_value(self, auditor, monkeypatch):
        _, row = create()

        def refuse(*args, **options):
            raise OSError("the disk is full")

        monkeypatch.setattr("audit_django.outbox.DjangoOutbox.append", refuse)
        with pytest.raises(OSError, match="disk is full") as caught:
            unmask_change(row.event.diff["ssn"], "after", event=row, user=auditor)
        assert SSN not in variables_of_ours(caught.value)

    def test_no_commit_no_value(self, auditor, monkeypatch):
        _, row = create()

        def fail(self):
            raise OperationalError("the server is gone")

        monkeypatch.setattr(type(connections["default"]), "_commit", fail)
        with pytest.raises(OperationalError, match="gone"):
            unmask_change(row.event.diff["ssn"], "after", event=row, user=auditor)
        monkeypatch.undo()
        assert last("unmask") is None

    def test_what_cannot_be_opened_is_not_recorded(self, auditor):
        _, row = create()
        DjangoKeyTable("default").destroy([DataKey.objects.get().pk])
        with pytest.raises(KeyDestroyed):
            unmask_change(row.event.diff["ssn"], "after", event=row, user=auditor)
        assert last("unmask") is None

    def test_what_is_not_sealed_is_given_and_not_recorded(self, auditor):
        _, row = create()
        assert unmask_change(row.event.diff["name"], "after", event=row, user=auditor) == "Jane Doe"
        assert unmask_change(row.event.diff["ssn"], "before", event=row, user=auditor) is None
        assert last("unmask") is None

    def test_a_change_of_another_event(self, auditor):
        _, row = create()
        with pytest.raises(ValueError, match="did not change 'iban'"):
            unmask_change(Change(field="iban"), "after", event=row, user=auditor)

    def test_a_value_that_was_put_there(self, auditor):
        _, one = create()
        _, other = create("2")
        text = other.text.replace(
            canonical(other.event.diff["ssn"].after), canonical(one.event.diff["ssn"].after)
        )
        AuditEvent.objects.filter(pk=other.pk).update(text=text)
        with pytest.raises(Tampered):
            unmask_change(other.event.diff["ssn"], "after", event=last("create"), user=auditor)

    def test_a_key_that_is_gone_from_the_table(self, auditor):
        _, row = create()
        DataKey.objects.all().delete()
        with pytest.raises(KeyMissing, match="keys export"):
            unmask_change(row.event.diff["ssn"], "after", event=row, user=auditor)

    def test_a_service_outside_needs_the_keyring_and_the_secret(self):
        _, row = create()
        keyring = MemoryKeyring.load(export(DjangoKeyTable("default").keys()), Secrets([OLD]))
        assert unseal(row.recorded().event, "ssn", "after", keyring) == SSN


def only_beta(user):
    return ["beta"]


def variables_of_ours(error):
    """The text of every variable in the frames of audit_core and audit_django, as a page about the error shows them."""
    found, traceback = [], error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_globals["__name__"].startswith(("audit_core", "audit_django")):
            found += [repr(value) for value in traceback.tb_frame.f_locals.values()]
        traceback = traceback.tb_next
    return " ".join(found)


class TestLookup:
    def test_events_are_found_without_opening_any(self):
        customer, made = create()
        customer.ssn = "2"
        customer.save()
        create("3")
        assert [row.event_id for row in events_with(SSN)] == [last().event_id, made.event_id]
        assert mask_lookup(SSN) == [mask_of(made.event.diff["ssn"].after)]
        assert list(events_with("never")) == []

    def test_of_one_field_and_of_one_tenant(self, options):
        options(Customer, sensitive=["ssn", "phone"])
        with audit_context(tenant="acme"):
            _, acme = create(phone="1")
        with audit_context(tenant="beta"):
            _, beta = create("1")
        assert {row.event_id for row in events_with("1")} == {acme.event_id, beta.event_id}
        assert [row.event_id for row in events_with("1", field="phone")] == [acme.event_id]
        assert [row.event_id for row in events_with("1", tenant="beta")] == [beta.event_id]
        assert len(mask_lookup("1")) == 2

    def test_the_text_is_not_read(self):
        create()
        with CaptureQueriesContext(connection) as queries:
            list(events_with(SSN))
        assert "LIKE" not in " ".join(query["sql"].upper() for query in queries)

    def test_what_a_plugin_encodes_and_what_is_too_long(self, options, settings):
        settings.AUDIT = {"SENSITIVE_KEYS": [OLD], "MAX_VALUE_BYTES": 100}
        options(Policy, sensitive=["notes", "valid_until", "premium"])
        customer, _ = create()
        Policy.objects.create(
            number="1",
            customer=customer,
            notes="é" * 99,
            valid_until=date(2026, 3, 1),
            premium=Decimal("12.5"),
        )
        for value in ("é" * 99, date(2026, 3, 1), Decimal("12.50")):
            assert len(list(events_with(value))) == 1
        assert list(events_with(Decimal("12.5"))) == []  # it is recorded as the column holds it

    def test_an_error_shows_no_value_that_was_looked_for(self, settings):
        create()
        settings.AUDIT = {"SENSITIVE_KEYS": [NEW]}
        for look in (mask_lookup, events_with):
            with pytest.raises(KeyMissing) as caught:
                look(SSN)
            assert SSN not in variables_of_ours(caught.value)

    def test_types_are_kept_apart(self, options):
        options(Claim, sensitive=["amount"])
        customer, _ = create()
        Claim.objects.create(policy=Policy.objects.create(number="1", customer=customer), amount=7)
        assert len(list(events_with(7))) == 1
        assert list(events_with("7")) == []


def test_sealed_is_what_everybody_else_sees():
    _, row = create()
    assert is_sealed(row.recorded().to_dict()["changes"]["ssn"]["after"])

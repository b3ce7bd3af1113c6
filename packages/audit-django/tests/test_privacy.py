"""Sensitive values in the events that capture records: sealed, opened on the record, found by their masks."""

import threading

import pytest
from django.contrib.auth.models import Permission, User
from django.core.exceptions import PermissionDenied
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from testapp.models import Claim, Customer, Policy, Tag

from audit_core import Change, audit_context
from audit_core.codec import canonical
from audit_core.privacy import is_sealed
from audit_core.privacy.errors import KeyDestroyed, KeyMissing, NothingKept, Tampered
from audit_core.privacy.keyring import MemoryKeyring, export
from audit_core.privacy.keys import Scope, Secrets
from audit_core.privacy.sealing import key_id_of, mask_of, unseal
from audit_django import register
from audit_django.models import AuditEvent, DataKey
from audit_django.privacy import cache, events_with, mask_lookup, unmask_change
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
        options(User)
        customer, _ = create()
        owner = User.objects.create(username="bob")
        policy = Policy.objects.create(number="P-1", customer=customer, owner=owner)
        with transaction.atomic():
            policy.number = "P-2"
            policy.save()
            owner.delete()
        row = [row for row in AuditEvent.objects.filter(action="update") if "owner" in row.event.diff][-1]
        assert is_sealed(row.event.diff["owner"].before)
        assert row.event.diff["owner"].after is None

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


class TestQueries:
    def test_a_new_tenant_costs_two_and_a_known_one_none(self):
        with CaptureQueriesContext(connection) as queries:
            create()
        assert about_keys(queries) == ["SELECT", "INSERT"]
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
        sealed, failed = threading.Event(), []

        def elsewhere():
            try:
                Customer.objects.create(name="there", ssn=SSN)  # commits while the other is still open
            except BaseException as error:
                failed.append(error)
            finally:
                connections.close_all()
                sealed.set()

        with transaction.atomic():
            Customer.objects.create(name="here", ssn=SSN)
            thread = threading.Thread(target=elsewhere)
            thread.start()
            assert sealed.wait(20), "it waits for the first one's commit"
        thread.join()
        assert not failed
        assert DataKey.objects.count() == 2
        assert [opened(row) for row in AuditEvent.objects.filter(action="create")] == [SSN, SSN]
        cold()
        _, row = create()
        assert key_id_of(row.event.diff["ssn"].after) == min(DataKey.objects.values_list("id", flat=True))
        found = {row.event_id for row in events_with(SSN)}
        assert len(found) == 3

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
        cold()
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
            unmask_change(row.event.diff["ssn"], "after", event=row, user=reader)
        assert last("unmask") is None

    def test_not_what_another_tenant_owns(self, auditor, settings):
        settings.AUDIT = {"SENSITIVE_KEYS": [OLD], "TENANTS_OF_USER": f"{__name__}.only_beta"}
        with audit_context(tenant="acme"):
            _, row = create()
        with pytest.raises(PermissionDenied, match="tenant"):
            unmask_change(row.event.diff["ssn"], "after", event=row, user=auditor)

    def test_no_record_no_value(self, auditor, monkeypatch):
        _, row = create()

        def refuse(*args, **options):
            raise OSError("the disk is full")

        monkeypatch.setattr("audit_django.outbox.DjangoOutbox.append", refuse)
        with pytest.raises(OSError, match="disk is full") as caught:
            unmask_change(row.event.diff["ssn"], "after", event=row, user=auditor)
        assert SSN not in variables_of_ours(caught.value)

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

    def test_types_are_kept_apart(self, options):
        options(Claim, sensitive=["amount"])
        customer, _ = create()
        Claim.objects.create(policy=Policy.objects.create(number="1", customer=customer), amount=7)
        assert len(list(events_with(7))) == 1
        assert list(events_with("7")) == []


def test_sealed_is_what_everybody_else_sees():
    _, row = create()
    assert is_sealed(row.recorded().to_dict()["changes"]["ssn"]["after"])

"""Saving: what is recorded, and what it costs. Names of tests that end in a number are those of the traps."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from database_work import statements
from django.contrib.auth.models import User
from django.core import serializers
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.db.models.signals import post_save, pre_save
from testapp.models import (
    Account,
    Customer,
    Fragile,
    Gauge,
    Member,
    Note,
    Place,
    Policy,
    PolicyProxy,
    Restaurant,
    Tag,
    Unaudited,
)

from audit_django.testing import captured_events

pytestmark = pytest.mark.django_db


@pytest.fixture
def policy(db):
    customer = Customer.objects.create(name="Jane Doe")
    return Policy.objects.create(number="P-1007", customer=customer, status="pending", premium="1200")


@pytest.fixture
def users(db):
    return [User.objects.create(username=name, first_name=name.title()) for name in ("bob", "carol")]


def changes(event, **ignored):
    """The diff without the timestamp that the model sets by itself."""
    return {
        name: (change.before, change.after)
        for name, change in event.diff.items()
        if name not in ("updated_at", *ignored)
    }


def test_create(policy):
    with captured_events() as events:
        created = Policy.objects.create(number="P-1", customer=policy.customer, premium=Decimal(980))
    event = events.one("create", created)
    assert event.target.repr == "P-1"
    assert event.target.kind == "policy"
    assert changes(event) == {
        "number": (None, "P-1"),
        "customer": (None, {"pk": policy.customer.pk, "repr": "Jane Doe"}),
        "status": (None, "draft"),
        "premium": (None, "980.00"),
        "coverage": (None, {}),
        "notes": (None, ""),
    }
    assert event.diff["status"].display == {"after": "Draft"}


def test_update_compares_with_the_database(policy):
    Policy.objects.filter(pk=policy.pk).update(premium=1300)  # behind the instance's back
    with captured_events() as events:
        policy.premium = Decimal("1350.50")
        policy.save()
    assert changes(events.one("update", policy)) == {"premium": ("1300.00", "1350.50")}


def test_nothing_changed_nothing_recorded():
    tag = Tag.objects.create(name="Critical")
    with captured_events() as events:
        tag.save()
    events.assert_nothing_recorded()


def test_a_save_in_a_transaction_costs_one_select(policy, django_assert_num_queries):
    policy.status = "approved"
    with django_assert_num_queries(2):  # and the flush, once a transaction: see test_capture_transactions
        policy.save()


def test_the_labels_of_a_relation_come_with_the_same_select(policy, users, django_assert_num_queries):
    policy.owner = users[0]
    policy.save()
    with captured_events() as events:
        policy.owner = users[1]
        # MariaDB would lock the joined rows too, so there the old label takes a SELECT of its own.
        with django_assert_num_queries(3 if connection.vendor == "mysql" else 2):
            policy.save()
    event = events.one("update", policy)
    assert changes(event) == {
        "owner": ({"pk": users[0].pk, "repr": "bob"}, {"pk": users[1].pk, "repr": "carol"})
    }
    assert event.diff["owner"].role == "owner"


def test_a_relation_set_by_its_key_has_both_labels(policy, users):
    policy.owner_id = users[0].pk
    policy.save()
    policy = Policy.objects.get(pk=policy.pk)
    with captured_events() as events:
        policy.owner_id = users[1].pk
        policy.save()
    assert changes(events.one("update", policy))["owner"] == (
        {"pk": users[0].pk, "repr": "bob"},
        {"pk": users[1].pk, "repr": "carol"},
    )


def test_update_fields_and_deferred_fields_8(policy):
    with captured_events() as events:
        policy.status, policy.notes = "approved", "not written"
        policy.save(update_fields=["status"])
    assert changes(events.one("update", policy)) == {"status": ("pending", "approved")}
    deferred = Policy.objects.only("status").get(pk=policy.pk)
    deferred.status = "draft"
    assert statements(deferred.save) == ["SELECT", "UPDATE"]


def test_deferred_label_is_read_when_needed(policy):
    deferred = Policy.objects.only("status").get(pk=policy.pk)
    deferred.status = "draft"
    with captured_events() as events:
        deferred.save()
    assert events.one("update").target.repr == "P-1007"


def test_expressions_are_stored_as_values_9():
    gauge = Gauge.objects.create(qty=1)
    with captured_events() as events:
        gauge.qty = F("qty") + 5
        gauge.save()
    event = events.one("update", gauge)
    assert (event.diff["qty"].before, event.diff["qty"].after) == (1, 6)
    assert (event.diff["total"].before, event.diff["total"].after) == (2, 12)


def test_database_defaults_are_stored_as_values_9():
    with captured_events() as events:
        gauge = Gauge.objects.create(qty=7)
    event = events.one("create", gauge)
    stored = Gauge.objects.get(pk=gauge.pk)
    assert event.diff["created"].after == stored.created.astimezone(UTC).isoformat().replace("+00:00", "Z")
    assert event.diff["total"].after == 14


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("premium", 1200),
        ("premium", "1200.000"),
        ("premium", Decimal(1200)),
        ("status", Policy.Status.PENDING),
        ("coverage", {}),
        ("number", "P-1007"),
    ],
)
def test_the_same_value_in_another_form_is_no_change_10(policy, field, value):
    with captured_events() as events:
        setattr(policy, field, value)
        policy.save(update_fields=[field])
    events.assert_nothing_recorded()


def test_zero_has_no_sign_10(policy):
    policy.premium = 0
    policy.save()
    with captured_events() as events:
        policy.premium = Decimal("-0.001")
        policy.save()
        policy.save()
        Policy.objects.update(premium=Decimal("-0.001"))
    assert not any("premium" in event.diff for event in events)


def test_tuple_and_list_are_the_same_json_10(policy):
    policy.coverage = {"cover": ["fire", "water"]}
    policy.save()
    with captured_events() as events:
        policy.coverage = {"cover": ("fire", "water")}
        policy.save(update_fields=["coverage"])
    events.assert_nothing_recorded()


def test_true_and_one_are_different_json_10(policy):
    policy.coverage = {"glass": 1}
    policy.save()
    with captured_events() as events:
        policy.coverage = {"glass": True}
        policy.save()
    events.one("update", policy, changed="coverage")


def test_json_changed_in_place_11(policy):
    policy.coverage = {"deductible": 500}
    policy.save()
    with captured_events() as events:
        policy.coverage["deductible"] = 300
        policy.save()
    assert changes(events.one("update")) == {"coverage": ({"deductible": 500}, {"deductible": 300})}


def test_a_number_without_exponent_in_jsonb_10(policy):
    policy.coverage = {"sum": 1e16}
    policy.save()
    with captured_events() as events:
        policy.save()
    assert not any("coverage" in event.diff for event in events)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite keeps it as NULL")
def test_what_is_no_number_is_null_in_sqlite_24():
    with captured_events() as events:
        Gauge.objects.create(ratio=float("nan"))
    assert "ratio" not in events.one("create").diff


def test_from_and_to_null_12(policy):
    with captured_events() as events:
        policy.valid_until = date(2026, 12, 31)
        policy.save()
        policy.valid_until = None
        policy.save()
    assert [changes(event) for event in events] == [
        {"valid_until": (None, "2026-12-31")},
        {"valid_until": ("2026-12-31", None)},
    ]


def test_a_proxy_is_recorded_under_its_concrete_model_13(policy):
    with captured_events() as events:
        proxy = PolicyProxy.objects.get(pk=policy.pk)
        proxy.status = "approved"
        proxy.save()
    assert events.one("update").target.type == "testapp.Policy"


def test_multi_table_inheritance_is_one_event_14(django_assert_num_queries):
    with captured_events() as events:
        restaurant = Restaurant.objects.create(name="Bernd's", stars=2)
    assert changes(events.one("create", restaurant)) == {"name": (None, "Bernd's"), "stars": (None, 2)}
    with captured_events() as events:
        restaurant.name, restaurant.stars = "Berta's", 3
        restaurant.save()
    assert changes(events.one("update", restaurant)) == {"name": ("Bernd's", "Berta's"), "stars": (2, 3)}
    with captured_events() as events:
        place = Place.objects.get(pk=restaurant.pk)
        place.name = "Bella's"
        place.save()
    assert events.one("update").target.type == "testapp.Place"


def test_a_failed_save_of_a_child_leaves_no_trace_for_the_next_one_14():
    restaurant = Restaurant.objects.create(name="Bernd's", stars=2)
    restaurant.stars = "many"
    with pytest.raises(ValueError, match="many"), transaction.atomic():
        restaurant.save()
    with captured_events() as events:
        restaurant.stars = 4
        restaurant.save()
    assert changes(events.one("update")) == {"stars": (2, 4)}


def test_saving_over_an_existing_key_is_an_update_15():
    tag = Tag.objects.create(name="Critical")
    with captured_events() as events:
        Tag(pk=tag.pk, name="Urgent").save()
    assert changes(events.one("update", tag)) == {"name": ("Critical", "Urgent")}


def test_get_or_create_and_update_or_create_15():
    with captured_events() as events:
        tag, _ = Tag.objects.get_or_create(name="Critical")
        Tag.objects.get_or_create(name="Critical")
        Tag.objects.update_or_create(pk=tag.pk, defaults={"name": "Urgent"})
    assert [event.action for event in events] == ["create", "update"]


def test_force_insert_of_an_existing_key_records_nothing_15():
    tag = Tag.objects.create(name="Critical")
    with captured_events() as events:
        with pytest.raises(IntegrityError), transaction.atomic():
            Tag(pk=tag.pk, name="Urgent").save(force_insert=True)
        assert len(events) == 0


def test_a_label_that_fails_stops_nothing_18(caplog):
    with captured_events() as events:
        fragile = Fragile.objects.create(name="x")
    assert events.one("create", Fragile).target.repr == f"fragile {fragile.pk}"
    assert "no label today" in caplog.text


def test_loaddata_20(policy):
    fixture = serializers.serialize("json", [policy])
    with captured_events() as events:
        for loaded in serializers.deserialize("json", fixture.replace("P-1007", "P-1008")):
            loaded.save()
    assert changes(events.one("update", policy)) == {"number": ("P-1007", "P-1008")}


def test_managers_that_filter_hide_nothing_21():
    account = Account.objects.create(name="Jane", hidden=True)
    assert not Account.objects.exists()
    with captured_events() as events:
        account.name = "Jane Doe"
        account.save()
        account.delete()
    assert changes(events.one("update")) == {"name": ("Jane", "Jane Doe")}
    events.assert_recorded("delete", Account)


def test_keys_of_any_type_22():
    with captured_events() as events:
        Member.objects.create(code="häuptling-7")
    assert events.one("create", Member).target.id == "häuptling-7"


def test_text_that_databases_refuse_is_kept_visible_24():
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite stores NUL in text")
    with captured_events() as events:
        Tag.objects.create(name="a\x00b")
    assert events.one("create", Tag).diff["name"].after == "a\\u0000b"


def test_a_large_value_is_a_digest_25(policy):
    with captured_events() as events:
        policy.notes = "x" * 100_000
        policy.save()
    after = events.one("update").diff["notes"].after
    assert after["length"] == 100_000
    assert len(after["sha256"]) == 64


def test_sensitive_values_are_sealed():
    with captured_events() as events:
        customer = Customer.objects.create(name="Jane", ssn="078-05-1120")
        customer.ssn = ""
        customer.save()
    assert [(e.diff["ssn"].before, e.diff["ssn"].after) for e in events] == [
        (None, {"sealed": {}}),
        ({"sealed": {}}, ""),
    ]
    assert all(event.diff["ssn"].sensitive for event in events)


def test_the_context_that_an_object_adds():
    with captured_events() as events:
        Note.objects.create(text="hello", draft="secret draft", author="alice")
    event = events.one("create", Note)
    assert event.actor.username == "alice"
    assert "draft" not in event.diff


def test_what_is_not_registered_costs_nothing(django_assert_num_queries):
    with django_assert_num_queries(1):
        Unaudited.objects.create(name="x")


def test_handlers_of_signals_see_what_they_saw_before(policy):
    """A handler of pre_save that raises leaves the transaction usable, as it does without us."""

    def refuse(sender, instance, **kwargs):
        raise ValueError("not today")

    pre_save.connect(refuse, sender=Tag)
    try:
        with pytest.raises(ValueError, match="not today"):
            Tag(name="x").save()
    finally:
        pre_save.disconnect(refuse, sender=Tag)
    assert Tag.objects.count() == 0


def test_a_change_made_by_a_handler_of_post_save_is_its_own_event():
    def rename(sender, instance, created, **kwargs):
        if created:
            instance.name = "renamed"
            instance.save()

    post_save.connect(rename, sender=Tag)
    try:
        with captured_events() as events:
            Tag.objects.create(name="x")
    finally:
        post_save.disconnect(rename, sender=Tag)
    assert [event.action for event in events] == ["create", "update"]


def test_naive_datetimes_are_taken_in_the_default_zone_10(settings):
    settings.USE_TZ = True
    gauge = Gauge.objects.create(qty=1, created=datetime(2026, 3, 1, 12, tzinfo=UTC))
    with captured_events() as events, pytest.warns(RuntimeWarning, match="naive"):
        gauge.created = datetime(2026, 3, 1, 12)
        gauge.save(update_fields=["created"])
    events.assert_nothing_recorded()

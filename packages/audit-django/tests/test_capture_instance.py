"""``before="instance"``: what an instance was loaded with is what it held. Names that end in a number are those of traps."""

import copy
import pickle
from decimal import Decimal

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import F
from testapp.models import Customer, Gauge, Policy, PolicyProxy, Tag

from audit_django import register, registry
from audit_django.testing import captured_events

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def instance():
    before = dict(registry._registered)
    for model in (Policy, Tag, Gauge):
        register(model, before="instance")
    yield
    registry._registered.update(before)
    registry.forget()


@pytest.fixture
def policy(db):
    made = Policy.objects.create(
        number="P-1", customer=Customer.objects.create(name="Jane"), premium=100, coverage={"fire": [1]}
    )
    return Policy.objects.get(pk=made.pk)


def diff(events):
    return {
        name: (c.before, c.after) for name, c in events.one("update").diff.items() if name != "updated_at"
    }


def test_a_save_costs_no_query(policy, django_assert_num_queries):
    policy.status = "approved"
    with captured_events() as events, transaction.atomic(), django_assert_num_queries(1):
        policy.save()
    assert diff(events) == {"status": ("draft", "approved")}


def test_it_misses_what_others_have_done(policy):
    Policy.objects.filter(pk=policy.pk).update(premium=7)
    policy.status = "approved"
    with captured_events() as events:
        policy.save()
    assert diff(events) == {"status": ("draft", "approved")}  # and the premium is 100 again


def test_one_save_after_the_other(policy, django_assert_num_queries):
    with captured_events() as events:
        for premium in ("110", Decimal(120), 130):
            policy.premium = premium
            policy.save()
    assert [(e.diff["premium"].before, e.diff["premium"].after) for e in events] == [
        ("100.00", "110.00"),
        ("110.00", "120.00"),
        ("120.00", "130.00"),
    ]


def test_what_was_created_is_known(django_assert_num_queries):
    tag = Tag.objects.create(name="a")
    tag.name = "b"
    with captured_events() as events, transaction.atomic(), django_assert_num_queries(1):
        tag.save()
    assert diff(events) == {"name": ("a", "b")}


def test_a_save_without_a_change_is_the_update_alone(django_assert_num_queries):
    tag = Tag.objects.get(pk=Tag.objects.create(name="a").pk)
    with captured_events() as events, django_assert_num_queries(1):
        tag.save()
    assert len(events) == 0


def test_a_save_without_a_change_of_a_row_that_is_gone_creates_it():
    tag = Tag.objects.get(pk=Tag.objects.create(name="a").pk)
    Tag.objects.all().delete()
    with captured_events() as events:
        tag.save()
    assert events.one("create").target.id == str(tag.pk)
    Tag.objects.all().delete()
    with captured_events() as events, pytest.raises(DatabaseError), transaction.atomic():
        tag.save(force_update=True)
    assert len(events) == 0


@pytest.mark.parametrize("start", [{"fire": [1]}, {}], ids=["a value", "nothing"])
def test_json_changed_in_place_11(policy, start):
    policy.coverage = start
    policy.save()
    for loaded in (policy, Policy.objects.get(), PolicyProxy.objects.get()):
        loaded.coverage.setdefault("water", []).append(2)
        with captured_events() as events:
            loaded.save()
        assert "coverage" in diff(events)
        assert diff(events)["coverage"][0] != diff(events)["coverage"][1]
        loaded.coverage.pop("water")
        loaded.save()


def test_after_a_rollback_the_database_is_asked_4(policy):
    with pytest.raises(RuntimeError), transaction.atomic():
        policy.premium = 200
        policy.save()
        raise RuntimeError
    with captured_events() as events:
        policy.save()
    assert diff(events) == {"premium": ("100.00", "200.00")}


def test_after_a_savepoint_is_rolled_back_the_database_is_asked_4(policy):
    with transaction.atomic():
        policy.status = "pending"
        policy.save()
        with pytest.raises(RuntimeError), transaction.atomic():
            policy.premium = 200
            policy.save()
            raise RuntimeError
        with captured_events() as events:
            policy.save()
    assert diff(events) == {"premium": ("100.00", "200.00")}


def test_a_failed_save_changes_nothing_4():
    Gauge.objects.create(qty=1)
    gauge = Gauge.objects.create(qty=2)
    gauge.qty = 1
    with pytest.raises(IntegrityError), transaction.atomic():
        gauge.save()
    gauge.qty = 3
    with captured_events() as events:
        gauge.save()
    assert diff(events)["qty"] == (2, 3)


def test_update_fields_and_deferred_fields_8(policy, django_assert_num_queries):
    policy.status, policy.premium, policy.number = "approved", 7, "unsaved"
    with captured_events() as events, transaction.atomic(), django_assert_num_queries(1):
        policy.save(update_fields=["status"])
    assert diff(events) == {"status": ("draft", "approved")}
    assert events[0].target.repr == "P-1"
    with captured_events() as events:
        policy.save()
    assert diff(events) == {"premium": ("100.00", "7.00"), "number": ("P-1", "unsaved")}
    partly = Policy.objects.only("number").get()
    partly.number = "P-2"
    with captured_events() as events:
        partly.save()
    assert diff(events) == {"number": ("unsaved", "P-2")}
    assert partly.premium == 7  # loads what was deferred
    partly.premium = 8
    with captured_events() as events:
        partly.save(update_fields=["premium"])
    assert diff(events) == {"premium": ("7.00", "8.00")}


def test_expressions_are_stored_as_values_9(policy):
    policy.premium = F("premium") + 5
    with captured_events() as events:
        policy.save()
    assert diff(events) == {"premium": ("100.00", "105.00")}
    policy.refresh_from_db()
    policy.premium += 1
    with captured_events() as events:
        policy.save()
    assert diff(events) == {"premium": ("105.00", "106.00")}


def test_refreshing_counts_as_loading(policy):
    Policy.objects.filter(pk=policy.pk).update(premium=7, status="pending")
    policy.refresh_from_db(fields=["premium"])
    policy.premium, policy.status = 8, "approved"
    with captured_events() as events:
        policy.save()
    assert diff(events) == {"premium": ("7.00", "8.00"), "status": ("draft", "approved")}


def test_an_instance_that_becomes_another_row(policy):
    other = Policy.objects.create(number="P-2", customer=policy.customer)
    policy.pk = other.pk
    with captured_events() as events:
        policy.save()
    assert diff(events)["number"] == ("P-2", "P-1")
    policy.pk = None
    policy._state.adding = True
    with captured_events() as events:
        policy.save()
    assert events.one("create").diff["number"].after == "P-1"


def test_a_pickled_instance_asks_the_database(policy):
    assert len(pickle.dumps(policy)) < 1.2 * len(pickle.dumps(Customer(name="x"))) + 1000
    for twin in (pickle.loads(pickle.dumps(policy)), copy.deepcopy(policy), copy.copy(policy)):
        Policy.objects.update(premium=100)
        twin.premium = 150
        with captured_events() as events:
            twin.save()
        assert diff(events) == {"premium": ("100.00", "150.00")}


def test_loading_costs_no_query_and_models_without_it_are_left_alone(policy, django_assert_num_queries):
    with django_assert_num_queries(1):
        list(Policy.objects.all())
    assert hasattr(Policy.objects.get()._state, "_audit_loaded")
    assert not hasattr(Customer.objects.get()._state, "_audit_loaded")
    register(Policy)
    assert "from_db" not in Policy.__dict__
    assert not hasattr(Policy.objects.get()._state, "_audit_loaded")

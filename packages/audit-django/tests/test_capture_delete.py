"""Deleting: every audited object that goes or changes with it has its event."""

import threading

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, connections, transaction
from django.db.models import ProtectedError
from testapp.models import (
    Claim,
    Customer,
    Document,
    Group,
    Member,
    Membership,
    Place,
    Policy,
    Restaurant,
    Tag,
)

from audit_core.summarizers.grammar import GrammarSummarizer
from audit_django.capture import update
from audit_django.capture.transactions import state_of
from audit_django.models import AuditEvent
from audit_django.testing import captured_events

pytestmark = pytest.mark.django_db


@pytest.fixture
def policy(db):
    return Policy.objects.create(number="P-1", customer=Customer.objects.create(name="Jane Doe"))


def test_what_was_there_is_in_the_event(policy):
    with captured_events() as events:
        key = policy.pk
        policy.delete()
    event = events.one("delete")
    assert (event.target.id, event.target.repr) == (str(key), "P-1")
    assert event.diff["customer"].before["repr"] == "Jane Doe"
    assert event.diff["customer"].after is None
    assert event.diff["status"].display == {"before": "Draft"}


def test_cascades_17(policy):
    claim = Claim.objects.create(policy=policy)
    for title in ("a", "b", "c"):
        Document.objects.create(claim=claim, title=title)
    with captured_events() as events:
        claim.delete()
    root, *others = events
    assert root.target.type == "testapp.Claim"
    assert root.extra == {"deleted_with": [{"kind": "document", "kind_plural": "documents", "count": 3}]}
    assert {other.diff["title"].before for other in others} == {"a", "b", "c"}
    assert all(other.related[0].key == root.target.key for other in others)
    [sentence] = GrammarSummarizer().summarize([root], "en")
    assert sentence.endswith(", and 3 documents with it.")


def test_set_null_17(policy):
    bob = User.objects.create(username="bob")
    policy.owner = bob
    policy.save()
    with captured_events() as events:
        bob.delete()
    event = events.one("update", policy)
    assert event.diff["owner"].before == {"pk": event.diff["owner"].before["pk"], "repr": "bob"}
    assert event.diff["owner"].after is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
def test_nobody_refers_meanwhile_to_what_goes_17(policy):
    """The user who goes is not audited; a policy that another transaction gives to them must not lose them unseen."""
    bob = User.objects.create(username="bob")
    Policy.objects.filter(pk=policy.pk).update(owner=bob)
    outcomes = []

    def give():
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SET lock_timeout = '500ms'"
                    if connection.vendor == "postgresql"
                    else "SET innodb_lock_wait_timeout = 1"
                )
            Policy.objects.create(number="P-2", customer=policy.customer, owner=bob)
        except DatabaseError as error:
            outcomes.append(error)
        finally:
            connections.close_all()

    def interfere(execute, sql, params, many, context):
        if sql.startswith("UPDATE") and "testapp_policy" in sql:
            other = threading.Thread(target=give)
            other.start()
            other.join()
        return execute(sql, params, many, context)

    with captured_events() as events, connection.execute_wrapper(interfere):
        bob.delete()
    assert len(outcomes) == 1  # it waited for us
    assert events.one("update", policy).diff["owner"].after is None


def test_a_queryset_is_deleted_object_by_object_17():
    for name in "abc":
        Tag.objects.create(name=name)
    with captured_events() as events:
        Tag.objects.filter(name__in=["a", "b"]).delete()
    assert sorted(event.target.repr for event in events.matching("delete")) == ["a", "b"]


def test_many_events_do_not_wait_for_the_commit_17(monkeypatch):
    monkeypatch.setattr(update, "PART", 7)
    Tag.objects.bulk_create(Tag(name=str(n)) for n in range(50))
    waiting = []

    def look(execute, sql, params, many, context):
        waiting.append(len(list(state_of(connection).pending.entries())))
        return execute(sql, params, many, context)

    with captured_events() as events, transaction.atomic(), connection.execute_wrapper(look):
        Tag.objects.all().delete()
        Tag.objects.exists()
    assert len(events.matching("delete")) == 50
    assert max(waiting) == 7


def test_values_come_from_the_database_not_from_the_instance(policy):
    Policy.objects.filter(pk=policy.pk).update(notes="newer")
    with captured_events() as events:
        policy.delete()
    assert events.one("delete").diff["notes"].before == "newer"


def test_what_was_gone_already_is_no_event():
    tag = Tag.objects.create(name="x")
    twin = Tag.objects.get(pk=tag.pk)
    tag.delete()
    with captured_events() as events:
        twin.delete()
    events.assert_nothing_recorded()


def test_a_refused_deletion_is_no_event(policy):
    with captured_events() as events, pytest.raises(ProtectedError):
        policy.customer.delete()
    events.assert_nothing_recorded()


def test_links_go_with_the_object_that_has_them(policy):
    tag = Tag.objects.create(name="Critical")
    policy.tags.add(tag)
    with captured_events() as events:
        policy.delete()
    assert [item["repr"] for item in events.one("delete").diff["tags"].removed] == ["Critical"]


def test_links_to_an_object_that_goes_are_changes_of_the_others(policy):
    tag = Tag.objects.create(name="Critical")
    policy.tags.add(tag)
    with captured_events() as events:
        tag.delete()
    assert [event.action for event in events] == ["delete", "update"]
    assert events.one("update", policy).diff["tags"].removed == [
        {"pk": int(events[0].target.id), "repr": "Critical"}
    ]


def test_a_through_model_of_ones_own_17():
    member, group = Member.objects.create(code="m"), Group.objects.create(name="g")
    Membership.objects.create(member=member, group=group)
    with captured_events() as events:
        group.delete()
    assert sorted((event.action, event.target.type) for event in events) == [
        ("delete", "testapp.Group"),
        ("delete", "testapp.Membership"),
        ("update", "testapp.Member"),
    ]


def test_multi_table_inheritance_is_one_event_14():
    restaurant = Restaurant.objects.create(name="Bernd's", stars=2)
    with captured_events() as events:
        restaurant.delete()
    assert events.one("delete").diff["name"].before == "Bernd's"
    restaurant = Restaurant.objects.create(name="Berta's", stars=2)
    with captured_events() as events:
        Place.objects.get(pk=restaurant.pk).delete()
    assert events.one("delete").target.type == "testapp.Restaurant"


def test_nothing_is_lost_with_the_object_26(policy):
    key = str(policy.pk)
    policy.delete()
    Customer.objects.all().delete()
    User.objects.all().delete()
    history = AuditEvent.objects.filter(target_type="testapp.Policy", target_id=key).order_by("number")
    assert [row.action for row in history] == ["create", "delete"]
    assert history[0].event.diff["customer"].after["repr"] == "Jane Doe"


def test_what_is_not_audited_costs_nothing(django_assert_num_queries):
    user = User.objects.create(username="x")
    from django.contrib.sessions.models import Session
    from django.utils import timezone

    session = Session.objects.create(session_key="x" * 32, session_data="", expire_date=timezone.now())
    with django_assert_num_queries(1):
        session.delete()
    assert user.pk


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite's driver refuses such a number")
def test_a_key_that_no_row_can_have_deletes_nothing():
    with captured_events() as events:
        for _ in range(2):
            deleted, _kinds = Tag(pk=2**70).delete()
            assert deleted == 0
            Tag.objects.create(name="x").delete()
    assert [event.action for event in events] == ["create", "delete"] * 2

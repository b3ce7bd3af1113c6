"""``update()``, ``bulk_update()``, ``bulk_create()`` and what ends in them. Names that end in a number are those of traps."""

import itertools
import threading
from decimal import Decimal

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, connections, models, transaction
from django.db.models import Case, F, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Abs, Concat, Upper
from testapp.models import (
    Account,
    Claim,
    Customer,
    Gauge,
    Group,
    Member,
    Membership,
    Note,
    Place,
    Policy,
    PolicyProxy,
    Restaurant,
    Tag,
    Unaudited,
)

from audit_core.summarizers.grammar import sentence
from audit_django import disabled, registry
from audit_django.capture import inserted, spool, update
from audit_django.capture.guard import EventNotWritten
from audit_django.capture.transactions import state_of
from audit_django.models import AuditEvent
from audit_django.testing import captured_events

pytestmark = pytest.mark.django_db


@pytest.fixture
def customer(db):
    return Customer.objects.create(name="Jane Doe")


@pytest.fixture
def policies(customer):
    return Policy.objects.bulk_create(
        Policy(number=f"P-{n}", customer=customer, premium=100 * n) for n in range(1, 6)
    )


def told(events, *names):
    """Of each event the action, the label and what changed."""
    return [
        (
            e.action,
            e.target.repr,
            {name: (c.before, c.after) for name, c in e.diff.items() if name in names or not names},
        )
        for e in events
    ]


class TestUpdate:
    def test_each_row_has_its_event_16(self, policies):
        with captured_events() as events:
            assert Policy.objects.filter(premium__gt=300).update(status="approved") == 2
        assert told(events) == [
            ("update", "P-4", {"status": ("draft", "approved")}),
            ("update", "P-5", {"status": ("draft", "approved")}),
        ]
        assert events[0].diff["status"].display == {"before": "Draft", "after": "Approved"}
        assert events[0].target.id == str(policies[3].pk)

    def test_rows_that_have_the_value_already_are_no_events(self, policies):
        Policy.objects.filter(number="P-1").update(status="approved")
        with captured_events() as events:
            assert Policy.objects.update(status="approved") == 5
        assert len(events) == 4
        with captured_events() as events:
            Policy.objects.update(premium="100.00")
        assert [e.target.repr for e in events] == ["P-2", "P-3", "P-4", "P-5"]

    def test_expressions_are_stored_as_values_9(self, policies):
        with captured_events() as events:
            Policy.objects.filter(number__in=["P-1", "P-2"]).update(
                premium=F("premium") * 2 + Value(Decimal("0.5")), number=Concat(Upper("number"), Value("/x"))
            )
        assert told(events) == [
            ("update", "P-1/x", {"number": ("P-1", "P-1/x"), "premium": ("100.00", "200.50")}),
            ("update", "P-2/x", {"number": ("P-2", "P-2/x"), "premium": ("200.00", "400.50")}),
        ]

    def test_case_when_16(self, policies):
        with captured_events() as events:
            Policy.objects.update(
                status=Case(When(premium__lt=200, then=Value("pending")), default=F("status"))
            )
        assert told(events) == [("update", "P-1", {"status": ("draft", "pending")})]

    def test_joins_and_subqueries_16(self, policies, customer):
        other = Customer.objects.create(name="John")
        claims = [Claim.objects.create(policy=policy, amount=policy.pk) for policy in policies]
        Policy.objects.filter(number="P-2").update(customer=other)
        with captured_events() as events:
            assert Claim.objects.filter(policy__customer__name="John").update(amount=7) == 1
        assert told(events) == [("update", f"C-{claims[1].pk}", {"amount": (claims[1].amount, 7)})]
        highest = Claim.objects.filter(policy=OuterRef("pk")).values("amount")[:1]
        with captured_events() as events:
            Policy.objects.filter(claims__amount=7).update(premium=Subquery(highest))
        assert told(events) == [("update", "P-2", {"premium": ("200.00", "7.00")})]

    def test_a_row_that_a_join_finds_twice_is_one_event_16(self, policies):
        for _ in range(2):
            Claim.objects.create(policy=policies[0])
        with captured_events() as events:
            Policy.objects.filter(claims__amount=0).distinct().update(notes="x")
        assert told(events) == [("update", "P-1", {"notes": ("", "x")})]

    def test_annotations_16(self, policies):
        with captured_events() as events:
            Policy.objects.annotate(n=models.Count("claims"), twice=F("premium") * 2).filter(
                n=0, twice=400
            ).update(notes="x")
        assert told(events) == [("update", "P-2", {"notes": ("", "x")})]

    def test_slices_by_key_16(self, policies):
        first = Policy.objects.order_by("-premium")[:2]
        with captured_events() as events:
            Policy.objects.filter(pk__in=list(first.values_list("pk", flat=True))).update(notes="x")
        assert {e.target.repr for e in events} == {"P-4", "P-5"}
        with pytest.raises(TypeError, match="slice"):
            first.update(notes="y")

    def test_a_relation_has_both_labels_and_costs_one_query_more(
        self, policies, customer, django_assert_num_queries
    ):
        other = Customer.objects.create(name="John")
        with captured_events() as events, transaction.atomic(), django_assert_num_queries(3):
            Policy.objects.update(customer=other)  # SELECT … FOR UPDATE, UPDATE, SELECT of the labels
        assert events[0].diff["customer"].before == {"pk": customer.pk, "repr": "Jane Doe"}
        assert events[0].diff["customer"].after == {"pk": other.pk, "repr": "John"}
        assert len(events) == 5

    def test_the_key_of_a_relation_in_its_own_name(self, policies, customer):
        other = Customer.objects.create(name="John")
        with captured_events() as events:
            Policy.objects.filter(number="P-1").update(customer_id=str(other.pk))
        assert events.one("update").diff["customer"].after == {"pk": other.pk, "repr": "John"}

    @pytest.mark.parametrize("rows", [1, 300])
    def test_it_costs_one_query_whatever_the_rows(self, customer, rows, django_assert_num_queries):
        Policy.objects.bulk_create(Policy(number=f"P-{n}", customer=customer) for n in range(rows))
        with transaction.atomic(), django_assert_num_queries(2):
            Policy.objects.update(status="approved")
        with transaction.atomic(), django_assert_num_queries(3):
            Policy.objects.update(premium=F("premium") + 1)

    def test_what_is_not_audited_costs_nothing(self, policies, django_assert_num_queries):
        Unaudited.objects.create()
        with captured_events() as events, transaction.atomic(), django_assert_num_queries(1):
            Unaudited.objects.update(**{next(f.name for f in Unaudited._meta.fields if not f.primary_key): 1})
        Note.objects.create(text="x")
        with captured_events() as more, transaction.atomic(), django_assert_num_queries(1):
            Note.objects.update(draft="y")  # an excluded field
        assert len(events) == len(more) == 0

    def test_managers_that_filter_hide_nothing_21(self):
        Account.objects.create(name="a")
        account = Account(name="b", hidden=True)
        account.save()
        with captured_events() as events:
            Account.objects.all().update(name="c")
            Account._base_manager.filter(hidden=True).update(name="d")
        assert told(events) == [("update", "c", {"name": ("a", "c")}), ("update", "d", {"name": ("b", "d")})]

    def test_a_proxy_is_recorded_under_its_concrete_model_13(self, policies):
        with captured_events() as events:
            PolicyProxy.objects.filter(number="P-1").update(notes="x")
        assert events.one("update").target.type == "testapp.Policy"

    def test_multi_table_inheritance_14(self):
        restaurant = Restaurant.objects.create(name="Roma", stars=1)
        place = Place.objects.create(name="Park")
        with captured_events() as events:
            Restaurant.objects.update(name="Toma", stars=2)
        [event] = events
        assert (event.target.type, event.target.id) == ("testapp.Restaurant", str(restaurant.pk))
        assert {name: (c.before, c.after) for name, c in event.diff.items()} == {
            "name": ("Roma", "Toma"),
            "stars": (1, 2),
        }
        with captured_events() as events:
            Place.objects.update(name="X")
        assert {(e.target.type, e.target.id) for e in events} == {
            ("testapp.Restaurant", str(restaurant.pk)),
            ("testapp.Place", str(place.pk)),
        }

    def test_generated_columns_follow_9(self):
        Gauge.objects.create(qty=2, price=3)
        with captured_events() as events:
            Gauge.objects.update(price=5)
        assert {name: (c.before, c.after) for name, c in events.one("update").diff.items()} == {
            "price": (3, 5),
            "total": (6, 10),
        }

    def test_sensitive_values_are_sealed(self, customer):
        with captured_events() as events:
            Customer.objects.update(ssn="756.1234.5678.97")
        event = events.one("update")
        assert event.diff["ssn"].sensitive
        assert "756.1234" not in str(event.to_dict())

    def test_the_context_that_an_object_adds(self):
        Note.objects.create(text="x", author="ann")
        with captured_events() as events:
            Note.objects.update(text="y")
        assert events.one("update").actor.label == "ann"

    def test_a_failed_update_leaves_no_event_1(self, policies):
        for qty in (1, 2):
            Gauge.objects.create(qty=qty)
        with captured_events() as events:
            with pytest.raises(DatabaseError), transaction.atomic():
                Gauge.objects.update(qty=7)
            assert sorted(Gauge.objects.values_list("qty", flat=True)) == [1, 2]
        assert len(events) == 0

    def test_capture_that_is_off_is_counted_20(self, policies):
        with captured_events() as events, disabled(reason="import"):
            Policy.objects.update(notes="x")
        assert [e.action for e in events] == ["capture_disabled"]
        assert events[0].extra["skipped"] == 1

    def test_async_twins_16(self, policies):
        with captured_events() as events:
            assert async_to_sync(Policy.objects.filter(number="P-1").aupdate)(notes="x") == 1
        assert told(events) == [("update", "P-1", {"notes": ("", "x")})]

    def test_more_rows_than_fit_into_a_part_16(self, customer, monkeypatch):
        """Keys are read in parts, values wait on disk, and the parts are written one by one."""
        monkeypatch.setattr(update, "PART", 7)
        monkeypatch.setattr(spool, "PARTS_IN_MEMORY", 2)
        Policy.objects.bulk_create(
            Policy(number=f"P-{n}", customer=customer, notes=f"secret {n}") for n in range(50)
        )
        pending = []

        def look(execute, sql, params, many, context):
            pending.append(len(list(state_of(connection).pending.entries())))
            return execute(sql, params, many, context)

        with captured_events() as events, transaction.atomic(), connection.execute_wrapper(look):
            assert Policy.objects.update(premium=F("premium") + 1) == 50
        assert [e.target.repr for e in events] == [f"P-{n}" for n in range(50)]
        assert {(e.diff["premium"].before, e.diff["premium"].after) for e in events} == {("0.00", "1.00")}
        assert max(pending) == 7

    def test_what_waits_on_disk_cannot_be_read_there(self, customer, monkeypatch):
        monkeypatch.setattr(spool, "PARTS_IN_MEMORY", 0)
        with spool.Spool() as kept:
            kept.append([Policy(number="CANARY", customer=customer)])
            kept.append([Policy(number="P-2", customer=customer)])
            kept._file.seek(0)
            assert b"CANARY" not in kept._file.read()
            assert [[row.number for row in part] for part in kept] == [["CANARY"], ["P-2"]]
            file = kept._file
        assert file.closed

    def test_a_primary_key_that_is_set_22(self):
        Tag.objects.create(pk=1, name="x")
        with captured_events() as events:
            Tag.objects.filter(pk=1).update(id=50, name=Concat("name", Value("y")))
            Tag.objects.update(id=F("id") + 7)
        assert [(e.target.id, {n: (c.before, c.after) for n, c in e.diff.items()}) for e in events] == [
            ("1", {"name": ("x", "xy"), "id": (1, 50)}),
            ("50", {"id": (50, 57)}),
        ]

    def test_one_event_for_a_statement_above_a_threshold(self, policies, settings):
        settings.AUDIT = {**settings.AUDIT, "STATEMENT_EVENT_ABOVE_ROWS": 4}
        with captured_events() as events:
            assert Policy.objects.filter(premium__lt=500).update(status="approved") == 4
        assert len(events) == 4
        with captured_events() as events:
            Policy.objects.update(status="pending", premium=F("premium") + 1)
        [event] = events
        assert (event.target.type, event.target.id) == ("testapp.Policy", None)
        assert event.extra == {"count": 5, "fields": ["status", "premium"]}
        assert {name: change.after for name, change in event.diff.items()} == {"status": "pending"}
        assert "5 policies" in sentence(event)

    def test_above_the_threshold_the_other_rows_are_not_read(
        self, customer, settings, monkeypatch, django_assert_num_queries
    ):
        monkeypatch.setattr(update, "PART", 2)
        settings.AUDIT = {**settings.AUDIT, "STATEMENT_EVENT_ABOVE_ROWS": 3}
        Policy.objects.bulk_create(Policy(number=f"P-{n}", customer=customer) for n in range(20))
        with captured_events() as events, transaction.atomic(), django_assert_num_queries(3):
            assert Policy.objects.update(status="approved") == 20
        assert events.one().extra["count"] == 20


@pytest.mark.django_db(transaction=True)
class TestUpdateOfManyAtOnce:
    @pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
    def test_a_row_that_comes_in_between_is_not_updated_without_an_event(self, policies, customer):
        """Another transaction adds a row that matches, after the rows were read and before they are updated."""

        def add(execute, sql, params, many, context):
            if sql.startswith("UPDATE"):
                in_a_thread(lambda: Policy.objects.create(number="P-9", customer=customer))
            return execute(sql, params, many, context)

        with captured_events() as events, connection.execute_wrapper(add):
            assert Policy.objects.filter(status="draft").update(status="approved") == 5
        assert [e.target.repr for e in events if e.action == "update"] == [f"P-{n}" for n in range(1, 6)]
        assert Policy.objects.get(number="P-9").status == "draft"

    @pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
    def test_more_rows_than_an_update_names_are_counted(self, policies, customer, monkeypatch):
        monkeypatch.setattr(update, "MAX_KEYS", 2)

        def add(execute, sql, params, many, context):
            if sql.startswith("UPDATE"):
                in_a_thread(lambda: Policy.objects.create(number="P-9", customer=customer))
            return execute(sql, params, many, context)

        with connection.execute_wrapper(add), pytest.raises(EventNotWritten, match="5 rows .* but 6 were"):
            Policy.objects.filter(status="draft").update(status="approved")
        assert not Policy.objects.filter(status="approved").exists()

    def test_before_is_what_the_database_held_under_a_lock_51(self, policies):
        """Two updates of the same rows, each from four threads: the events of a row are a chain without a gap."""

        def work():
            for _ in range(5):
                Policy.objects.update(premium=F("premium") + 1)

        with captured_events() as events:
            threads = [threading.Thread(target=closing(work)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        del events
        for policy in Policy.objects.all():
            history = AuditEvent.objects.filter(
                target_type="testapp.Policy", target_id=str(policy.pk), action="update"
            ).order_by("number")
            steps = [
                (Decimal(c.before), Decimal(c.after)) for c in (e.event.diff["premium"] for e in history)
            ]
            assert len(steps) == 20
            assert all(before[1] == after[0] for before, after in itertools.pairwise(steps))


def closing(work):
    def run():
        try:
            work()
        finally:
            connections.close_all()

    return run


def in_a_thread(work):
    thread = threading.Thread(target=closing(work))
    thread.start()
    thread.join()


class TestRelatedManagers:
    """``add()``, ``remove()``, ``clear()`` and ``set()`` of the other side of a foreign key end in ``update()``."""

    def test_add_remove_and_clear(self, policies):
        claim, other = Claim.objects.create(policy=policies[0]), Claim.objects.create(policy=policies[0])
        bob = User.objects.create(username="bob")
        with captured_events() as events:
            bob.claim_set.add(claim, other)
        assert [e.diff["handler"].after["repr"] for e in events] == ["bob", "bob"]
        with captured_events() as events:
            bob.claim_set.remove(claim)
        assert (events.one("update").diff["handler"].before["repr"], events[0].diff["handler"].after) == (
            "bob",
            None,
        )
        with captured_events() as events:
            bob.claim_set.clear()
        assert events.one("update").target.id == str(other.pk)


class TestBulkUpdate:
    def test_each_object_has_its_event_16(self, policies):
        for n, policy in enumerate(policies):
            policy.premium = n
            policy.status = "draft" if n % 2 else "approved"
        policies[4].notes = "is not among the fields"
        with captured_events() as events:
            assert Policy.objects.bulk_update(policies, ["premium", "status"], batch_size=2) == 5
        assert len(events) == 5
        assert told(events)[0] == (
            "update",
            "P-1",
            {"premium": ("100.00", "0.00"), "status": ("draft", "approved")},
        )
        assert set(events[4].diff) == {"premium", "status"}

    def test_nothing_changed_nothing_recorded(self, policies):
        with captured_events() as events:
            Policy.objects.bulk_update(Policy.objects.all(), ["premium", "status"])
        assert len(events) == 0


class TestBulkCreate:
    def test_each_row_has_its_event_with_its_key_16(self, customer):
        with captured_events() as events:
            made = Policy.objects.bulk_create(
                [Policy(number=f"P-{n}", customer=customer, premium=Decimal(n)) for n in range(3)],
                batch_size=2,
            )
        assert [e.target.id for e in events] == [str(policy.pk) for policy in made]
        event = events[1]
        assert (event.action, event.target.repr, event.diff["premium"].after) == ("create", "P-1", "1.00")
        assert event.diff["customer"].after == {"pk": customer.pk, "repr": "Jane Doe"}

    def test_an_iterator_and_nothing(self, customer):
        with captured_events() as events:
            assert (
                len(Policy.objects.bulk_create(Policy(number=str(n), customer=customer) for n in range(3)))
                == 3
            )
            assert Policy.objects.bulk_create([]) == []
        assert len(events) == 3

    def test_it_costs_nothing_but_the_insert_at_the_commit(self, customer, django_assert_num_queries):
        with captured_events(), transaction.atomic(), django_assert_num_queries(1):
            Policy.objects.bulk_create([Policy(number=str(n), customer=customer) for n in range(100)])

    def test_what_the_database_makes_of_it_9(self):
        with captured_events() as events:
            Gauge.objects.bulk_create([Gauge(qty=2, price=3), Gauge(qty=5)])
        first, second = events
        stored = Gauge.objects.get(qty=2)
        assert (first.diff["total"].after, second.diff["total"].after) == (6, 10)
        assert first.diff["created"].after == stored.created.isoformat().replace("+00:00", "Z")

    def test_keys_that_are_set_16(self):
        with captured_events() as events:
            Member.objects.bulk_create([Member(code="a"), Member(code="b")])
            Tag.objects.bulk_create([Tag(pk="77", name="x")])
        assert [e.target.id for e in events] == ["a", "b", "77"]

    def test_conflicts_that_are_ignored_are_no_events_16(self):
        Member.objects.create(code="a")
        with captured_events() as events:
            Member.objects.bulk_create([Member(code="a"), Member(code="b")], ignore_conflicts=True)
        assert told(events) == [("create", "b", {})]
        with captured_events() as events:
            Member.objects.bulk_create([Member(code="a")], ignore_conflicts=True)
            Member.objects.bulk_create([Member(code="c")], ignore_conflicts=True)
        assert [e.target.id for e in events] == ["c"]

    def test_ignored_conflicts_leave_the_objects_as_django_does(self, django_assert_num_queries):
        Gauge.objects.create(qty=1)
        gauges = [Gauge(qty=1), Gauge(qty=2, ratio=0.5), Gauge(qty=3)]
        with captured_events() as events, transaction.atomic(), django_assert_num_queries(1):
            assert Gauge.objects.bulk_create(gauges, ignore_conflicts=True) == gauges
        assert [gauge.pk for gauge in gauges] == [None] * 3
        assert [e.target.id for e in events] == [
            str(g.pk) for g in Gauge.objects.filter(qty__gt=1).order_by("qty")
        ]
        assert [e.diff["total"].after for e in events] == [4, 6]
        assert events[0].diff["ratio"].after == 0.5

    def test_conflicts_that_become_updates_16(self):
        old = Gauge.objects.create(qty=1, price=2)
        how = {"unique_fields": ["qty"]} if connection.features.supports_update_conflicts_with_target else {}
        with captured_events() as events:
            Gauge.objects.bulk_create(
                [Gauge(qty=1, price=9), Gauge(qty=2, price=4)],
                update_conflicts=True,
                update_fields=["price"],
                **how,
            )
        update, create = sorted(events, key=lambda e: e.action, reverse=True)
        assert (update.action, update.target.id) == ("update", str(old.pk))
        assert told([update]) == [("update", str(old), {"price": (2, 9), "total": (2, 9)})]
        assert (create.action, create.diff["total"].after) == ("create", 8)

    def test_a_conflict_of_a_value_that_the_database_works_out_16(self):
        old = Gauge.objects.create(qty=3, price=2)
        how = {"unique_fields": ["qty"]} if connection.features.supports_update_conflicts_with_target else {}
        with captured_events() as events:
            Gauge.objects.bulk_create(
                [Gauge(qty=Abs(Value(-3)), price=9)], update_conflicts=True, update_fields=["price"], **how
            )
        assert told([events.one()]) == [("update", str(old), {"price": (2, 9), "total": (6, 27)})]

    def test_a_conflict_that_changes_nothing_is_no_event_16(self):
        Gauge.objects.create(qty=1, price=2)
        how = {"unique_fields": ["qty"]} if connection.features.supports_update_conflicts_with_target else {}
        with captured_events() as events:
            Gauge.objects.bulk_create(
                [Gauge(qty=1, price=2)], update_conflicts=True, update_fields=["price"], **how
            )
        assert len(events) == 0

    def test_a_failed_insert_leaves_no_event_1(self):
        Gauge.objects.create(qty=1)
        with captured_events() as events, pytest.raises(DatabaseError), transaction.atomic():
            Gauge.objects.bulk_create([Gauge(qty=2), Gauge(qty=1)])
        assert len(events) == 0

    def test_links_that_are_made_directly_are_events_of_both_19(self):
        member, group = Member.objects.create(code="a"), Group.objects.create(name="g")
        with captured_events() as events:
            Membership.objects.bulk_create([Membership(member=member, group=group)])
        assert [(e.action, e.target.type) for e in events] == [
            ("update", "testapp.Member"),
            ("create", "testapp.Membership"),
        ]
        assert events[0].diff["groups"].added == [{"pk": group.pk, "repr": "g"}]

    def test_async_twins_16(self, customer):
        with captured_events() as events:
            async_to_sync(Policy.objects.all().abulk_create)([Policy(number="P-1", customer=customer)])
        assert len(events) == 1

    def test_what_is_not_audited_costs_nothing(self, django_assert_num_queries):
        with captured_events() as events, transaction.atomic(), django_assert_num_queries(1):
            Unaudited.objects.bulk_create([Unaudited(name="x")])
        assert len(events) == 0

    def test_the_condition_of_a_registration(self, customer, monkeypatch):
        monkeypatch.setattr(registry, "_registered", dict(registry._registered))
        registry.register(Tag, condition=lambda tag: tag.name != "private")
        try:
            with captured_events() as events:
                Tag.objects.bulk_create([Tag(name="private"), Tag(name="public")])
                Tag.objects.filter(Q(name="private") | Q(name="public")).update(name="private")
                Tag.objects.update(name="open")
        finally:
            monkeypatch.undo()
            registry.forget()
        assert [(e.action, e.target.repr) for e in events] == [
            ("create", "public"),
            ("update", "open"),
            ("update", "open"),
        ]


@pytest.mark.skipif(connection.vendor == "postgresql", reason="PostgreSQL always has RETURNING")
class TestBulkCreateWithoutReturning:
    """MySQL, and SQLite before 3.35: the objects do not get the keys of their rows, but the events have them."""

    @pytest.fixture(autouse=True)
    def no_returning(self, monkeypatch):
        monkeypatch.setattr(type(connection.features), "can_return_rows_from_bulk_insert", False)

    def test_each_row_has_its_key_16(self):
        with captured_events() as events:
            made = Tag.objects.bulk_create([Tag(name=name) for name in "abc"], batch_size=2)
        assert [tag.pk for tag in made] == [None] * 3
        assert [(e.target.id, e.target.repr) for e in events] == [
            (str(tag.pk), tag.name) for tag in Tag.objects.order_by("pk")
        ]

    def test_what_the_database_makes_of_it_9(self):
        with captured_events() as events:
            Gauge.objects.bulk_create([Gauge(qty=2, price=3), Gauge(qty=5)])
        assert [e.diff["total"].after for e in events] == [6, 10]

    def test_keys_that_are_set_16(self):
        with captured_events() as events:
            Tag.objects.bulk_create([Tag(pk=77, name="x"), Tag(name="y")])
            Member.objects.bulk_create([Member(code="a")])
        assert {e.target.id for e in events} == {"77", str(Tag.objects.get(name="y").pk), "a"}

    def test_what_cannot_conflict_and_what_can_16(self):
        Gauge.objects.create(qty=1)
        with captured_events() as events:
            Gauge.objects.bulk_create([Gauge(qty=1), Gauge(qty=2)], ignore_conflicts=True)
            Tag.objects.bulk_create([Tag(name="x"), Tag(name="y")], ignore_conflicts=True)
        assert [(e.target.type, e.target.id) for e in events] == [
            ("testapp.Gauge", str(Gauge.objects.get(qty=2).pk)),
            *(("testapp.Tag", str(tag.pk)) for tag in Tag.objects.order_by("pk")),
        ]

    def test_rows_that_are_not_found_again_are_not_saved(self, monkeypatch):
        monkeypatch.setattr(inserted, "_keys_given", lambda vendor, cursor, count: [-1] * count)
        with pytest.raises(EventNotWritten, match="one by one"), transaction.atomic():
            Tag.objects.bulk_create([Tag(name="a")])
        assert not Tag.objects.exists()
